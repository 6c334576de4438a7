/* The calls that take a number away from a file. Goroutines that wait there wake with EBADF, and the poller forgets the number.
 * These builtins are patched together with any group that waits for descriptors. */
#include "patch_socket.h"

static PyObject *close_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    golib_fd_forget(((golib_sock *)call->self)->fd);
    return golib_original(call);
}

/* socket.close(fd), os.close(fd), os.dup2(fd, fd2). */
static PyObject *close_number_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    int second = call->p->detail != NULL;
    PyObject *fd = golib_argument(call, second, second ? "fd2" : "fd");
    int number = fd ? golib_small_int(fd) : -1, first = -1;
    if (second && number >= 0) {
        PyObject *from = golib_argument(call, 0, "fd");
        first = from ? golib_small_int(from) : -1;
    }
    if (number >= 0 && number != first)
        golib_fd_forget(number);
    return golib_original(call);
}

/* FileIO begins with its descriptor. */
typedef struct {
    PyObject_HEAD int fd;
} fileio;

static PyObject *close_file_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *keeps = PyObject_GetAttrString(call->self, "closefd");
    if (keeps == Py_True)
        golib_fd_forget(((fileio *)call->self)->fd);
    Py_XDECREF(keeps);
    PyErr_Clear();
    return golib_original(call);
}

static PyObject *close_range_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    int low = call->n == 2 ? golib_small_int(call->args[0]) : -1,
        high = call->n == 2 ? golib_small_int(call->args[1]) : -1;
    if (low >= 0 && high >= 0)
        golib_fds_forget_from(low, high);
    return golib_original(call);
}

#define SOCKET(id, name, body, detail) GOLIB_PARKS(id, "_socket", "socket", name, body, 0, detail)

SOCKET(sock_close, "close", close_body, NULL);
SOCKET(sock_detach, "detach", close_body, NULL);
GOLIB_PARKS(close_socket, "_socket", NULL, "close", close_number_body, 0, NULL);
GOLIB_PARKS(os_close, "posix", NULL, "close", close_number_body, 0, NULL);
/* The number that is closed is the second argument. */
static const char is_second[] = "";
GOLIB_PARKS(os_dup2, "posix", NULL, "dup2", close_number_body, 0, is_second);
GOLIB_PARKS(os_closerange, "posix", NULL, "closerange", close_range_body, 0, NULL);
GOLIB_PARKS(file_close, "_io", "FileIO", "close", close_file_body, 0, NULL);

static golib_parking *const calls[] = {&sock_close, &sock_detach,   &close_socket, &os_close,
                                       &os_dup2,    &os_closerange, &file_close};

static int probe(void)
{
    PyObject *io = PyImport_ImportModule("_io");
    PyObject *file = io ? PyObject_CallMethod(io, "FileIO", "s", "/dev/null") : NULL;
    PyObject *number = file ? PyObject_CallMethod(file, "fileno", NULL) : NULL;
    int known = number && PyLong_AsLong(number) == ((fileio *)file)->fd;
    PyObject *closed = file ? PyObject_CallMethod(file, "close", NULL) : NULL;
    Py_XDECREF(closed);
    Py_XDECREF(number);
    Py_XDECREF(file);
    Py_XDECREF(io);
    if (PyErr_Occurred())
        return -1;
    if (known)
        return golib_sock_probe();
    PyErr_SetString(PyExc_RuntimeError,
                    "golib.patch: this CPython's file objects are not laid out as golib knows them");
    return -1;
}

const golib_group golib_group_closing = {
    .name = ".closing",
    GOLIB_GROUP_CALLS(calls),
    .probe = probe,
    .in_child = golib_fds_in_child,
};
