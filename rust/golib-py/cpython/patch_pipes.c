/* Reads and writes of blocking descriptors that can be polled, for os.read, os.write and the files above them.
 *
 * The kernel is asked not to wait for this one call, since others share the descriptor's flags and may rely on them. How to ask
 * depends on the file and on the kernel's age; if one way is refused, the next is tried:
 *
 * | way | of |
 * |---|---|
 * | MESSAGE | sockets: MSG_DONTWAIT |
 * | NOWAIT | pipes, eventfds, timerfds: RWF_NOWAIT (Linux 6.4, in part earlier) |
 * | REOPENED | pipes, named or of an older kernel: opened once more for the moment, with O_NONBLOCK |
 * | IN_TURN | terminals and other devices: looked at in turn, then the call that may block |
 * | AT_ONCE | regular files: for them there is no waiting |
 */
#include "patch_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { UNKNOWN, MESSAGE, NOWAIT, REOPENED, IN_TURN, AT_ONCE };

/* The result of a try that would have to wait. */
enum { AGAIN = -3 };

/* Up to this many bytes are moved with the GIL held. */
enum { LARGE = 65536 };

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

/* Can it be waited for? It must be open in that direction and blocking. */
__attribute__((noinline)) int golib_fd_blocks(int fd, int mode)
{
    int flags = fcntl(fd, F_GETFL);
    int access = flags & O_ACCMODE;
    if (flags < 0 || flags & (O_NONBLOCK | O_PATH))
        return 0;
    return access == O_RDWR || access == (mode == GOLIB_READ ? O_RDONLY : O_WRONLY);
}

__attribute__((noinline)) int golib_fd_is_stream(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

__attribute__((noinline)) static int first_way(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return AT_ONCE;
    switch (st.st_mode & S_IFMT) {
    case S_IFSOCK: return MESSAGE;
    case S_IFIFO:
    case 0: return NOWAIT;      /* the kernel's own: eventfd and its like */
    case S_IFCHR: return IN_TURN;
    default: return AT_ONCE;
    }
}

static int next_way(int fd, int way)
{
    struct stat st;
    return way == NOWAIT && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) ? REOPENED : IN_TURN;
}

/* ---- one call that does not wait; -errno ---- */

static ssize_t by_message(const golib_fd_wait *w, struct iovec *parts, int n)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
    return w->mode == GOLIB_READ ? recvmsg(w->fd, &message, MSG_DONTWAIT) : sendmsg(w->fd, &message, MSG_DONTWAIT);
}

static ssize_t by_nowait(const golib_fd_wait *w, const struct iovec *parts, int n)
{
    long number = w->mode == GOLIB_READ ? SYS_preadv2 : SYS_pwritev2;
    return syscall(number, w->fd, parts, (unsigned long)n, -1L, -1L, RWF_NOWAIT);
}

static ssize_t by_reopening(const golib_fd_wait *w, const struct iovec *parts, int n)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", w->fd);
    int again = open(path, (w->mode == GOLIB_READ ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (again < 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    ssize_t done = w->mode == GOLIB_READ ? readv(again, parts, n) : writev(again, parts, n);
    int error = errno;
    close(again);
    errno = error;
    return done;
}

__attribute__((noinline)) static Py_ssize_t kernel_try(const golib_fd_wait *w, struct iovec *parts, int n)
{
    ssize_t done = w->way == MESSAGE  ? by_message(w, parts, n)
                   : w->way == NOWAIT ? by_nowait(w, parts, n)
                                      : by_reopening(w, parts, n);
    return done < 0 ? -errno : done;
}

static Py_ssize_t try_large(const golib_fd_wait *w, struct iovec *parts, int n)
{
    Py_ssize_t done;
    Py_BEGIN_ALLOW_THREADS done = kernel_try(w, parts, n);
    Py_END_ALLOW_THREADS return done;
}

/* Does the kernel refuse that way of asking? */
static int is_refused(const golib_fd_wait *w, Py_ssize_t done)
{
    if (w->way == MESSAGE)
        return 0;
    return done == -EOPNOTSUPP || (w->way == NOWAIT && (done == -ENOSYS || done == -EPERM));
}

__attribute__((noinline)) static int failed_with(int error)
{
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return GOLIB_FD_FAILED;
}

static Py_ssize_t wait_in_turn(golib_fd_wait *w, const golib_caller *record)
{
    int outcome = golib_fd_wait_ready(w, record);
    if (outcome == GOLIB_CLOSED)
        golib_fd_closed();
    return outcome < 0 || outcome == GOLIB_CLOSED ? GOLIB_FD_FAILED : GOLIB_FD_ORIGINAL;
}

static Py_ssize_t try_once(golib_fd_wait *w, struct iovec *parts, int n, const golib_caller *record)
{
    size_t size = 0;
    for (int i = 0; i < n; i++)
        size += parts[i].iov_len;
    if (w->way == UNKNOWN)
        w->way = first_way(w->fd);
    while (w->way < IN_TURN) {
        Py_ssize_t done = size > LARGE ? try_large(w, parts, n) : kernel_try(w, parts, n);
        if (done >= 0)
            return done;
        if (done == -EAGAIN)
            return AGAIN;
        if (is_refused(w, done))
            w->way = next_way(w->fd, w->way);
        else if (done != -EINTR)
            return failed_with((int)-done);
        else if (PyErr_CheckSignals() < 0)
            return GOLIB_FD_FAILED;
    }
    return w->way == IN_TURN ? wait_in_turn(w, record) : GOLIB_FD_ORIGINAL;
}

/* Waits after AGAIN: 0, or a transfer's results. */
static int wait_to_try(golib_fd_wait *w, const golib_caller *record)
{
    int outcome = golib_fd_block(w, record);
    if (outcome == GOLIB_CLOSED)
        golib_fd_closed();
    if (outcome < 0 || outcome == GOLIB_CLOSED)
        return GOLIB_FD_FAILED;
    return outcome == GOLIB_NOT_POLLABLE ? GOLIB_FD_ORIGINAL : 0;
}

/* ---- for the bodies ---- */

Py_ssize_t golib_fd_transfer(golib_fd_wait *w, struct iovec *parts, int n, const golib_caller *record)
{
    for (;;) {
        Py_ssize_t done = try_once(w, parts, n, record);
        if (done != AGAIN)
            return done;
        int outcome = wait_to_try(w, record);
        if (outcome < 0)
            return outcome;
    }
}

/* Keeps no memory for the result while it waits. */
int golib_fd_read(golib_fd_wait *w, Py_ssize_t n, PyObject **result, const golib_caller *record)
{
    for (;;) {
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, n);
        if (!bytes)
            return GOLIB_FD_FAILED;
        struct iovec part = {PyBytes_AS_STRING(bytes), (size_t)n};
        Py_ssize_t done = try_once(w, &part, 1, record);
        if (done >= 0) {
            if (done < n && _PyBytes_Resize(&bytes, done) < 0)
                return GOLIB_FD_FAILED;
            *result = bytes;
            return 0;
        }
        Py_DECREF(bytes);
        int outcome = done == AGAIN ? wait_to_try(w, record) : (int)done;
        if (outcome < 0)
            return outcome;
    }
}

__attribute__((noinline)) static Py_ssize_t kernel_write(int fd, const char *data, size_t n)
{
    ssize_t written;
    int error;
    Py_BEGIN_ALLOW_THREADS written = write(fd, data, n);
    error = errno;
    Py_END_ALLOW_THREADS return written < 0 ? -error : written;
}

/* A write that may block. The kernel reports room once a page fits, so a part is a page. */
static Py_ssize_t write_part(int fd, const struct iovec *part)
{
    Py_ssize_t done = kernel_write(fd, part->iov_base, part->iov_len > PIPE_BUF ? PIPE_BUF : part->iov_len);
    if (done == -EINTR)
        return PyErr_CheckSignals() < 0 ? GOLIB_FD_FAILED : 0;
    return done < 0 ? failed_with((int)-done) : done;
}

/* The number of bytes written, or -1 with an exception set. */
Py_ssize_t golib_fd_write_all(int fd, const char *data, Py_ssize_t n, const golib_caller *record)
{
    Py_ssize_t written = 0, done = 0;
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_WRITE, .until = GOLIB_FOR_EVER};
    while (written < n && done >= 0) {
        struct iovec part = {(char *)data + written, (size_t)(n - written)};
        done = golib_fd_transfer(&w, &part, 1, record);
        if (done == GOLIB_FD_ORIGINAL)
            done = write_part(fd, &part);
        if (done > 0)
            written += done;
    }
    golib_fd_done(&w);
    if (done < 0 && written && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();      /* as in the kernel, the next call reports the error, and the next wait a cancellation */
        done = 0;
    }
    return done < 0 ? -1 : written;
}
