/* golib.patch("socket"): calls that move everything that they are given, on a socket that blocks without a timeout.
 *
 * These are recv and recv_into with MSG_WAITALL, and sendmsg. In a blocking call the kernel continues until everything has been
 * moved; a call that does not wait moves what it can, and the rest is up to us. As with the kernel, the result is the number of
 * bytes moved if something ends the call midway.
 */
#include "patch_socket.h"

#include <sys/socket.h>

int golib_sock_moves_all(const golib_sock *s)
{
    return s->timeout < 0 && s->type == SOCK_STREAM;
}

/* Is the number of bytes moved the answer? If not, the exception stays. */
static int is_answer(Py_ssize_t moved)
{
    if (!moved || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return 0;
    PyErr_Clear();
    return 1;
}

/* Receives `room` bytes, or all until the end of the stream; -1 with an exception set. */
static Py_ssize_t fill(golib_sock *s, char *to, Py_ssize_t room, const golib_caller *record)
{
    golib_fd_wait w;
    Py_ssize_t got = 0, n = 1;
    if (golib_sock_begin(&w, s, GOLIB_READ) != GOLIB_WOKEN) {
        golib_fd_closed();
        return -1;
    }
    while (got < room && n > 0) {
        n = golib_sock_receive(s, &w, to + got, room - got, 0, record);
        if (n > 0)
            got += n;
    }
    golib_fd_done(&w);
    return n < 0 && !is_answer(got) ? -1 : got;
}

PyObject *golib_sock_recv_all(golib_sock *s, Py_ssize_t room, const golib_caller *record)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, room);
    Py_ssize_t got = bytes ? fill(s, PyBytes_AS_STRING(bytes), room, record) : -1;
    if (got < 0)
        Py_CLEAR(bytes);
    else if (got < room)
        _PyBytes_Resize(&bytes, got);
    return bytes;
}

PyObject *golib_sock_recv_all_into(golib_sock *s, const Py_buffer *view, Py_ssize_t room, const golib_caller *record)
{
    Py_ssize_t got = fill(s, view->buf, room, record);
    return got < 0 ? NULL : PyLong_FromSsize_t(got);
}

/* How many bytes the buffers hold; -1 if they have been changed meanwhile. */
static Py_ssize_t size_of(PyObject *buffers)
{
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(buffers); i++) {
        Py_buffer view;
        if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(buffers, i), &view, PyBUF_SIMPLE) < 0) {
            PyErr_Clear();
            return -1;
        }
        size += view.len;
        PyBuffer_Release(&view);
    }
    return size;
}

/* Sends the buffers' bytes after the first `sent`. */
static int send_from(golib_sock *s, PyObject *buffers, int flags, Py_ssize_t *sent, const golib_caller *record)
{
    golib_fd_wait w;
    Py_buffer view;
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *all = empty ? PyObject_CallMethod(empty, "join", "O", buffers) : NULL;
    Py_XDECREF(empty);
    if (!all || PyObject_GetBuffer(all, &view, PyBUF_SIMPLE) < 0 ||
        golib_sock_begin(&w, s, GOLIB_WRITE) != GOLIB_WOKEN) {
        Py_XDECREF(all);
        return -1;
    }
    int failed = golib_sock_transmit(s, &w, &view, flags, 0, sent, record);
    golib_fd_done(&w);
    PyBuffer_Release(&view);
    Py_DECREF(all);
    return failed;
}

PyObject *golib_sock_send_rest(golib_sock *s, PyObject *buffers, int flags, PyObject *result,
                               const golib_caller *record)
{
    Py_ssize_t sent = PyLong_AsSsize_t(result), size = golib_sock_moves_all(s) ? size_of(buffers) : -1;
    if (sent < 0 || sent >= size)
        return result;
    Py_DECREF(result);
    if (send_from(s, buffers, flags, &sent, record) < 0 && PyErr_Occurred() && !is_answer(sent))
        return NULL;
    return PyLong_FromSsize_t(sent);
}
