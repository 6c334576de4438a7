/* golib.patch("subprocess"): os.wait, wait3, waitpid, wait4 and waitid, and so subprocess.Popen.wait; os.system.
 *
 * A goroutine that would wait first asks the original without waiting: whatever that answers or refuses at once is the answer.
 * Otherwise the goroutine waits and asks again. For the end of one child it waits for a descriptor of the process (pidfd). For
 * any child, one of a group, or one that stops, it waits for another goroutine, which calls the kernel's waitid. That call leaves
 * the child as it is (WNOWAIT) and serves every goroutine that waits for the same children: all of them need one thread, and a
 * goroutine that leaves loses nothing.
 */
#include "patch_elsewhere.h"
#include "patch_fds.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The argument as a number; -1 without an exception if it does not fit, since the original reports that. */
static long number(PyObject *argument)
{
    long value = PyLong_Check(argument) ? PyLong_AsLong(argument) : -1;
    if (value == -1)
        PyErr_Clear();
    return value;
}

/* Not inlined, by 4 of patch_groups.h. -errno if the process cannot be opened. */
__attribute__((noinline)) static int open_process(long pid)
{
    long fd = syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

__attribute__((noinline)) static void close_process(int fd)
{
    close(fd);
}

/* Like golib_fd_wait_ready, with a descriptor of its own. */
static int wait_for_end(int fd, const golib_caller *record)
{
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_READ, .until = GOLIB_FOR_EVER};
    int outcome = golib_fd_wait_ready(&w, record);
    golib_fd_done(&w);
    golib_fd_forget(fd);
    return outcome;
}

/* Does the result say that the child has not ended? waitpid and wait4 return a tuple that begins with 0, waitid None. */
static int is_pending(PyObject *result)
{
    if (result == Py_None)
        return 1;
    PyObject *pid = PyTuple_Check(result) && PyTuple_GET_SIZE(result) > 0 ? PyTuple_GET_ITEM(result, 0) : NULL;
    return pid && PyLong_Check(pid) && number(pid) == 0;
}

/* Asks the original without waiting, and waits for the process, until there is an answer. `last` is the place of the options
 * among the arguments. */
static PyObject *wait_for(const golib_invocation *call, long pid, Py_ssize_t last, const golib_caller *record)
{
    PyObject *args[3] = {NULL};
    PyObject *options = PyLong_FromLong(number(call->args[last]) | WNOHANG), *result = NULL;
    for (Py_ssize_t i = 0; i < last; i++)
        args[i] = call->args[i];
    args[last] = options;
    while (options && (result = golib_call_original(call->p, call, call->self, args, last + 1)) && is_pending(result)) {
        Py_CLEAR(result);
        int fd = open_process(pid);
        if (fd == -ESRCH)
            continue;   /* another caller has waited for it meanwhile */
        if (fd < 0) {
            result = golib_original(call);
            break;
        }
        int outcome = wait_for_end(fd, record);
        close_process(fd);
        if (outcome < 0)
            break;
        if (outcome == GOLIB_NOT_POLLABLE) {
            result = golib_original(call);
            break;
        }
    }
    Py_XDECREF(options);
    return result;
}

/* ---- any of several ---- */

typedef struct watcher {
    struct watcher *next;
    idtype_t type;
    id_t id;
    int options;
} watcher;

/* The watchers that are in the kernel; the main interpreter's GIL guards the list. */
static watcher *watchers;

__attribute__((noinline)) static void kernel_watch(const watcher *w)
{
    siginfo_t info;
    Py_BEGIN_ALLOW_THREADS waitid(w->type, w->id, &info, w->options | WNOWAIT);
    Py_END_ALLOW_THREADS
}

/* Runs in a goroutine of its own. Whatever the outcome, the waiters ask the original again. */
static void watch(void *argument)
{
    watcher *w = argument, **at = &watchers;
    kernel_watch(w);
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    golib_lot_wake(w, INT_MAX);
    PyMem_Free(w);
}

/* The watcher of these children; a new one if there is none. NULL with an exception set. */
static watcher *watcher_of(const watcher *wanted)
{
    for (watcher *w = watchers; w; w = w->next) {
        if (w->type == wanted->type && w->id == wanted->id && w->options == wanted->options)
            return w;
    }
    watcher *w = PyMem_Malloc(sizeof *w);
    if (!w) {
        PyErr_NoMemory();
        return NULL;
    }
    *w = *wanted;
    w->next = watchers;
    watchers = w;
    if (golib_elsewhere_do(watch, w) == 0)
        return w;
    watchers = w->next;
    PyMem_Free(w);
    return NULL;
}

/* Calls `p` with these arguments, of which the one at `last` holds the options, until there is an answer. */
static PyObject *wait_for_any(const golib_parking *p, const golib_invocation *call, PyObject *const *given,
                              Py_ssize_t last, int options, const watcher *wanted, const golib_caller *record)
{
    PyObject *args[3] = {NULL}, *result = NULL;
    for (Py_ssize_t i = 0; i < last; i++)
        args[i] = given[i];
    args[last] = PyLong_FromLong(options | WNOHANG);
    while (args[last] && (result = golib_call_original(p, call, call->self, args, last + 1)) && is_pending(result)) {
        Py_CLEAR(result);
        const watcher *w = watcher_of(wanted);
        if (!w || golib_waits_table->lot_wait(w, GOLIB_FOR_EVER, GOLIB_FOR_IO, 0, record) < 0)
            break;
    }
    Py_XDECREF(args[last]);
    return result;
}

enum { STOPS = WUNTRACED | WCONTINUED };

/* The children that waitpid's arguments name. */
static watcher watched(long pid, int options)
{
    watcher w = {.options = WEXITED | (options & STOPS)};
    w.type = pid > 0 ? P_PID : pid == -1 ? P_ALL : P_PGID;
    w.id = pid > 0 ? (id_t)pid : pid == -1 ? 0 : pid == 0 ? (id_t)getpgrp() : (id_t)-pid;
    return w;
}

/* ---- the builtins ---- */

static golib_parking os_waitpid, os_wait3;

/* waitpid(pid, options), wait4(pid, options). */
static PyObject *waitpid_body(golib_invocation *call, const golib_caller *record)
{
    if (!golib_on_goroutine() || call->n != 2 || golib_keywords(call) || !PyLong_Check(call->args[0]) ||
        !PyLong_Check(call->args[1]))
        return golib_original(call);
    int overflow;
    long pid = PyLong_AsLongAndOverflow(call->args[0], &overflow), options = number(call->args[1]);
    if (overflow || pid < -INT_MAX || pid > INT_MAX || options < 0 || options & ~STOPS)
        return golib_original(call);
    if (pid > 0 && options == 0)
        return wait_for(call, pid, 1, record);
    watcher wanted = watched(pid, (int)options);
    return wait_for_any(call->p, call, call->args, 1, (int)options, &wanted, record);
}

/* wait() */
static PyObject *wait_body(golib_invocation *call, const golib_caller *record)
{
    if (!golib_on_goroutine() || call->n || golib_keywords(call))
        return golib_original(call);
    watcher wanted = watched(-1, 0);
    PyObject *any = PyLong_FromLong(-1);
    PyObject *result = any ? wait_for_any(&os_waitpid, call, &any, 1, 0, &wanted, record) : NULL;
    Py_XDECREF(any);
    return result;
}

/* wait3(options) */
static PyObject *wait3_body(golib_invocation *call, const golib_caller *record)
{
    long options = call->n == 1 && !golib_keywords(call) ? number(call->args[0]) : -1;
    if (options < 0 || options & ~STOPS || !golib_on_goroutine())
        return golib_original(call);
    watcher wanted = watched(-1, (int)options);
    return wait_for_any(&os_wait3, call, NULL, 0, (int)options, &wanted, record);
}

/* waitid(idtype, id, options) */
static PyObject *waitid_body(golib_invocation *call, const golib_caller *record)
{
    enum { KNOWN = WEXITED | WSTOPPED | WCONTINUED | WNOWAIT };
    if (!golib_on_goroutine() || call->n != 3 || golib_keywords(call))
        return golib_original(call);
    long type = number(call->args[0]), id = number(call->args[1]), options = number(call->args[2]);
    if (type < 0 || id < 0 || options < 0 || options & ~KNOWN || !(options & ~WNOWAIT))
        return golib_original(call);
    if (type == P_PID && id > 0 && (options & ~WNOWAIT) == WEXITED)
        return wait_for(call, id, 2, record);
    if (type != P_PID && type != P_PGID && type != P_ALL)
        return golib_original(call);
    watcher wanted = {.type = (idtype_t)type, .id = (id_t)id, .options = (int)options & ~WNOWAIT};
    return wait_for_any(call->p, call, call->args, 2, (int)options, &wanted, record);
}

/* Calls the C library's system() in a thread. A goroutine that leaves does not end the command. */
static PyObject *system_body(golib_invocation *call, const golib_caller *record)
{
    static golib_elsewhere_limit limit = {.most = INT_MAX};
    return golib_on_goroutine() ? golib_elsewhere(call, &limit, record) : golib_original(call);
}

static void in_child(void)
{
    watchers = NULL;
}

GOLIB_PARKS(os_waitpid, "posix", NULL, "waitpid", waitpid_body, 0, NULL);
GOLIB_PARKS(os_wait, "posix", NULL, "wait", wait_body, 0, NULL);
GOLIB_PARKS(os_wait3, "posix", NULL, "wait3", wait3_body, 1, NULL);
GOLIB_PARKS(os_wait4, "posix", NULL, "wait4", waitpid_body, 1, NULL);
GOLIB_PARKS(os_waitid, "posix", NULL, "waitid", waitid_body, 1, NULL);
GOLIB_PARKS(os_system, "posix", NULL, "system", system_body, 0, NULL);

static golib_parking *const calls[] = {&os_waitpid, &os_wait, &os_wait3, &os_wait4, &os_waitid, &os_system};

const golib_group golib_group_subprocess = {
    .name = "subprocess",
    GOLIB_GROUP_CALLS(calls),
    .uses_fds = 1,
    .probe = golib_elsewhere_ready,
    .in_child = in_child,
};
