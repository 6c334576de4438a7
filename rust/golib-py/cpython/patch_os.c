/* golib.patch("os"): os.read, os.write, os.readv, os.writev on what can be polled.
 *
 * A read waits until there is something. A write of more than a pipe holds goes in parts: the kernel tells that a pipe is
 * writable when a page fits, so a part is a page, and the result is that of one call. A descriptor that does not block
 * already (O_NONBLOCK) is left alone, and so is a regular file.
 */
#include "patch_fds.h"

#include <limits.h>

static PyObject *wait_and_call(const golib_invocation *call, int fd, int mode, const golib_caller *record)
{
    golib_fd_wait w = {.fd = fd, .mode = mode, .until = GOLIB_FOR_EVER};
    PyObject *result = golib_fd_await(&w, record) < 0 ? NULL : golib_original(call);
    golib_fd_done(&w);
    return result;
}

/* The descriptor of a call that may wait, or -1. */
static int descriptor(const golib_invocation *call, int mode)
{
    if (call->n != 2 || golib_keywords(call) || !golib_on_goroutine())
        return -1;
    int fd = golib_small_int(call->args[0]);
    return fd >= 0 && golib_fd_blocks(fd, mode) ? fd : -1;
}

/* os.read(fd, length): the length is converted first, once, and what is wrong or empty is answered at once. */
static PyObject *read_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, GOLIB_READ);
    if (fd < 0 || !PyIndex_Check(call->args[1]))
        return golib_original(call);
    PyObject *length = PyNumber_Index(call->args[1]);
    if (!length)
        return NULL;
    PyObject *args[2] = {call->args[0], length}, *result;
    golib_invocation again = *call;
    again.args = args;
    if (golib_small_int(length) <= 0)
        result = golib_original(&again);
    else
        result = wait_and_call(&again, fd, GOLIB_READ, record);
    Py_DECREF(length);
    return result;
}

static PyObject *write_body(golib_invocation *call, const golib_caller *record)
{
    Py_buffer view;
    int fd = descriptor(call, GOLIB_WRITE);
    if (fd < 0 || !PyObject_CheckBuffer(call->args[1]))
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[1], &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    PyObject *result;
    if (view.len <= PIPE_BUF || !golib_fd_is_stream(fd))
        result = view.len ? wait_and_call(call, fd, GOLIB_WRITE, record) : golib_original(call);
    else {
        Py_ssize_t written = golib_fd_write_all(fd, view.buf, view.len, record);
        result = written < 0 ? NULL : PyLong_FromSsize_t(written);
    }
    PyBuffer_Release(&view);
    return result;
}

/* The sequence has buffers to read into, with room. */
static int has_room(PyObject *buffers)
{
    Py_ssize_t n = PySequence_Check(buffers) ? PySequence_Size(buffers) : -1, room = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_buffer view;
        PyObject *buffer = PySequence_GetItem(buffers, i);
        int known = buffer && PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) == 0;
        Py_XDECREF(buffer);
        if (!known) {
            room = 0;
            break;
        }
        room += view.len;
        PyBuffer_Release(&view);
    }
    PyErr_Clear();
    return room > 0;
}

static PyObject *readv_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, GOLIB_READ);
    if (fd < 0 || !has_room(call->args[1]))
        return golib_original(call);
    return wait_and_call(call, fd, GOLIB_READ, record);
}

/* The sequence's buffers in one; NULL without an exception: the original is to answer. */
static PyObject *joined(PyObject *buffers)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *bytes = empty && PySequence_Check(buffers) ? PyObject_CallMethod(empty, "join", "O", buffers) : NULL;
    Py_XDECREF(empty);
    if (!bytes)
        PyErr_Clear();
    return bytes;
}

static PyObject *writev_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, GOLIB_WRITE);
    PyObject *bytes = fd >= 0 && golib_fd_is_stream(fd) ? joined(call->args[1]) : NULL;
    PyObject *result;
    if (!bytes || PyBytes_GET_SIZE(bytes) == 0)
        result = golib_original(call);
    else if (PyBytes_GET_SIZE(bytes) <= PIPE_BUF)
        result = wait_and_call(call, fd, GOLIB_WRITE, record);
    else {
        Py_ssize_t written = golib_fd_write_all(fd, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), record);
        result = written < 0 ? NULL : PyLong_FromSsize_t(written);
    }
    Py_XDECREF(bytes);
    return result;
}

GOLIB_PARKS(os_read, "posix", NULL, "read", read_body, 0, NULL);
GOLIB_PARKS(os_write, "posix", NULL, "write", write_body, 0, NULL);
GOLIB_PARKS(os_readv, "posix", NULL, "readv", readv_body, 0, NULL);
GOLIB_PARKS(os_writev, "posix", NULL, "writev", writev_body, 0, NULL);

static golib_parking *const calls[] = {&os_read, &os_write, &os_readv, &os_writev};

const golib_group golib_group_os = {.name = "os", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
