/* golib.patch("os"): os.read, os.readinto, os.write, os.readv, os.writev and os.eventfd_read on what can be polled.
 *
 * A read waits until there is something. A write of more than a pipe or socket holds goes in parts, with the result of one call.
 * A descriptor that is already non-blocking (O_NONBLOCK) is left alone, as is a regular file.
 */
#include "patch_fds.h"

#include <limits.h>
#include <sys/uio.h>

static golib_fd_wait reading(int fd)
{
    return (golib_fd_wait){.fd = fd, .mode = GOLIB_READ, .until = GOLIB_FOR_EVER};
}

/* The descriptor of a call of `n` arguments that may wait, or -1. */
static int descriptor(const golib_invocation *call, Py_ssize_t n, int mode)
{
    if (call->n != n || golib_keywords(call) || !golib_on_goroutine())
        return -1;
    int fd = golib_small_int(call->args[0]);
    return fd >= 0 && golib_fd_blocks(fd, mode) ? fd : -1;
}

/* os.read(fd, length). The length is converted first, once; wrong and empty reads are answered at once. */
static PyObject *read_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, 2, GOLIB_READ);
    if (fd < 0 || !PyIndex_Check(call->args[1]))
        return golib_original(call);
    PyObject *length = PyNumber_Index(call->args[1]);
    if (!length)
        return NULL;
    PyObject *args[2] = {call->args[0], length}, *result = NULL;
    golib_invocation again = *call;
    again.args = args;
    int n = golib_small_int(length);
    golib_fd_wait w = reading(fd);
    int outcome = n > 0 ? golib_fd_read(&w, n, &result, record) : GOLIB_FD_ORIGINAL;
    if (outcome == GOLIB_FD_ORIGINAL)
        result = golib_original(&again);
    golib_fd_done(&w);
    Py_DECREF(length);
    return result;
}

/* Reads into these parts, whose buffers the caller holds. */
static PyObject *read_parts(golib_invocation *call, int fd, struct iovec *parts, int n, const golib_caller *record)
{
    golib_fd_wait w = reading(fd);
    Py_ssize_t done = golib_fd_transfer(&w, parts, n, record);
    PyObject *result = done >= 0 ? PyLong_FromSsize_t(done) : done == GOLIB_FD_ORIGINAL ? golib_original(call) : NULL;
    golib_fd_done(&w);
    return result;
}

/* os.readinto(fd, buffer) */
static PyObject *readinto_body(golib_invocation *call, const golib_caller *record)
{
    Py_buffer view;
    int fd = descriptor(call, 2, GOLIB_READ);
    if (fd < 0 || !PyObject_CheckBuffer(call->args[1]))
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[1], &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    struct iovec part = {view.buf, (size_t)view.len};
    PyObject *result = view.len ? read_parts(call, fd, &part, 1, record) : golib_original(call);
    PyBuffer_Release(&view);
    return result;
}

typedef struct {
    Py_buffer *views;
    struct iovec *parts;
    int n;
    size_t room;
} buffers;

static void release(buffers *b)
{
    for (int i = 0; i < b->n; i++)
        PyBuffer_Release(&b->views[i]);
    PyMem_Free(b->views);
    PyMem_Free(b->parts);
}

/* The sequence's buffers to read into. If there is no room, without an exception: the original answers. */
static buffers buffers_of(PyObject *sequence)
{
    Py_ssize_t n = PySequence_Check(sequence) ? PySequence_Size(sequence) : -1;
    buffers b = {0};
    if (n > 0 && n <= IOV_MAX) {
        b.views = PyMem_Calloc((size_t)n, sizeof *b.views);
        b.parts = PyMem_Calloc((size_t)n, sizeof *b.parts);
    }
    for (; b.views && b.parts && b.n < n; b.n++) {
        Py_buffer *view = &b.views[b.n];
        PyObject *buffer = PySequence_GetItem(sequence, b.n);
        int known = buffer && PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE) == 0;
        Py_XDECREF(buffer);
        if (!known)
            break;
        b.parts[b.n] = (struct iovec){view->buf, (size_t)view->len};
        b.room += (size_t)view->len;
    }
    PyErr_Clear();
    if (b.n < n)
        b.room = 0;
    return b;
}

static PyObject *readv_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, 2, GOLIB_READ);
    if (fd < 0)
        return golib_original(call);
    buffers b = buffers_of(call->args[1]);
    PyObject *result = b.room ? read_parts(call, fd, b.parts, b.n, record) : golib_original(call);
    release(&b);
    return result;
}

/* os.eventfd_read(fd) */
static PyObject *eventfd_read_body(golib_invocation *call, const golib_caller *record)
{
    unsigned long long value = 0;
    int fd = descriptor(call, 1, GOLIB_READ);
    if (fd < 0)
        return golib_original(call);
    golib_fd_wait w = reading(fd);
    struct iovec part = {&value, sizeof value};
    Py_ssize_t done = golib_fd_transfer(&w, &part, 1, record);
    PyObject *result = done == sizeof value      ? PyLong_FromUnsignedLongLong(value)
                       : done == GOLIB_FD_FAILED ? NULL
                                                 : golib_original(call);
    golib_fd_done(&w);
    return result;
}

/* Writes these bytes, which the call was given. */
static PyObject *write_bytes(const golib_invocation *call, int fd, const void *data, Py_ssize_t n,
                             const golib_caller *record)
{
    Py_ssize_t done;
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_WRITE, .until = GOLIB_FOR_EVER};
    if (n == 0)
        return golib_original(call);
    if (golib_fd_is_stream(fd))
        done = golib_fd_write_all(fd, data, n, record);
    else {
        struct iovec part = {(void *)data, (size_t)n};
        done = golib_fd_transfer(&w, &part, 1, record);
    }
    PyObject *result = done == GOLIB_FD_ORIGINAL ? golib_original(call) : done < 0 ? NULL : PyLong_FromSsize_t(done);
    golib_fd_done(&w);
    return result;
}

static PyObject *write_body(golib_invocation *call, const golib_caller *record)
{
    Py_buffer view;
    int fd = descriptor(call, 2, GOLIB_WRITE);
    if (fd < 0 || !PyObject_CheckBuffer(call->args[1]))
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[1], &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    PyObject *result = write_bytes(call, fd, view.buf, view.len, record);
    PyBuffer_Release(&view);
    return result;
}

/* The sequence's buffers joined in one; NULL without an exception if the original must answer. */
static PyObject *joined(PyObject *sequence)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *bytes = empty && PySequence_Check(sequence) ? PyObject_CallMethod(empty, "join", "O", sequence) : NULL;
    Py_XDECREF(empty);
    if (!bytes)
        PyErr_Clear();
    return bytes;
}

static PyObject *writev_body(golib_invocation *call, const golib_caller *record)
{
    int fd = descriptor(call, 2, GOLIB_WRITE);
    PyObject *bytes = fd >= 0 && golib_fd_is_stream(fd) ? joined(call->args[1]) : NULL;
    PyObject *result =
        bytes ? write_bytes(call, fd, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), record) : golib_original(call);
    Py_XDECREF(bytes);
    return result;
}

GOLIB_PARKS(os_read, "posix", NULL, "read", read_body, 0, NULL);
GOLIB_PARKS(os_readinto, "posix", NULL, "readinto", readinto_body, 1, NULL);
GOLIB_PARKS(os_write, "posix", NULL, "write", write_body, 0, NULL);
GOLIB_PARKS(os_readv, "posix", NULL, "readv", readv_body, 0, NULL);
GOLIB_PARKS(os_writev, "posix", NULL, "writev", writev_body, 0, NULL);
GOLIB_PARKS(os_eventfd_read, "posix", NULL, "eventfd_read", eventfd_read_body, 1, NULL);

static golib_parking *const calls[] = {&os_read, &os_readinto, &os_write, &os_readv, &os_writev, &os_eventfd_read};

const golib_group golib_group_os = {.name = "os", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
