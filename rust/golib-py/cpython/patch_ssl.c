/* golib.patch("ssl"): reading, writing, handshake and shutdown of TLS over a socket object.
 *
 * "Readable, so call" does not do: a record comes in parts, and what comes may be no data at all (a session ticket, a key
 * update), so that OpenSSL goes on to read and blocks the thread. It is called so that it does not block, and says itself
 * what it waits for. What CPython raised then is the answer if the time is over before that comes.
 *
 * A read in vain is expensive, by its exception. So a read waits first if the one before took all that had come, and the
 * kernel has nothing since.
 *
 * Several goroutines on one object: each waits in its direction; two in one direction take turns. OpenSSL does not allow for
 * two threads in one connection, which CPython leaves to the program; goroutines, who never wait in there, enter in turn.
 */
#include "patch_socket.h"

#include <string.h>

static PyObject *want_read, *want_write;

/* The socket object below, borrowed; NULL if there are memory buffers instead, or if it is gone. */
static golib_sock *sock_below(PyObject *ssl)
{
    PyObject *ref = *(PyObject **)((char *)ssl + sizeof(PyObject));
    if (!ref || !PyWeakref_Check(ref))
        return NULL;
    PyObject *sock = ((PyWeakReference *)ref)->wr_object;
    return sock == Py_None || Py_REFCNT(sock) <= 0 ? NULL : (golib_sock *)sock;
}

/* What the call, which does not block, has to wait for; -1: it has an answer. OpenSSL's own word counts where CPython does not
 * poll: on a socket without a timeout. */
static int wanted(const golib_nowait *once)
{
    if (once->wanted >= 0)
        return once->wanted;
    return PyErr_ExceptionMatches(want_read) ? GOLIB_READ : PyErr_ExceptionMatches(want_write) ? GOLIB_WRITE : -1;
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
    const void **emptied = room ? golib_fd_tls_emptied(w->fd) : NULL;
    if (!emptied || *emptied != call->self || !is_shaken(call->self))
        return 0;
    golib_fd_prepare(w);    /* an edge from now on is news */
    return !golib_fd_is_ready(w->fd, GOLIB_READ);
}

/* Notes whether the next read need not ask OpenSSL. Its errors, and its end, do not come by the kernel. */
static void note(const golib_invocation *call, Py_ssize_t room, int fd, PyObject *result)
{
    const void **emptied = golib_fd_tls_emptied(fd);
    if (!emptied)
        return;
    Py_ssize_t got = !result || !room ? 0 : PyBytes_Check(result) ? PyBytes_GET_SIZE(result) : PyLong_AsSsize_t(result);
    if (got > 0 && got < room)
        *emptied = call->self;
    else if (!result || call->p->detail)
        *emptied = NULL;
}

/* ---- all calls ---- */

/* One call that does not block. NULL with an exception set: that it would, or another one. */
static PyObject *attempt(golib_invocation *call, golib_sock *s, golib_fd_wait w[], golib_nowait *once,
                         const golib_caller *record)
{
    golib_fd_wait *inside = &w[GOLIB_INSIDE];
    PyObject *result = NULL;
    once->wanted = -1;
    if (golib_sock_take_turn(inside, s, record) == 0) {
        golib_fd_prepare(&w[GOLIB_READ]); /* an edge from now on is news */
        golib_fd_prepare(&w[GOLIB_WRITE]);
        golib_nowait_begin(once, s->fd);
        if (s->timeout < 0)
            golib_nowait_lend(once, &s->timeout);
        result = golib_original(call);
        golib_nowait_end(once);
    }
    golib_fd_done(inside);
    return result;
}

/* CPython goes on after a timeout of the kernel's. */
static void set_until(golib_fd_wait w[], int mode, const golib_sock *s)
{
    if (w[mode].until)
        return;
    w[mode].until = w[!mode].until ? w[!mode].until : s->timeout > 0 ? golib_sock_until(s, &w[mode]) : GOLIB_FOR_EVER;
}

/* Waits before the first attempt: 1; 0: the time is over, which the attempt tells; -1 with an exception set. */
static int wait_first(golib_sock *s, golib_fd_wait w[], const golib_caller *record)
{
    set_until(w, GOLIB_READ, s);
    if (golib_sock_block(&w[GOLIB_READ], s, record) == 0)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_TimeoutError) || s->fd != w[GOLIB_READ].fd ||
        golib_waits_table->now() < w[GOLIB_READ].until)
        return -1;
    PyErr_Clear();
    return 0;
}

static PyObject *until_done(golib_invocation *call, golib_sock *s, golib_fd_wait w[], const golib_caller *record)
{
    Py_ssize_t room = room_of(call);
    int fd = w[GOLIB_READ].fd, more = is_in_vain(call, room, &w[GOLIB_READ]) ? wait_first(s, w, record) : 1;
    while (more >= 0) {
        golib_nowait once;
        PyObject *result = attempt(call, s, w, &once, record);
        int mode = result ? -1 : wanted(&once);
        if (mode < 0) {
            if (s->fd == fd)
                note(call, room, fd, result);
            return result;
        }
        set_until(w, mode, s);
        if (!more || golib_sock_block_for(&w[mode], s, record) < 0)
            break;
    }
    return NULL;
}

static PyObject *ssl_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s;
    golib_fd_wait w[GOLIB_N_TURNS];
    if (!golib_on_goroutine() || !(s = sock_below(call->self)) || !golib_sock_may_wait(s) ||
        golib_sock_begin(&w[GOLIB_READ], s, GOLIB_READ) != GOLIB_WOKEN)
        return golib_original(call);
    w[GOLIB_WRITE] = w[GOLIB_INSIDE] = w[GOLIB_READ];
    w[GOLIB_WRITE].mode = GOLIB_WRITE;
    w[GOLIB_INSIDE].mode = GOLIB_INSIDE;
    w[GOLIB_INSIDE].until = GOLIB_FOR_EVER;
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

/* `detail`: after it a read has to ask OpenSSL first. */
#define TLS(id, name, detail) GOLIB_PARKS(id, "_ssl", "_SSLSocket", name, ssl_body, 0, detail)

TLS(ssl_read, "read", &ssl_read);
TLS(ssl_write, "write", NULL);
TLS(ssl_handshake, "do_handshake", &ssl_handshake);
TLS(ssl_shutdown, "shutdown", &ssl_shutdown);

/* A handshake with nobody comes by patch_nowait.c: it writes, reads, and polls. */
static int waits_as_known(PyObject *wrapped, const golib_sock *sock)
{
    golib_nowait once;
    golib_nowait_begin(&once, sock->fd);
    PyObject *done = PyObject_CallMethod(wrapped, "do_handshake", NULL);
    golib_nowait_end(&once);
    int timed_out = !done && PyErr_ExceptionMatches(PyExc_TimeoutError);
    PyErr_Clear();
    Py_XDECREF(done);
    return timed_out && once.wanted == GOLIB_READ && once.asked >= 3;
}

static void find(void)
{
    const void *here = (const void *)ssl_read.patch.original;
    golib_nowait_find(GOLIB_OF_SSL, here);
    golib_nowait_find(GOLIB_OF_CRYPTO, golib_nowait_crypto(here));
}

static void applied(void)
{
    golib_nowait_apply(GOLIB_OF_SSL);
    golib_nowait_apply(GOLIB_OF_CRYPTO);
}

static void taken_back(void)
{
    golib_nowait_take_back(GOLIB_OF_SSL);
    golib_nowait_take_back(GOLIB_OF_CRYPTO);
}

/* 2: known; 1: laid out as known; 0: neither. */
static int look_at(PyObject *ssl, PyObject *sock)
{
    PyObject *wrapped = wrap(ssl, sock);
    int known = wrapped && (PyObject *)sock_below(wrapped) == sock;
    if (known) {
        find();
        applied();
        known += waits_as_known(wrapped, (golib_sock *)sock);
        taken_back();
    }
    Py_XDECREF(wrapped);
    return known;
}

/* A socket object whose peer says nothing, with the peer. New reference to a tuple. */
static PyObject *pair(void)
{
    PyObject *socket = PyImport_ImportModule("socket");
    PyObject *two = socket ? PyObject_CallMethod(socket, "socketpair", NULL) : NULL;
    PyObject *set = two ? PyObject_CallMethod(PyTuple_GET_ITEM(two, 0), "settimeout", "d", 1.0) : NULL;
    if (!set)
        Py_CLEAR(two);
    Py_XDECREF(set);
    Py_XDECREF(socket);
    return two;
}

static void close_pair(PyObject *two)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(two); i++)
        Py_XDECREF(PyObject_CallMethod(PyTuple_GET_ITEM(two, i), "close", NULL));
    PyErr_Restore(type, value, traceback);
    Py_DECREF(two);
}

static int probe(void)
{
    if (golib_sock_probe() < 0)
        return -1;
    PyObject *ssl = PyImport_ImportModule("_ssl"), *two = ssl ? pair() : NULL;
    int known = two ? look_at(ssl, PyTuple_GET_ITEM(two, 0)) : 0;
    if (known && !want_read)
        want_read = PyObject_GetAttrString(ssl, "SSLWantReadError");
    if (known && want_read && !want_write)
        want_write = PyObject_GetAttrString(ssl, "SSLWantWriteError");
    if (known && want_write && !name_version)
        name_version = PyUnicode_InternFromString("version");
    if (two)
        close_pair(two);
    Py_XDECREF(ssl);
    if (PyErr_Occurred())
        return -1;
    if (known == 2)
        return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    known ? "golib.patch: this CPython's TLS does not wait as golib knows it"
                          : "golib.patch: this CPython's TLS objects are not laid out as golib knows them");
    return -1;
}

static golib_parking *const calls[] = {&ssl_read, &ssl_write, &ssl_handshake, &ssl_shutdown};

const golib_group golib_group_ssl = {
    .name = "ssl",
    .may_lack = "_ssl",
    .uses_fds = 1,
    GOLIB_GROUP_CALLS(calls),
    .probe = probe,
    .applied = applied,
    .taken_back = taken_back,
};
