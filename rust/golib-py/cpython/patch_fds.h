/* Descriptors that goroutines wait for.
 *
 *     golib_fd_wait w = {.fd = fd, .mode = GOLIB_READ, .until = until};
 *     while (… the operation would block …) {
 *         int outcome = golib_fd_block(&w, record);
 *         if (outcome != GOLIB_WOKEN)
 *             break;
 *     }
 *     golib_fd_done(&w);
 *
 * # Invariants
 * 1. A number is no identity. A registration is used again if the kernel says that the number still stands for the same
 *    file, or if the caller knows it: a socket object carries a mark (patch_socket.c).
 * 2. Whatever closes a number, or makes it another file's, calls golib_fd_forget first: close, detach, os.close, os.dup2.
 * 3. One goroutine at a time has the turn in a direction, from its first wait or golib_fd_take_turn to golib_fd_done.
 *    Others queue for it: they try again when they get it, since what the first one left is theirs.
 *    Whoever looks and then makes a call that may block has the turn before the look.
 * 4. In a forked child the table is empty: the parent's poller has what was registered.
 */
#ifndef GOLIB_PATCH_FDS_H
#define GOLIB_PATCH_FDS_H

#include "patch_groups.h"

struct iovec;

/* Of golib_fd_block: it cannot be polled, so the original has to block its thread. */
enum { GOLIB_NOT_POLLABLE = 4 };

/* A turn that is none of a direction's: in OpenSSL, which lets nobody else into the same connection. */
enum { GOLIB_INSIDE = GOLIB_WRITE + 1, GOLIB_N_TURNS };

typedef struct golib_fd_wait {
    int fd, mode;
    int64_t until;
    int is_known;           /* by 1: the caller knows that the number stands for what was registered */
    void *pd;               /* the registration; set by golib_fd_find */
    uint64_t serial;
    int has_turn;
    int way;                /* patch_pipes.c */
} golib_fd_wait;

/* Finds or makes the registration. GOLIB_WOKEN, or GOLIB_NOT_POLLABLE. */
int golib_fd_find(golib_fd_wait *w);
/* An operation begins: 1 if it would be in vain, because the last one took all and nothing came since. */
int golib_fd_prepare(golib_fd_wait *w);
/* Takes the turn before the first look, for an operation that may block although the look said that it would not. As
 * golib_fd_block; the registration was found. */
int golib_fd_take_turn(golib_fd_wait *w, const golib_caller *record);
/* Waits until it is worth trying again. GOLIB_CLOSED: the number was closed meanwhile. */
int golib_fd_block(golib_fd_wait *w, const golib_caller *record);
/* The operation is over: the next in line may begin. */
void golib_fd_done(golib_fd_wait *w);
/* By 2. Wakes who waits, with GOLIB_CLOSED. */
void golib_fd_forget(int fd);
void golib_fds_forget_from(int low, int high);     /* [low, high) */
void golib_fds_in_child(void);

/* 1 if an operation in `mode` would not block, or would fail at once. */
int golib_fd_is_ready(int fd, int mode);
/* Takes the turn, which stays with `w`, and waits until it is ready. As golib_fd_block. By the turn no other goroutine takes
 * what was seen; another process, or a thread that is none of golib's, may. */
int golib_fd_wait_ready(golib_fd_wait *w, const golib_caller *record);

/* ---- patch_pipes.c ---- */

/* It is open in that direction, and blocks. */
int golib_fd_blocks(int fd, int mode);
/* A pipe or a socket. */
int golib_fd_is_stream(int fd);

/* What a transfer comes to besides a number of bytes. */
enum {
    GOLIB_FD_FAILED = -1,   /* an exception is set */
    /* Only a call that may block does it: the original. What can be waited for is ready, and the turn is the caller's until
     * golib_fd_done. */
    GOLIB_FD_ORIGINAL = -2,
};

/* readv or writev of a descriptor that blocks, once. */
Py_ssize_t golib_fd_transfer(golib_fd_wait *w, struct iovec *parts, int n, const golib_caller *record);
/* read: at most `n` bytes, as a new object. 0, or as a transfer. */
int golib_fd_read(golib_fd_wait *w, Py_ssize_t n, PyObject **result, const golib_caller *record);
/* Writes `n` bytes to a pipe or socket: how many were, or -1 with an exception set. */
Py_ssize_t golib_fd_write_all(int fd, const char *data, Py_ssize_t n, const golib_caller *record);

/* ---- for all ---- */

/* Raises OSError(EBADF). NULL. */
PyObject *golib_fd_closed(void);
/* Where a registered number has the TLS object whose last read took all that had come (patch_ssl.c), which is only compared;
 * NULL: it is not registered. Valid until the GIL is given up. */
const void **golib_fd_tls_emptied(int fd);

#endif
