/* golib.patch("socket"): connect and connect_ex. */
#include "patch_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

__attribute__((noinline)) static void kernel_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

__attribute__((noinline)) static int kernel_error_of(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/* The kernel considers the socket connected only after one more connect; a blocking connect does that by itself. */
__attribute__((noinline)) static void kernel_settle(int fd)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        connect(fd, (struct sockaddr *)&peer, size);
}

/* Does the exception that is set say that the connection is in progress? If so, clears it. */
static int is_in_progress(void)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError))
        return 0;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *number = value ? PyObject_GetAttrString(value, "errno") : NULL;
    int yes = number && PyLong_AsLong(number) == EINPROGRESS;
    Py_XDECREF(number);
    PyErr_Clear();
    if (!yes) {
        PyErr_Restore(type, value, traceback);
        return 0;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return 1;
}

/* Waits for a connection in progress. Returns its error, or -1 with an exception set. */
static int wait_connected(golib_fd_wait *w, golib_sock *s, const golib_caller *record)
{
    while (!golib_fd_is_ready(w->fd, GOLIB_WRITE)) {
        if (golib_sock_block(w, s, record) < 0)
            return -1;
    }
    return kernel_error_of(w->fd);
}

__attribute__((noinline)) static PyObject *raise_errno(int error)
{
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* Returns what the original answers at once, be it an error. NULL without an exception if the connection is in progress. */
static PyObject *begin(golib_invocation *call, golib_sock *s, int raises)
{
    golib_nowait once;
    int fd = s->fd;
    golib_nowait_begin(&once, fd);
    PyObject *result = golib_original(call);
    golib_nowait_end(&once);
    if (s->fd == fd && s->timeout >= 0)
        kernel_set_nonblocking(fd); /* another thread set the timeout meanwhile: the end of the call undid that */
    if (once.wanted >= 0) {
        Py_CLEAR(result);
        PyErr_Clear();
    }
    else if (!result && raises)
        is_in_progress();
    else if (result && !raises && PyLong_AsLong(result) == EINPROGRESS)
        Py_CLEAR(result);
    return result;
}

/* Some connections are made at once. A local one is, or waits for room in the backlog, of which no poll tells. */
static int may_take_long(const golib_sock *s)
{
    return s->family != AF_UNIX && s->type != SOCK_DGRAM && s->type != SOCK_RAW;
}

static PyObject *connect_any(golib_invocation *call, int raises, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    if (!golib_sock_may_wait(s) || !may_take_long(s) || golib_sock_begin(&w, s, GOLIB_WRITE) != GOLIB_WOKEN)
        return golib_original(call);
    golib_fd_prepare(&w); /* a new socket has an edge */
    PyObject *result = begin(call, s, raises);
    if (result || PyErr_Occurred())
        return result;
    int error = wait_connected(&w, s, record);
    if (error == 0 && s->timeout < 0)
        kernel_settle(w.fd);
    golib_fd_done(&w);
    if (error < 0 && !raises && PyErr_ExceptionMatches(PyExc_TimeoutError)) {
        PyErr_Clear();
        error = EWOULDBLOCK; /* as CPython has it */
    }
    if (error < 0)
        return NULL;
    if (!raises)
        return PyLong_FromLong(error);
    if (error)
        return raise_errno(error);
    Py_RETURN_NONE;
}

static PyObject *connect_body(golib_invocation *call, const golib_caller *record)
{
    return connect_any(call, 1, record);
}

static PyObject *connect_ex_body(golib_invocation *call, const golib_caller *record)
{
    return connect_any(call, 0, record);
}

GOLIB_PARKS(sock_connect, "_socket", "socket", "connect", connect_body, 0, NULL);
GOLIB_PARKS(sock_connect_ex, "_socket", "socket", "connect_ex", connect_ex_body, 0, NULL);

static golib_parking *const calls[] = {&sock_connect, &sock_connect_ex};

const golib_group golib_group_connect = {.name = "socket", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
