/* golib.patch("ssl"): reading, writing, handshake and shutdown of TLS over a socket object.
 *
 * "Readable, so call" does not do: a record comes in parts, and what comes may be no data at all (a session ticket, a key
 * update), so that OpenSSL goes on to read and blocks the thread. It is called so that it does not block, and says itself
 * what it waits for. At its deadline CPython's function is given a nanosecond: its own words for a timeout are the answer.
 *
 * Several goroutines on one object: as several threads. Each waits in its direction; two in one direction take turns.
 */
#include "patch_socket.h"

#include <string.h>

static PyObject *want_read, *want_write;

/* The socket object below; NULL: memory buffers are, or it is gone. Borrowed. */
static golib_sock *sock_below(PyObject *ssl)
{
    PyObject *ref = *(PyObject **)((char *)ssl + sizeof(PyObject));
    if (!ref || !PyWeakref_Check(ref))
        return NULL;
    PyObject *sock = ((PyWeakReference *)ref)->wr_object;
    return sock == Py_None || Py_REFCNT(sock) <= 0 ? NULL : (golib_sock *)sock;
}

/* One call that does not block. */
static PyObject *call_once(golib_invocation *call, golib_sock *s, int fd)
{
    golib_sock_lend(s, fd);
    PyObject *result = golib_original(call);
    golib_sock_take_back(s, fd);
    return result;
}

/* The deadline has passed: the original has a nanosecond, and tells of the timeout in its words. */
static PyObject *call_late(golib_invocation *call, golib_sock *s)
{
    golib_fd_lent *lent = golib_fd_lent_of(s->fd);
    if (lent && lent->users)
        return NULL;
    int64_t timeout = s->timeout;
    PyErr_Clear();
    s->timeout = 1;
    PyObject *result = golib_original(call);
    if (s->timeout == 1)
        s->timeout = timeout;
    return result;
}

/* What the exception that is set says to wait for, which clears it; -1: it is an answer. */
static int wanted(void)
{
    int mode = PyErr_ExceptionMatches(want_read) ? GOLIB_READ : PyErr_ExceptionMatches(want_write) ? GOLIB_WRITE : -1;
    if (mode >= 0)
        PyErr_Clear();
    return mode;
}

static PyObject *until_done(golib_invocation *call, golib_sock *s, golib_fd_wait w[2], const golib_caller *record)
{
    for (;;) {
        int fd = s->fd;
        if (fd != w[GOLIB_READ].fd)
            return golib_fd_closed();
        golib_fd_prepare(&w[GOLIB_READ]);   /* an edge from now on is news */
        golib_fd_prepare(&w[GOLIB_WRITE]);
        PyObject *result = call_once(call, s, fd);
        int mode = result ? -1 : wanted();
        if (mode < 0)
            return result;
        w[mode].until = w[!mode].until ? w[!mode].until : w[mode].until;
        if (golib_sock_block(&w[mode], s, record) < 0)
            return PyErr_ExceptionMatches(PyExc_TimeoutError) && s->fd == fd ? call_late(call, s) : NULL;
    }
}

static PyObject *ssl_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s;
    golib_fd_wait w[2];
    if (!golib_on_goroutine() || !(s = sock_below(call->self)) || !golib_sock_may_wait(s) ||
        golib_sock_begin(&w[GOLIB_READ], s, GOLIB_READ) != GOLIB_WOKEN ||
        golib_sock_begin(&w[GOLIB_WRITE], s, GOLIB_WRITE) != GOLIB_WOKEN)
        return golib_original(call);
    Py_INCREF(s);
    PyObject *result = until_done(call, s, w, record);
    golib_fd_done(&w[GOLIB_READ]);
    golib_fd_done(&w[GOLIB_WRITE]);
    Py_DECREF(s);
    return result;
}

/* ---- the probe ---- */

/* An _SSLSocket over `sock`, which it references weakly. New reference. */
static PyObject *wrap(PyObject *ssl, PyObject *sock)
{
    PyObject *protocol = PyObject_GetAttrString(ssl, "PROTOCOL_TLS_CLIENT");
    PyObject *class = protocol ? PyObject_GetAttrString(ssl, "_SSLContext") : NULL;
    PyObject *context = class ? PyObject_CallOneArg(class, protocol) : NULL;
    PyObject *wrapped =
        context ? PyObject_CallMethod(context, "_wrap_socket", "OOs", sock, Py_False, "localhost") : NULL;
    Py_XDECREF(context);
    Py_XDECREF(class);
    Py_XDECREF(protocol);
    return wrapped;
}

static int probe(void)
{
    PyObject *ssl = PyImport_ImportModule("_ssl"), *socket = PyImport_ImportModule("socket");
    PyObject *sock = ssl && socket ? PyObject_CallMethod(socket, "socket", NULL) : NULL;
    PyObject *wrapped = sock ? wrap(ssl, sock) : NULL;
    int known = wrapped && (PyObject *)sock_below(wrapped) == sock;
    Py_XDECREF(wrapped);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *closed = sock ? PyObject_CallMethod(sock, "close", NULL) : NULL;
    Py_XDECREF(closed);
    Py_XDECREF(sock);
    PyErr_Restore(type, value, traceback);
    if (known && !want_read)
        want_read = PyObject_GetAttrString(ssl, "SSLWantReadError");
    if (known && want_read && !want_write)
        want_write = PyObject_GetAttrString(ssl, "SSLWantWriteError");
    Py_XDECREF(socket);
    Py_XDECREF(ssl);
    if (PyErr_Occurred())
        return -1;
    if (known)
        return golib_sock_probe();
    PyErr_SetString(PyExc_RuntimeError, "golib.patch: this CPython's TLS objects are not laid out as golib knows them");
    return -1;
}

GOLIB_PARKS(ssl_read, "_ssl", "_SSLSocket", "read", ssl_body, 0, NULL);
GOLIB_PARKS(ssl_write, "_ssl", "_SSLSocket", "write", ssl_body, 0, NULL);
GOLIB_PARKS(ssl_handshake, "_ssl", "_SSLSocket", "do_handshake", ssl_body, 0, NULL);
GOLIB_PARKS(ssl_shutdown, "_ssl", "_SSLSocket", "shutdown", ssl_body, 0, NULL);

static golib_parking *const calls[] = {&ssl_read, &ssl_write, &ssl_handshake, &ssl_shutdown};

const golib_group golib_group_ssl = {.name = "ssl", .uses_fds = 1, GOLIB_GROUP_CALLS(calls), .probe = probe};
