/* golib.patch("os"): os.sendfile from a regular file to a pipe or socket that blocks; so socket.sendfile.
 *
 * The kernel's sendfile cannot be asked not to wait. So the file is read in pieces, and each is written as os.write does.
 */
#include "patch_fds.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 65536 };

__attribute__((noinline)) static int is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

__attribute__((noinline)) static Py_ssize_t kernel_pread(int fd, char *into, size_t n, int64_t at)
{
    ssize_t got;
    int error;
    Py_BEGIN_ALLOW_THREADS got = pread(fd, into, n, at);
    error = errno;
    Py_END_ALLOW_THREADS return got < 0 ? -error : got;
}

__attribute__((noinline)) static int64_t kernel_seek(int fd, int64_t at, int whence)
{
    return lseek(fd, at, whence);
}

typedef struct {
    int out, in;
    int64_t offset;         /* below 0: the file's own position */
    Py_ssize_t count;
} sending;

/* The argument as a number; -1 without an exception if the original must answer. */
static int64_t number(PyObject *argument)
{
    long long value = PyLong_Check(argument) ? PyLong_AsLongLong(argument) : -1;
    if (value < 0)
        PyErr_Clear();
    return value < 0 ? -1 : value;
}

static int is_to_wait(const golib_invocation *call, sending *s)
{
    if (call->n != 4 || golib_keywords(call) || !golib_on_goroutine())
        return 0;
    s->out = golib_small_int(call->args[0]);
    s->in = golib_small_int(call->args[1]);
    s->count = (Py_ssize_t)number(call->args[3]);
    if (s->out < 0 || s->in < 0 || s->count <= 0 || !golib_fd_is_stream(s->out) ||
        !golib_fd_blocks(s->out, GOLIB_WRITE) || !is_regular(s->in))
        return 0;
    s->offset = call->args[2] == Py_None ? kernel_seek(s->in, 0, SEEK_CUR) : number(call->args[2]);
    return s->offset >= 0;
}

/* Sends a piece and returns its size; 0 at the end of the file, -1 with an exception set. */
static Py_ssize_t send_piece(const sending *s, Py_ssize_t sent, char *room, const golib_caller *record)
{
    Py_ssize_t n = s->count - sent < PIECE ? s->count - sent : PIECE;
    Py_ssize_t got = kernel_pread(s->in, room, (size_t)n, s->offset + sent);
    if (got < 0) {
        errno = (int)-got;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return got ? golib_fd_write_all(s->out, room, got, record) : 0;
}

static PyObject *sendfile_body(golib_invocation *call, const golib_caller *record)
{
    sending s;
    if (!is_to_wait(call, &s))
        return golib_original(call);
    char *room = PyMem_Malloc(PIECE);
    if (!room)
        return PyErr_NoMemory();
    Py_ssize_t sent = 0, done = 1;
    while (sent < s.count && (done = send_piece(&s, sent, room, record)) > 0)
        sent += done;
    PyMem_Free(room);
    if (call->args[2] == Py_None)
        kernel_seek(s.in, s.offset + sent, SEEK_SET);
    if (done < 0 && sent && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear(); /* as in the kernel, the next call reports it */
        done = 0;
    }
    return done < 0 ? NULL : PyLong_FromSsize_t(sent);
}

GOLIB_PARKS(os_sendfile, "posix", NULL, "sendfile", sendfile_body, 0, NULL);

static golib_parking *const calls[] = {&os_sendfile};

const golib_group golib_group_sendfile = {.name = "os", .uses_fds = 1, GOLIB_GROUP_CALLS(calls)};
