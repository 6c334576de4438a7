/* golib.patch("socket"): accept. */
#include "patch_socket.h"

#include <sys/socket.h>

/* A socket that listens; what does not is refused at once. */
__attribute__((noinline)) static int listens(int fd)
{
    int yes = 0;
    socklen_t size = sizeof yes;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes;
}

/* The kernel has no accept that does not block whatever the flags of the socket, which other processes may share. So one
 * goroutine at a time looks and accepts: what it has seen, no other one takes before it. */
static PyObject *wait_and_accept(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    golib_fd_wait w;
    if (golib_sock_begin(&w, s, GOLIB_READ) != GOLIB_WOKEN)
        return golib_original(call);
    int waits = golib_sock_take_turn(&w, s, record) == 0;
    PyObject *result = NULL;
    if (waits)
        golib_fd_prepare(&w);
    while (waits) {
        if (golib_fd_is_ready(w.fd, GOLIB_READ)) {
            result = golib_sock_attempt(call, call->args, call->n, &waits);
            if (waits)
                PyErr_Clear(); /* another process took it */
        }
        else if (golib_sock_block(&w, s, record) < 0)
            break;
    }
    golib_fd_done(&w);
    return result;
}

static PyObject *accept_body(golib_invocation *call, const golib_caller *record)
{
    golib_sock *s = (golib_sock *)call->self;
    if (!golib_sock_may_wait(s) || call->n || golib_keywords(call) || !(s->timeout > 0 || listens(s->fd)))
        return golib_original(call);
    return wait_and_accept(call, record);
}

GOLIB_PARKS(sock_accept, "_socket", "socket", "_accept", accept_body, 0, NULL);

static golib_parking *const calls[] = {&sock_accept};

const golib_group golib_group_accept = {.name = "socket", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
