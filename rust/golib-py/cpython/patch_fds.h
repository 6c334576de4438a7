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
 * 1. A number is not an identity. A registration is used again only if the kernel says that the number still stands for the
 *    same file, or if the caller knows so: a socket object carries a mark (patch_socket.c).
 * 2. Whatever closes a number, or makes it another file's, calls golib_fd_forget first: close, detach, os.close, os.dup2.
 * 3. One goroutine at a time has the turn in a direction, from its first wait or golib_fd_take_turn to golib_fd_done.
 *    Others queue for it, and try again when they get it, since what the first one left is theirs. A goroutine that looks
 *    and then makes a call that may block takes the turn before the look.
 * 4. In a forked child the table is empty: the parent's poller has what was registered.
 */
#ifndef GOLIB_PATCH_FDS_H
#define GOLIB_PATCH_FDS_H

#include "patch_groups.h"

struct iovec;

/* A result of golib_fd_block: the file cannot be polled, so the original has to block its thread. */
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

/* Finds or makes the registration. Returns GOLIB_WOKEN or GOLIB_NOT_POLLABLE. */
int golib_fd_find(golib_fd_wait *w);
/* Called when an operation begins: 1 if it would be in vain, because the last one took everything and nothing has come since. */
int golib_fd_prepare(golib_fd_wait *w);
/* Takes the turn before the first look, for an operation that may block although the look said that it would not. As
 * golib_fd_block; the registration was found. */
int golib_fd_take_turn(golib_fd_wait *w, const golib_caller *record);
/* Waits until it is worth trying again. GOLIB_CLOSED if the number was closed meanwhile. */
int golib_fd_block(golib_fd_wait *w, const golib_caller *record);
/* The operation is over: the next in line may begin. */
void golib_fd_done(golib_fd_wait *w);
/* Forgets the number, by 2. Wakes the waiters with GOLIB_CLOSED. */
void golib_fd_forget(int fd);
void golib_fds_forget_from(int low, int high);     /* [low, high) */
void golib_fds_in_child(void);

/* 1 if an operation in `mode` would not block, or would fail at once. */
int golib_fd_is_ready(int fd, int mode);
/* Takes the turn, which stays with `w`, and waits until it is ready. As golib_fd_block. By the turn no other goroutine takes
 * what was seen; another process, or a thread that is none of golib's, may. */
int golib_fd_wait_ready(golib_fd_wait *w, const golib_caller *record);

/* ---- patch_pipes.c ---- */

/* Is it open in that direction, and blocking? */
int golib_fd_blocks(int fd, int mode);
/* Is it a pipe or a socket? */
int golib_fd_is_stream(int fd);

/* Results of a transfer that are not a number of bytes. */
enum {
    GOLIB_FD_FAILED = -1,   /* an exception is set */
    /* Only a call that may block does it: the original. What can be waited for is ready, and the turn is the caller's until
     * golib_fd_done. */
    GOLIB_FD_ORIGINAL = -2,
};

/* One readv or writev of a blocking descriptor. */
Py_ssize_t golib_fd_transfer(golib_fd_wait *w, struct iovec *parts, int n, const golib_caller *record);
/* Reads at most `n` bytes into a new object. 0, or a transfer's results. */
int golib_fd_read(golib_fd_wait *w, Py_ssize_t n, PyObject **result, const golib_caller *record);
/* Writes `n` bytes to a pipe or socket. Returns how many were written, or -1 with an exception set. */
Py_ssize_t golib_fd_write_all(int fd, const char *data, Py_ssize_t n, const golib_caller *record);

/* ---- for all ---- */

/* Raises OSError(EBADF) and returns NULL. */
PyObject *golib_fd_closed(void);
/* Where a registered number has the TLS object whose last read took all that had come (patch_ssl.c), which is only compared;
 * NULL: it is not registered. Valid until the GIL is given up. */
const void **golib_fd_tls_emptied(int fd);

#endif
