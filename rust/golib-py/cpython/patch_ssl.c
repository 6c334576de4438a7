/* golib.patch("ssl"): reading, writing, handshake and shutdown of TLS over a socket object.
 *
 * "Readable, so call" does not do: a record comes in parts, and what comes may be no data at all (a session ticket, a key
 * update), so that OpenSSL goes on to read and blocks the thread. It is called so that it does not block, and says itself
 * what it waits for. At its deadline CPython's function is given a nanosecond: its own words for a timeout are the answer.
 * A read in vain is expensive, by its exception. So a read waits first if the one before took all that had come, and the
 * kernel has nothing since.
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
    int outer, is_quick = golib_ssl_io_begin(fd, &outer);
    golib_sock_lend(s, fd, !is_quick);
    PyObject *result = golib_original(call);
    golib_sock_take_back(s, fd);
    if (is_quick)
        golib_ssl_io_end(outer);
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

/* ---- reads in vain ---- */

static golib_parking ssl_read;
static PyObject *name_version;

/* How many bytes a read may give; 0: it may be answered without any, or refused. No code runs. */
static Py_ssize_t room_of(const golib_invocation *call)
{
    Py_ssize_t room = call->p == &ssl_read && call->n >= 1 && call->n <= 2 ? golib_small_int(call->args[0]) : 0;
    Py_buffer view;
    if (room <= 0 || call->n == 1)
        return room > 0 ? room : 0;
    PyObject *buffer = call->args[1];
    if (!PyByteArray_CheckExact(buffer) && !PyMemoryView_Check(buffer))
        return 0;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    room = view.len < room ? view.len : room;
    PyBuffer_Release(&view);
    return room;
}

/* A handshake is over and none is under way: a read begins with the peer's bytes, not with ours. */
static int is_shaken(PyObject *ssl)
{
    PyObject *version = PyObject_CallMethodNoArgs(ssl, name_version);
    int yes = version && version != Py_None;
    Py_XDECREF(version);
    PyErr_Clear();
    return yes;
}

/* A read of nothing: the one before gave less than it was asked for, so OpenSSL has no rest, and the kernel has none. */
static int is_in_vain(const golib_invocation *call, Py_ssize_t room, golib_fd_wait *w)
{
    golib_fd_lent *lent = room ? golib_fd_lent_of(w->fd) : NULL;
    if (!lent || lent->tls_emptied != call->self || !is_shaken(call->self))
        return 0;
    golib_fd_prepare(w);    /* an edge from now on is news */
    return !golib_fd_is_ready(w->fd, GOLIB_READ);
}

/* Notes whether the next read need not ask OpenSSL. Its errors, and its end, do not come by the kernel. */
static void note(const golib_invocation *call, Py_ssize_t room, int fd, PyObject *result)
{
    golib_fd_lent *lent = golib_fd_lent_of(fd);
    if (!lent)
        return;
    Py_ssize_t got = !result || !room ? 0 : PyBytes_Check(result) ? PyBytes_GET_SIZE(result) : PyLong_AsSsize_t(result);
    if (got > 0 && got < room)
        lent->tls_emptied = call->self;
    else if (!result || call->p->detail)
        lent->tls_emptied = NULL;
}

/* ---- all calls ---- */

static PyObject *until_done(golib_invocation *call, golib_sock *s, golib_fd_wait w[2], const golib_caller *record)
{
    Py_ssize_t room = room_of(call);
    int fd = w[GOLIB_READ].fd, mode = is_in_vain(call, room, &w[GOLIB_READ]) ? GOLIB_READ : -1;
    for (;;) {
        if (mode >= 0) {
            w[mode].until = w[!mode].until ? w[!mode].until : w[mode].until;
            if (golib_sock_block(&w[mode], s, record) < 0)
                return PyErr_ExceptionMatches(PyExc_TimeoutError) && s->fd == fd ? call_late(call, s) : NULL;
        }
        if (s->fd != fd)
            return golib_fd_closed();
        golib_fd_prepare(&w[GOLIB_READ]);   /* an edge from now on is news */
        golib_fd_prepare(&w[GOLIB_WRITE]);
        PyObject *result = call_once(call, s, fd);
        mode = result ? -1 : wanted();
        if (mode < 0) {
            if (s->fd == fd)
                note(call, room, fd, result);
            return result;
        }
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
    if (known && want_write && !name_version)
        name_version = PyUnicode_InternFromString("version");
    Py_XDECREF(socket);
    Py_XDECREF(ssl);
    if (PyErr_Occurred())
        return -1;
    if (known)
        return golib_sock_probe();
    PyErr_SetString(PyExc_RuntimeError, "golib.patch: this CPython's TLS objects are not laid out as golib knows them");
    return -1;
}

/* `detail`: after it a read has to ask OpenSSL first. */
#define TLS(id, name, detail) GOLIB_PARKS(id, "_ssl", "_SSLSocket", name, ssl_body, 0, detail)

TLS(ssl_read, "read", &ssl_read);
TLS(ssl_write, "write", NULL);
TLS(ssl_handshake, "do_handshake", &ssl_handshake);
TLS(ssl_shutdown, "shutdown", &ssl_shutdown);

static golib_parking *const calls[] = {&ssl_read, &ssl_write, &ssl_handshake, &ssl_shutdown};

const golib_group golib_group_ssl = {
    .name = "ssl",
    .may_lack = "_ssl",
    .uses_fds = 1,
    GOLIB_GROUP_CALLS(calls),
    .probe = probe,
    .applied = golib_ssl_io_apply,
    .taken_back = golib_ssl_io_take_back,
};
