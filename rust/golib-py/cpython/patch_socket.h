/* Socket objects, as the patched builtins see them (patch_socket.c, patch_connect.c, patch_ssl.c). */
#ifndef GOLIB_PATCH_SOCKET_H
#define GOLIB_PATCH_SOCKET_H

#include "patch_fds.h"
#include "patch_nowait.h"

/* What CPython's socket objects begin with; the same from 3.11 to 3.15, and probed. */
typedef struct {
    PyObject_HEAD int fd, family, type, proto;
    PyObject *(*errorhandler)(void);
    int64_t timeout;        /* nanoseconds; below 0: none; 0: it does not block */
} golib_sock;

/* Checks the layout; 0, or -1 with a RuntimeError set. */
int golib_sock_probe(void);

/* A call of a goroutine's may wait. */
static inline int golib_sock_blocks(const golib_sock *s)
{
    return s->fd >= 0 && s->timeout != 0;
}

/* Is the call made on a goroutine, and may it wait? */
static inline int golib_sock_may_wait(const golib_sock *s)
{
    return golib_on_goroutine() && golib_sock_blocks(s);
}

/* Prepares a wait for `s` in `mode`, with its timeout. Returns GOLIB_WOKEN or GOLIB_NOT_POLLABLE. */
int golib_sock_begin(golib_fd_wait *w, golib_sock *s, int mode);
/* 0 to try again; -1 with an exception set: TimeoutError, OSError(EBADF) if it was closed, or whatever ended the wait. */
int golib_sock_block(golib_fd_wait *w, golib_sock *s, const golib_caller *record);

/* As above, for golib_fd_take_turn. */
int golib_sock_take_turn(golib_fd_wait *w, golib_sock *s, const golib_caller *record);
/* An original has been refused what it would have had to wait for, with the exception that is set: waits. 0: try again; -1: as
 * above, but if the time is over the exception stays. */
int golib_sock_block_for(golib_fd_wait *w, golib_sock *s, const golib_caller *record);

/* One call of the original that does not block: by its flags, or because there is a timeout, by which CPython polls first
 * (patch_nowait.h). `*waits`: it would block, with an exception set. */
PyObject *golib_sock_attempt(golib_invocation *call, PyObject *const *args, Py_ssize_t n, int *waits);

/* The number of bytes received, or -1 with an exception set. */
Py_ssize_t golib_sock_receive(golib_sock *s, golib_fd_wait *w, void *to, Py_ssize_t room, int flags,
                              const golib_caller *record);
/* Sends everything, or at least something if `partial`. 0, or -1 with an exception set; `*sent` bytes were sent. */
int golib_sock_transmit(golib_sock *s, golib_fd_wait *w, const Py_buffer *data, int flags, int partial,
                        Py_ssize_t *sent, const golib_caller *record);

/* ---- patch_timeouts.c ---- */

/* The time at which a wait that begins now is over, and the exception raised then. */
int64_t golib_sock_until(const golib_sock *s, const golib_fd_wait *w);
void golib_sock_timed_out(const golib_sock *s);

/* ---- patch_whole.c ---- */

/* Is it a stream that blocks without a timeout? Then MSG_WAITALL applies, and sendmsg sends everything. */
int golib_sock_moves_all(const golib_sock *s);
/* recv and recv_into with MSG_WAITALL. */
PyObject *golib_sock_recv_all(golib_sock *s, Py_ssize_t room, const golib_caller *record);
PyObject *golib_sock_recv_all_into(golib_sock *s, const Py_buffer *view, Py_ssize_t room, const golib_caller *record);
/* Called after sendmsg, whose result it takes over: sends the rest of the buffers (a list or tuple). */
PyObject *golib_sock_send_rest(golib_sock *s, PyObject *buffers, int flags, PyObject *result,
                               const golib_caller *record);

#endif
