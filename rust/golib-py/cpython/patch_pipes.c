/* Reading and writing what blocks and can be polled: for os.read and os.write, and for the files above them. */
#include "patch_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* Waiting for it may make sense: it is open in that direction and blocks. */
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

/* 0: go on; -1 with an exception set. The turn is the caller's until golib_fd_done. */
int golib_fd_await(golib_fd_wait *w, const golib_caller *record)
{
    int outcome = golib_fd_wait_ready(w, record);
    if (outcome == GOLIB_CLOSED)
        golib_fd_closed();
    return outcome < 0 || outcome == GOLIB_CLOSED ? -1 : 0;
}

__attribute__((noinline)) static Py_ssize_t kernel_write(int fd, const char *data, size_t n)
{
    ssize_t written;
    int error;
    Py_BEGIN_ALLOW_THREADS written = write(fd, data, n);
    error = errno;
    Py_END_ALLOW_THREADS return written < 0 ? -error : written;
}

/* The number of bytes written, or -1 with an exception set. */
Py_ssize_t golib_fd_write_all(int fd, const char *data, Py_ssize_t n, const golib_caller *record)
{
    Py_ssize_t written = 0;
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_WRITE, .until = GOLIB_FOR_EVER};
    while (written < n) {
        Py_ssize_t part = n - written > PIPE_BUF ? PIPE_BUF : n - written;
        if (golib_fd_await(&w, record) < 0)
            break;
        Py_ssize_t done = kernel_write(fd, data + written, (size_t)part);
        if (done >= 0)
            written += done;
        else if (done == -EINTR) {
            if (PyErr_CheckSignals() < 0)
                break;
        }
        else {
            if (written)
                break;      /* the next call tells */
            errno = (int)-done;
            PyErr_SetFromErrno(PyExc_OSError);
            break;
        }
    }
    golib_fd_done(&w);
    if (written < n && written && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        PyErr_Clear();      /* as the kernel has it; a cancellation is told by the next wait */
    return PyErr_Occurred() ? -1 : written;
}
