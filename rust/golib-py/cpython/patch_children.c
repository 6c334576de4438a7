/* golib.patch("subprocess"): os.waitpid, wait4 and waitid of one child, and so subprocess.Popen.wait.
 *
 * A goroutine that would wait asks the original without waiting first: whatever that answers or refuses at once is the answer.
 * Else it waits for a descriptor of the process (pidfd) and asks again. Waits for any child, for a group of processes, or for
 * a child that stops are the original's: there is no descriptor for that.
 */
#include "patch_fds.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The number of the argument; -1 if it is none that fits, without an exception: the original says so. */
static long number(PyObject *argument)
{
    long value = PyLong_Check(argument) ? PyLong_AsLong(argument) : -1;
    if (value == -1)
        PyErr_Clear();
    return value;
}

/* By 4 of patch_groups.h: -errno if it cannot be had. */
__attribute__((noinline)) static int open_process(long pid)
{
    long fd = syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

__attribute__((noinline)) static void close_process(int fd)
{
    close(fd);
}

/* As golib_fd_wait_ready, with a descriptor of its own. */
static int wait_for_end(int fd, const golib_caller *record)
{
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_READ, .until = GOLIB_FOR_EVER};
    int outcome = golib_fd_wait_ready(&w, record);
    golib_fd_done(&w);
    golib_fd_forget(fd);
    return outcome;
}

/* The child has not ended: what waitpid, wait4 (a tuple that begins with 0) and waitid (None) return then. */
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
            continue;   /* somebody else has waited for it meanwhile */
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

/* waitpid(pid, options), wait4(pid, options). */
static PyObject *waitpid_body(golib_invocation *call, const golib_caller *record)
{
    if (!golib_on_goroutine() || call->n != 2 || golib_keywords(call) || number(call->args[1]) != 0)
        return golib_original(call);
    long pid = number(call->args[0]);
    return pid > 0 ? wait_for(call, pid, 1, record) : golib_original(call);
}

/* waitid(idtype, id, options) */
static PyObject *waitid_body(golib_invocation *call, const golib_caller *record)
{
    if (!golib_on_goroutine() || call->n != 3 || golib_keywords(call) || number(call->args[0]) != P_PID)
        return golib_original(call);
    long pid = number(call->args[1]), options = number(call->args[2]);
    int only_ends = options == WEXITED || options == (WEXITED | WNOWAIT);
    return pid > 0 && only_ends ? wait_for(call, pid, 2, record) : golib_original(call);
}

GOLIB_PARKS(os_waitpid, "posix", NULL, "waitpid", waitpid_body, 0, NULL);
GOLIB_PARKS(os_wait4, "posix", NULL, "wait4", waitpid_body, 1, NULL);
GOLIB_PARKS(os_waitid, "posix", NULL, "waitid", waitid_body, 1, NULL);

static golib_parking *const calls[] = {&os_waitpid, &os_wait4, &os_waitid};

const golib_group golib_group_subprocess = {.name = "subprocess", GOLIB_GROUP_CALLS(calls), .uses_fds = 1};
