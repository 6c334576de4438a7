/* golib.patch("select"): select.select, poll objects, epoll objects; so the module selectors.
 *
 * Each is first asked without waiting, so wrong calls and ready descriptors are answered at once. A single descriptor is waited
 * for as itself; several go into an epoll instance of the call's own, which can itself be waited for. CPython gives the answer.
 */
#include "patch_fds.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static PyObject *zero;

/* What a call waits for. */
typedef struct {
    int own;                /* the call's epoll instance; -1: none */
    int fd, events;         /* if it is one only; events as poll has them */
    int n;
} watch;

__attribute__((noinline)) static int kernel_epoll(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

/* 0, or -errno. */
__attribute__((noinline)) static int kernel_add(int epoll, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data = {.fd = fd}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    e.events |= EPOLLIN | EPOLLOUT | EPOLLPRI;
    return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) == 0 ? 0 : -errno;
}

/* Adds a descriptor; 0 if it cannot be polled. */
static int add(watch *w, int fd, int events)
{
    if (w->n++ == 0) {
        w->fd = fd;
        w->events = events;
        return 1;
    }
    if (w->own < 0) {
        w->own = kernel_epoll();
        if (w->own < 0 || kernel_add(w->own, w->fd, (uint32_t)w->events) < 0)
            return 0;
    }
    return kernel_add(w->own, fd, (uint32_t)events) == 0;
}

/* Waits until something may have happened. Like golib_fd_block. */
static int wait_for(watch *w, int64_t until, golib_fd_wait *wait, const golib_caller *record)
{
    if (w->n == 0)
        return until == GOLIB_FOR_EVER ? GOLIB_NOT_POLLABLE : golib_waits_table->sleep(until, record);
    int events = w->events & (POLLIN | POLLOUT | POLLPRI);
    if (w->n == 1 && w->own < 0 && events != POLLIN && events != POLLOUT) {
        w->own = kernel_epoll();
        if (w->own < 0 || kernel_add(w->own, w->fd, (uint32_t)w->events) < 0)
            return GOLIB_NOT_POLLABLE;
    }
    if (!wait->pd)
        *wait = (golib_fd_wait){.fd = w->own < 0 ? w->fd : w->own,
                                .until = until,
                                .mode = w->own < 0 && events == POLLOUT ? GOLIB_WRITE : GOLIB_READ};
    int outcome = golib_fd_block(wait, record);
    return outcome == GOLIB_CLOSED ? GOLIB_NOT_POLLABLE : outcome;
}

static void leave(watch *w, golib_fd_wait *wait)
{
    golib_fd_done(wait);
    if (w->own >= 0) {
        golib_fd_forget(w->own);
        close(w->own);
    }
}

/* The call's result after its last wait had this `outcome`; takes `result` over. */
static PyObject *answer(const golib_invocation *call, int outcome, PyObject *result)
{
    if (outcome < 0)
        Py_CLEAR(result);
    else if (outcome == GOLIB_NOT_POLLABLE)
        Py_XSETREF(result, golib_original(call));   /* in a thread, then */
    return result;
}

/* When a timeout argument in units of `unit` seconds is over. 0 if there is nothing to wait for, or if the original refuses it. */
static int64_t until_of(PyObject *timeout, double unit, int negative_is_ever)
{
    if (!timeout || timeout == Py_None)
        return GOLIB_FOR_EVER;
    double value = PyFloat_Check(timeout)       ? PyFloat_AS_DOUBLE(timeout)
                   : PyLong_CheckExact(timeout) ? PyLong_AsDouble(timeout)
                                                : 0;
    if (PyErr_Occurred())
        PyErr_Clear();
    if (value < 0 && negative_is_ever)
        return GOLIB_FOR_EVER;
    return value * unit > 0 && value * unit < 2e6 ? golib_until(value * unit) : 0;
}

static int is_over(int64_t until)
{
    return until != GOLIB_FOR_EVER && golib_waits_table->now() >= until;
}

/* ---- select.select ---- */

static int any_ready(PyObject *result)
{
    for (Py_ssize_t i = 0; PyTuple_Check(result) && i < PyTuple_GET_SIZE(result); i++) {
        if (PyList_GET_SIZE(PyTuple_GET_ITEM(result, i)) > 0)
            return 1;
    }
    return 0;
}

/* 0 if one of them cannot be polled. */
static int add_lists(watch *w, PyObject *const lists[3])
{
    static const int events[3] = {POLLIN, POLLOUT, POLLPRI};
    for (int i = 0; i < 3; i++) {
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(lists[i]); k++) {
            int fd = PyObject_AsFileDescriptor(PySequence_Fast_GET_ITEM(lists[i], k));
            if (fd < 0)
                PyErr_Clear();
            if (fd < 0 || !add(w, fd, events[i]))
                return 0;
        }
    }
    return 1;
}

static PyObject *select_lists(const golib_invocation *call, PyObject *args[4], int64_t until,
                              const golib_caller *record)
{
    watch w = {.own = -1};
    golib_fd_wait wait = {0};
    PyObject *result;
    int outcome = GOLIB_WOKEN, begun = 0;
    for (;;) {
        result = golib_call_original(call->p, call, call->self, args, 4);
        if (!result || any_ready(result) || is_over(until))
            break;
        if (!begun++ && !add_lists(&w, args))
            outcome = GOLIB_NOT_POLLABLE;
        else
            outcome = wait_for(&w, until, &wait, record);
        if (outcome == GOLIB_NOT_POLLABLE || outcome < 0)
            break;
        Py_CLEAR(result);
    }
    leave(&w, &wait);
    return answer(call, outcome, result);
}

static PyObject *select_body(golib_invocation *call, const golib_caller *record)
{
    PyObject *args[4] = {0}, *result = NULL;
    int64_t until = 0;
    if (golib_on_goroutine() && call->n >= 3 && call->n <= 4)
        until = until_of(call->n == 4 ? call->args[3] : NULL, 1, 0);
    if (!until)
        return golib_original(call);
    golib_invocation again = *call;
    int known = 1;
    /* An iterator can be read only once, and a list may change while it is looked at. */
    for (int i = 0; known > 0 && i < 3; i++) {
        if (PyList_Check(call->args[i]) || PyTuple_Check(call->args[i]))
            args[i] = Py_NewRef(call->args[i]);
        else if (!Py_TYPE(call->args[i])->tp_iter && !PySequence_Check(call->args[i]))
            known = 0;
        else if (!(args[i] = PySequence_List(call->args[i])))
            known = -1;
    }
    if (known > 0) {
        PyObject *whole[4] = {args[0], args[1], args[2], call->n == 4 ? call->args[3] : Py_None};
        again.args = whole;
        again.n = 4;
        args[3] = zero;
        result = select_lists(&again, args, until, record);
    }
    else if (known == 0)
        result = golib_original(call);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(args[i]);
    return result;
}

/* ---- poll objects ---- */

/* What CPython's poll objects begin with; probed. */
typedef struct {
    PyObject_HEAD PyObject *registered;
    int is_up_to_date, n;
    struct pollfd *fds;
    int is_running;
} poll_object;

static int add_polled(watch *w, const poll_object *poll)
{
    for (int i = 0; i < poll->n; i++) {
        if (poll->fds[i].fd >= 0 && !add(w, poll->fds[i].fd, (unsigned short)poll->fds[i].events))
            return 0;
    }
    return 1;
}

static PyObject *poll_body(golib_invocation *call, const golib_caller *record)
{
    int64_t until = 0;
    if (golib_on_goroutine() && call->n <= 1)
        until = until_of(call->n ? call->args[0] : NULL, 1e-3, 1);
    if (!until)
        return golib_original(call);
    poll_object *poll = (poll_object *)call->self;
    watch w = {.own = -1};
    golib_fd_wait wait = {0};
    PyObject *result;
    int outcome = GOLIB_WOKEN, begun = 0;
    for (;;) {
        result = golib_call_original(call->p, call, call->self, &zero, 1);
        if (!result || PyList_GET_SIZE(result) > 0 || is_over(until))
            break;
        if (!begun++ && !add_polled(&w, poll))
            outcome = GOLIB_NOT_POLLABLE;
        else {
            poll->is_running = 1;       /* another poll() of it is refused, as beside a thread */
            outcome = wait_for(&w, until, &wait, record);
            poll->is_running = 0;
        }
        if (outcome == GOLIB_NOT_POLLABLE || outcome < 0)
            break;
        Py_CLEAR(result);
    }
    leave(&w, &wait);
    return answer(call, outcome, result);
}

/* ---- epoll objects ---- */

/* They begin with their descriptor; probed. */
typedef struct {
    PyObject_HEAD int fd;
} epoll_object;

static PyObject *epoll_body(golib_invocation *call, const golib_caller *record)
{
    epoll_object *epoll = (epoll_object *)call->self;
    int64_t until = 0;
    if (golib_on_goroutine() && epoll->fd >= 0)
        until = until_of(golib_argument(call, 0, "timeout"), 1, 1);
    if (!until || call->n > 2 || call->n + golib_keywords(call) > 2)
        return golib_original(call);
    PyObject *most = golib_argument(call, 1, "maxevents");
    if (!most && call->n + golib_keywords(call) > (golib_argument(call, 0, "timeout") != NULL))
        return golib_original(call);
    PyObject *args[2] = {zero, most ? Py_NewRef(most) : PyLong_FromLong(-1)};
    golib_fd_wait w = {.fd = epoll->fd, .mode = GOLIB_READ, .until = until};
    PyObject *result = NULL;
    int outcome = args[1] ? GOLIB_WOKEN : -1;
    while (outcome == GOLIB_WOKEN) {
        result = golib_call_original(call->p, call, call->self, args, 2);
        if (!result || PyList_GET_SIZE(result) > 0 || is_over(until))
            break;
        outcome = golib_fd_block(&w, record);
        if (outcome == GOLIB_WOKEN)
            Py_CLEAR(result);
    }
    golib_fd_done(&w);
    Py_XDECREF(args[1]);
    if (outcome == GOLIB_CLOSED) {
        Py_CLEAR(result);
        return golib_fd_closed();
    }
    return answer(call, outcome, result);
}

static PyObject *epoll_close_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    golib_fd_forget(((epoll_object *)call->self)->fd);
    return golib_original(call);
}

/* ---- the probe ---- */

static int probe_poll(PyObject *module)
{
    PyObject *poll = PyObject_CallMethod(module, "poll", NULL);
    PyObject *set = poll ? PyObject_CallMethod(poll, "register", "ii", 0, POLLOUT) : NULL;
    PyObject *got = set ? PyObject_CallMethod(poll, "poll", "i", 0) : NULL;
    const poll_object *p = (const poll_object *)poll;
    int known = got && p->n == 1 && p->is_up_to_date == 1 && p->fds && p->fds[0].fd == 0 &&
                p->fds[0].events == POLLOUT && p->is_running == 0;
    Py_XDECREF(got);
    Py_XDECREF(set);
    Py_XDECREF(poll);
    return known;
}

static int probe_epoll(PyObject *module)
{
    PyObject *epoll = PyObject_CallMethod(module, "epoll", NULL);
    PyObject *number = epoll ? PyObject_CallMethod(epoll, "fileno", NULL) : NULL;
    int known = number && PyLong_AsLong(number) == ((epoll_object *)epoll)->fd;
    Py_XDECREF(number);
    Py_XDECREF(epoll);
    return known;
}

static int probe(void)
{
    PyObject *module = PyImport_ImportModule("select");
    if (!zero)
        zero = PyLong_FromLong(0);
    int known = module && zero && probe_poll(module) && probe_epoll(module);
    Py_XDECREF(module);
    if (known || PyErr_Occurred())
        return known ? 0 : -1;
    PyErr_SetString(PyExc_RuntimeError,
                    "golib.patch: this CPython's poll objects are not laid out as golib knows them");
    return -1;
}

GOLIB_PARKS(select_select, "select", NULL, "select", select_body, 0, NULL);
GOLIB_PARKS(poll_poll, "select", "poll()", "poll", poll_body, 0, NULL);
GOLIB_PARKS(epoll_poll, "select", "epoll", "poll", epoll_body, 0, NULL);
GOLIB_PARKS(epoll_close, "select", "epoll", "close", epoll_close_body, 0, NULL);

static golib_parking *const calls[] = {&select_select, &poll_poll, &epoll_poll, &epoll_close};

const golib_group golib_group_select = {.name = "select", .uses_fds = 1, GOLIB_GROUP_CALLS(calls), .probe = probe};
