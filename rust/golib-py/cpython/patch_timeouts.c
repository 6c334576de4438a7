/* golib.patch("socket"): the kernel's own timeouts, which setsockopt(SO_RCVTIMEO) and SO_SNDTIMEO set. When one has passed, a
 * call fails with EAGAIN. Reading them costs a system call for each wait, so they are read only after the first such setsockopt. */
#include "patch_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

/* True once such a timeout has been set. Guarded by the GIL. */
static int are_used;

__attribute__((noinline)) static int64_t kernel_timeout(int fd, int mode)
{
    struct timeval t = {0};
    socklen_t size = sizeof t;
    if (getsockopt(fd, SOL_SOCKET, mode == GOLIB_READ ? SO_RCVTIMEO : SO_SNDTIMEO, &t, &size) < 0)
        return 0;
    return t.tv_sec * INT64_C(1000000000) + t.tv_usec * INT64_C(1000);
}

int64_t golib_sock_until(const golib_sock *s, const golib_fd_wait *w)
{
    int64_t timeout = s->timeout;
    if (GOLIB_UNLIKELY(are_used) && timeout < 0)
        timeout = kernel_timeout(w->fd, w->mode);
    return timeout > 0 ? golib_waits_table->now() + timeout : GOLIB_FOR_EVER;
}

void golib_sock_timed_out(const golib_sock *s)
{
    if (s->timeout >= 0)
        PyErr_SetString(PyExc_TimeoutError, "timed out");
    else {
        errno = EAGAIN;
        PyErr_SetFromErrno(PyExc_OSError);
    }
}

static PyObject *setsockopt_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *result = golib_original(call);
    if (result && call->n >= 2 && golib_small_int(call->args[0]) == SOL_SOCKET) {
        int option = golib_small_int(call->args[1]);
        if ((option == SO_RCVTIMEO || option == SO_SNDTIMEO) && golib_in_main_interpreter())
            are_used = 1;
    }
    return result;
}

GOLIB_PARKS(sock_setsockopt, "_socket", "socket", "setsockopt", setsockopt_body, 0, NULL);

static golib_parking *const calls[] = {&sock_setsockopt};

const golib_group golib_group_timeouts = {.name = "socket", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
