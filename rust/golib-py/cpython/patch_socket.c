/* golib.patch("socket"): the methods of socket objects.
 *
 * An operation is tried without waiting, and waits for the poller where it would block. So the kernel's immediate errors remain
 * immediate. A user's O_NONBLOCK is not touched: MSG_DONTWAIT serves instead. A socket with a timeout has the flag anyway, and
 * CPython polls before it tries, so the wait comes first there.
 *
 * # Invariants
 * 1. A socket object whose descriptor was registered is marked: its error handler is ours. A new object has CPython's, so
 *    the mark says that this object, and not only this number, is known to the poller. Whatever takes the descriptor away
 *    from the object forgets the registration (patch_fds.h, 2).
 * 2. `scratch` is used only between two points at which the GIL may be given up, never across one.
 */
#include "patch_socket.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

/* ---- the mark ---- */

static PyObject *(*error_of_cpython)(void);

static PyObject *error_of_marked(void)
{
    return error_of_cpython();
}

int golib_sock_begin(golib_fd_wait *w, golib_sock *s, int mode)
{
    *w = (golib_fd_wait){.fd = s->fd, .mode = mode, .is_known = s->errorhandler == error_of_marked};
    int outcome = golib_fd_find(w);
    if (outcome == GOLIB_WOKEN && s->errorhandler == error_of_cpython)
        s->errorhandler = error_of_marked;
    return outcome;
}

/* Turns the outcome of a wait into the caller's: 0, or -1 with an exception set. */
static int answer(int outcome, const golib_fd_wait *w, const golib_sock *s)
{
    if (outcome == GOLIB_TIMED_OUT) {
        golib_sock_timed_out(s);
        return -1;
    }
    if (outcome == GOLIB_CLOSED || (outcome == GOLIB_WOKEN && s->fd != w->fd)) {
        golib_fd_closed();
        return -1;
    }
    return outcome < 0 ? -1 : 0;
}

static void set_until(golib_fd_wait *w, const golib_sock *s)
{
    if (!w->until)
        w->until = golib_sock_until(s, w);
}

int golib_sock_block(golib_fd_wait *w, golib_sock *s, const golib_caller *record)
{
    set_until(w, s);
    return answer(golib_fd_block(w, record), w, s);
}

int golib_sock_block_for(golib_fd_wait *w, golib_sock *s, const golib_caller *record)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    set_until(w, s);
    int outcome = golib_fd_block(w, record);
    if (outcome == GOLIB_TIMED_OUT) {
        PyErr_Restore(type, value, traceback);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return answer(outcome, w, s);
}

int golib_sock_take_turn(golib_fd_wait *w, golib_sock *s, const golib_caller *record)
{
    set_until(w, s);
    return answer(golib_fd_take_turn(w, record), w, s);
}

int golib_sock_probe(void)
{
    PyObject *module = PyImport_ImportModule("_socket");
    PyObject *one = module ? PyObject_CallMethod(module, "socket", NULL) : NULL;
    PyObject *two = one ? PyObject_CallMethod(module, "socket", NULL) : NULL;
    PyObject *fd = two ? PyObject_CallMethod(one, "fileno", NULL) : NULL;
    PyObject *set = fd ? PyObject_CallMethod(one, "settimeout", "d", 1.5) : NULL;
    int known = 0;
    if (set) {
        golib_sock *s = (golib_sock *)one, *other = (golib_sock *)two;
        known = s->fd == PyLong_AsLong(fd) && s->family == AF_INET && s->type == SOCK_STREAM && s->proto == 0 &&
                s->timeout == INT64_C(1500000000) && s->errorhandler == other->errorhandler &&
                other->timeout == -1000000000;
        if (known && !error_of_cpython)
            error_of_cpython = s->errorhandler;
    }
    for (int i = 0; i < 2; i++) {
        PyObject *socket = i ? two : one;
        PyObject *closed = socket ? PyObject_CallMethod(socket, "close", NULL) : NULL;
        Py_XDECREF(closed);
        Py_XDECREF(socket);
    }
    Py_XDECREF(set);
    Py_XDECREF(fd);
    Py_XDECREF(module);
    if (known || PyErr_Occurred())
        return known ? 0 : -1;
    PyErr_SetString(PyExc_RuntimeError,
                    "golib.patch: this CPython's socket objects are not laid out as golib knows them");
    return -1;
}

/* ---- what waits, and then does what it did ---- */

typedef struct {
    int mode;
    int flags_at;           /* the place of the argument `flags` */
    int flags_after;        /* sendto(data[, flags], address): it is flags only if something follows it */
    int iterables;          /* how many of the first arguments are iterated */
} manner;

static const manner receiving = {GOLIB_READ, 1, 0, 0}, receiving_into = {GOLIB_READ, 2, 0, 0},
                    receiving_message_into = {GOLIB_READ, 2, 0, 1}, sending_to = {GOLIB_WRITE, 1, 1, 0},
                    sending_message = {GOLIB_WRITE, 2, 0, 2};

enum { MOST_ARGS = 8, NOT_MINE = MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE };

/* The flags of a call; -1 if the original must answer at once. */
static int flags_of(const golib_invocation *call)
{
    const manner *m = call->p->detail;
    if (m->flags_after && call->n <= m->flags_at + 1)
        return 0;
    PyObject *flags = golib_argument(call, m->flags_at, "flags");
    int bits = flags ? golib_small_int(flags) : 0;
    return bits < 0 || bits & NOT_MINE ? -1 : bits;
}

/* Raises CPython's audit event, which comes before it looks at the buffers. -1 if a hook refuses; the exception stays. */
static int audit_refused(const golib_invocation *call)
{
    PyObject *type, *value, *traceback;
    if (call->p->detail != &sending_message)
        return -1;
    PyErr_Fetch(&type, &value, &traceback);
    if (PySys_Audit("socket.sendmsg", "OO", call->self, call->n > 3 ? call->args[3] : Py_None) == 0)
        PyErr_Restore(type, value, traceback);
    return -1;
}

/* Lays out the arguments of a call without keywords, with its flags in their place and room for MSG_DONTWAIT. Iterables are read
 * once, although the call may be made more than once. 1; 0 if the original must answer; -1 with an exception set. */
static int lay_out(const golib_invocation *call, PyObject *args[MOST_ARGS], Py_ssize_t *n)
{
    const manner *m = call->p->detail;
    Py_ssize_t at = m->flags_at;
    for (*n = 0; *n < call->n; ++*n) {
        PyObject *arg = call->args[*n];
        if (*n >= m->iterables || PyList_Check(arg) || PyTuple_Check(arg))
            args[*n] = Py_NewRef(arg);
        else if (!Py_TYPE(arg)->tp_iter && !PySequence_Check(arg))
            return 0;
        else if (!(args[*n] = PySequence_List(arg)))
            return audit_refused(call);
    }
    if (m->flags_after && *n == at + 1) {       /* sendto(data, address) */
        args[*n] = args[at];
        args[at] = PyLong_FromLong(0);
        ++*n;
    }
    for (; *n <= at; ++*n) {
        args[*n] = m->iterables > *n ? PyTuple_New(0) : PyLong_FromLong(0);
        if (!args[*n])
            return -1;
    }
    return args[at] ? 1 : -1;
}

static int with_dont_wait(PyObject *args[MOST_ARGS], int at, int flags)
{
    Py_XSETREF(args[at], PyLong_FromLong(flags | MSG_DONTWAIT));
    return args[at] ? 1 : -1;
}

PyObject *golib_sock_attempt(golib_invocation *call, PyObject *const *args, Py_ssize_t n, int *waits)
{
    golib_nowait once;
    golib_nowait_begin(&once, ((golib_sock *)call->self)->fd);
    PyObject *result = golib_call_original(call->p, call, call->self, args, n);
    golib_nowait_end(&once);
    *waits = !result && (once.wanted >= 0 || PyErr_ExceptionMatches(PyExc_BlockingIOError));
    return result;
}

static PyObject *until_done(golib_invocation *call, PyObject *const *args, Py_ssize_t n, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    PyObject *result;
    int waits;
    if (golib_sock_begin(&w, s, ((const manner *)call->p->detail)->mode) != GOLIB_WOKEN)
        return golib_original(call);
    golib_fd_prepare(&w);
    do
        result = golib_sock_attempt(call, args, n, &waits);
    while (waits && golib_sock_block_for(&w, s, record) == 0);
    golib_fd_done(&w);
    return result;
}

/* Tries until the call does not block. */
static PyObject *try_and_wait(golib_invocation *call, int flags, const golib_caller *record)
{
    PyObject *args[MOST_ARGS] = {0}, *result = NULL;
    Py_ssize_t n;
    int known = lay_out(call, args, &n);
    if (known > 0)
        known = with_dont_wait(args, ((const manner *)call->p->detail)->flags_at, flags);
    if (known > 0 && (result = until_done(call, args, n, record)) && call->p->detail == &sending_message)
        result = golib_sock_send_rest((golib_sock *)call->self, args[0], flags, result, record);
    else if (known == 0)
        result = golib_original(call);
    for (int i = 0; i < MOST_ARGS; i++)
        Py_XDECREF(args[i]);
    return result;
}

/* recv_into and recvfrom_into take keywords. `plain` gets their values as positional arguments, with which the original can also
 * be called. 0 if the original must answer. */
static int without_keywords(const golib_invocation *call, golib_invocation *plain, PyObject *args[3])
{
    static const char *const names[3] = {"buffer", "nbytes", "flags"};
    *plain = *call;
    if (!golib_keywords(call))
        return 1;
    if (call->p->detail != &receiving_into)
        return 0;
    plain->args = args;
    plain->n = 0;
    for (int i = 0; i < 3 && (args[i] = golib_argument(call, i, names[i])); i++)
        plain->n++;
    return plain->n == call->n + golib_keywords(call);
}

static golib_parking sock_recv, sock_recv_into;

/* A call with MSG_WAITALL, on a socket to which that flag applies. */
static PyObject *receive_all(const golib_invocation *call, int flags, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    int is_plain = flags == MSG_WAITALL, room = is_plain && call->p == &sock_recv ? golib_small_int(call->args[0]) : 0;
    Py_buffer view;
    if (room > 0)
        return golib_sock_recv_all(s, room, record);
    int want = is_plain && call->p == &sock_recv_into ? golib_small_int(call->args[1]) : -1;
    if (want < 0 || PyObject_GetBuffer(call->args[0], &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    PyObject *result = want > view.len || view.len == 0
                           ? golib_original(call)
                           : golib_sock_recv_all_into(s, &view, want ? want : view.len, record);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *plain_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    const manner *m = call->p->detail;
    golib_invocation plain;
    PyObject *args[3];
    int flags;
    if (!golib_sock_may_wait(s) || !without_keywords(call, &plain, args) || (flags = flags_of(&plain)) < 0)
        return golib_original(call);
    if (plain.n < 1 + m->flags_after || plain.n >= MOST_ARGS)
        return golib_original(call);
    if (flags & MSG_WAITALL && golib_sock_moves_all(s))
        return receive_all(&plain, flags, record);
    return try_and_wait(&plain, flags, record);
}

/* ---- recv and recv_into ---- */

enum { SCRATCH = 65536 };
static char scratch[SCRATCH];

__attribute__((noinline)) static Py_ssize_t kernel_recv(int fd, void *to, size_t room, int flags)
{
    ssize_t got = recv(fd, to, room, flags | MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

__attribute__((noinline)) static void raise_errno(int error)
{
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
}

Py_ssize_t golib_sock_receive(golib_sock *s, golib_fd_wait *w, void *to, Py_ssize_t room, int flags,
                              const golib_caller *record)
{
    int in_vain = golib_fd_prepare(w);
    for (;;) {
        if (in_vain && golib_sock_block(w, s, record) < 0)
            return -1;
        Py_ssize_t got = kernel_recv(w->fd, to, (size_t)room, flags);
        if (GOLIB_LIKELY(got >= 0)) {
            if (got > 0 && got < room && !flags && s->type == SOCK_STREAM)
                golib_waits_table->poll_drained(w->pd);
            return got;
        }
        if (got == -EINTR) {
            if (PyErr_CheckSignals() < 0)
                return -1;
            in_vain = 0;
        }
        else if (got == -EAGAIN)
            in_vain = 1;
        else {
            raise_errno((int)-got);
            return -1;
        }
    }
}

static PyObject *recv_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    if (!golib_on_goroutine())
        return golib_original(call);
    int room = call->n >= 1 ? golib_small_int(call->args[0]) : -1;
    int flags = call->n == 1 ? 0 : call->n == 2 ? golib_small_int(call->args[1]) : -1;
    if (room <= 0 || room > SCRATCH || flags < 0 || flags & ~MSG_PEEK || !golib_sock_blocks(s))
        return plain_body(call, record);
    if (golib_sock_begin(&w, s, GOLIB_READ) != GOLIB_WOKEN)
        return golib_original(call);
    Py_ssize_t got = golib_sock_receive(s, &w, scratch, room, flags, record);
    PyObject *result = got < 0 ? NULL : PyBytes_FromStringAndSize(scratch, got);
    golib_fd_done(&w);
    return result;
}

static PyObject *recv_into_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    Py_buffer view;
    if (!golib_on_goroutine())
        return golib_original(call);
    int want = call->n == 2 ? golib_small_int(call->args[1]) : 0;
    if (call->n < 1 || call->n > 2 || golib_keywords(call) || want < 0 || !golib_sock_blocks(s))
        return plain_body(call, record);
    if (PyObject_GetBuffer(call->args[0], &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return golib_original(call);    /* which raises its own error */
    }
    if (want > view.len || view.len == 0 || golib_sock_begin(&w, s, GOLIB_READ) != GOLIB_WOKEN) {
        PyBuffer_Release(&view);
        return golib_original(call);
    }
    Py_ssize_t got = golib_sock_receive(s, &w, view.buf, want ? want : view.len, 0, record);
    PyBuffer_Release(&view);
    golib_fd_done(&w);
    return got < 0 ? NULL : PyLong_FromSsize_t(got);
}

/* ---- send and sendall ---- */

enum { LARGE = 65536 };

__attribute__((noinline)) static Py_ssize_t kernel_send(int fd, const char *data, size_t n, int flags)
{
    ssize_t sent;
    int error;
    if (n <= LARGE) {
        sent = send(fd, data, n, flags | MSG_DONTWAIT);
        return sent < 0 ? -errno : sent;
    }
    Py_BEGIN_ALLOW_THREADS sent = send(fd, data, n, flags | MSG_DONTWAIT);
    error = errno;
    Py_END_ALLOW_THREADS return sent < 0 ? -error : sent;
}

int golib_sock_transmit(golib_sock *s, golib_fd_wait *w, const Py_buffer *data, int flags, int partial,
                        Py_ssize_t *sent, const golib_caller *record)
{
    golib_fd_prepare(w);
    for (;;) {
        Py_ssize_t n = kernel_send(w->fd, (const char *)data->buf + *sent, (size_t)(data->len - *sent), flags);
        if (GOLIB_LIKELY(n >= 0)) {
            *sent += n;
            if (*sent == data->len || partial)
                return 0;
        }
        else if (n == -EAGAIN) {
            if (golib_sock_block(w, s, record) < 0)
                return -1;
        }
        else if (n != -EINTR) {
            raise_errno((int)-n);
            return -1;
        }
        else if (PyErr_CheckSignals() < 0)
            return -1;
    }
}

static PyObject *send_any(golib_invocation *call, int all, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    Py_buffer view;
    Py_ssize_t sent = 0;
    if (!golib_on_goroutine())
        return golib_original(call);
    int flags = call->n == 1 ? 0 : call->n == 2 ? golib_small_int(call->args[1]) : -1;
    if (flags < 0 || flags & NOT_MINE || !golib_sock_blocks(s))
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[0], &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    if (golib_sock_begin(&w, s, GOLIB_WRITE) != GOLIB_WOKEN) {
        PyBuffer_Release(&view);
        return golib_original(call);
    }
    int failed = golib_sock_transmit(s, &w, &view, flags, !all && s->timeout > 0, &sent, record);
    PyBuffer_Release(&view);
    golib_fd_done(&w);
    if (failed < 0 && !all && sent > 0 && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();      /* as in the kernel, the next call reports the error; the next wait raises Cancelled */
        failed = 0;
    }
    if (failed < 0)
        return NULL;
    if (!all)
        return PyLong_FromSsize_t(sent);
    Py_RETURN_NONE;
}

static PyObject *send_body(golib_invocation *call, const golib_caller *record)
{
    return send_any(call, 0, record);
}

static PyObject *sendall_body(golib_invocation *call, const golib_caller *record)
{
    return send_any(call, 1, record);
}

/* ---- the group ---- */

#define SOCKET(id, name, body, detail) GOLIB_PARKS(id, "_socket", "socket", name, body, 0, detail)

SOCKET(sock_recv, "recv", recv_body, &receiving);
SOCKET(sock_recv_into, "recv_into", recv_into_body, &receiving_into);
SOCKET(sock_recvfrom, "recvfrom", plain_body, &receiving);
SOCKET(sock_recvfrom_into, "recvfrom_into", plain_body, &receiving_into);
SOCKET(sock_recvmsg, "recvmsg", plain_body, &receiving_into);
SOCKET(sock_recvmsg_into, "recvmsg_into", plain_body, &receiving_message_into);
SOCKET(sock_send, "send", send_body, NULL);
SOCKET(sock_sendall, "sendall", sendall_body, NULL);
SOCKET(sock_sendto, "sendto", plain_body, &sending_to);
SOCKET(sock_sendmsg, "sendmsg", plain_body, &sending_message);

static golib_parking *const calls[] = {&sock_recv,    &sock_recv_into,    &sock_recvfrom, &sock_recvfrom_into,
                                       &sock_recvmsg, &sock_recvmsg_into, &sock_send,     &sock_sendall,
                                       &sock_sendto,  &sock_sendmsg};

static int probe(void)
{
    return golib_sock_probe() < 0 ? -1 : golib_nowait_probe_sockets((const void *)sock_recv.patch.original);
}

static void applied(void)
{
    golib_nowait_apply(GOLIB_OF_SOCKET);
}

static void taken_back(void)
{
    golib_nowait_take_back(GOLIB_OF_SOCKET);
}

const golib_group golib_group_socket = {
    .name = "socket",
    GOLIB_GROUP_CALLS(calls),
    .uses_fds = 1,
    .probe = probe,
    .applied = applied,
    .taken_back = taken_back,
};
