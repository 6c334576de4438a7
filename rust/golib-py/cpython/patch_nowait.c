/* Neither a socket object nor a descriptor is made non-blocking for the moment of a goroutine's call: others use both at the
 * same moment, and would be refused what they may wait for. Instead the libraries that make the system calls are led here, by
 * the words through which they call them (imports.c), and the thread says for which number it must not wait:
 *
 * | library | calls | instead |
 * |---|---|---|
 * | _socket | poll | looks, and notes what it was to wait for |
 * | _socket | connect | O_NONBLOCK around the system call alone: the kernel knows no other way |
 * | _ssl | poll | as above |
 * | _ssl | PyEval_SaveThread | first the socket object's timeout is given back |
 * | libcrypto | read, write, … | the same with MSG_DONTWAIT |
 *
 * Every other call goes on as it came. An _ssl that is part of the interpreter gives up the GIL by no such word; there the
 * timeout is given back as OpenSSL first reads or writes.
 *
 * # Invariants
 * 1. Whoever begins keeps its thread until the end: a frame of a body pins its goroutine (movable.c), and patch_file.c, whose
 *    frames do not, begins nothing.
 * 2. The replacements are called with and without the GIL, and use no Python object.
 * 3. The thread-local variable is used in functions that are not inlined (patch_groups.h, 4).
 */
#include "patch_nowait.h"
#include "imports.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static __thread golib_nowait *innermost;

/* Unless somebody has set another one meanwhile, which can only be where the GIL was given up unnoticed. */
static void give_back(golib_nowait *call)
{
    int64_t none = 0;
    if (call->lent)
        __atomic_compare_exchange_n(call->lent, &none, call->timeout, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    call->lent = NULL;
}

__attribute__((noinline)) void golib_nowait_begin(golib_nowait *call, int fd)
{
    *call = (golib_nowait){.fd = fd, .wanted = -1, .outer = innermost};
    innermost = call;
}

__attribute__((noinline)) void golib_nowait_end(golib_nowait *call)
{
    innermost = call->outer;
    give_back(call);
}

void golib_nowait_lend(golib_nowait *call, int64_t *timeout)
{
    call->timeout = *timeout;
    call->lent = timeout;
    *timeout = 0;
}

/* The call that must not wait for `fd`; NULL: it may. */
static golib_nowait *call_for(int fd)
{
    golib_nowait *call = innermost;
    if (GOLIB_LIKELY(!call) || call->fd != fd)
        return NULL;
    call->asked++;
    give_back(call);
    return call;
}

/* ---- in place of CPython's ---- */

static PyThreadState *PyEval_SaveThread_once(void)
{
    if (innermost)
        give_back(innermost);
    return PyEval_SaveThread();
}

/* ---- in place of the C library's ---- */

static int poll_once(struct pollfd *fds, nfds_t n, int timeout)
{
    golib_nowait *call = n == 1 && timeout ? call_for(fds->fd) : NULL;
    if (!call)
        return poll(fds, n, timeout);
    int ready = poll(fds, 1, 0);
    if (ready == 0)
        call->wanted = fds->events & POLLOUT ? GOLIB_WRITE : GOLIB_READ;
    return ready;
}

static int connect_once(int fd, const struct sockaddr *address, socklen_t size)
{
    int flags = call_for(fd) ? fcntl(fd, F_GETFL) : -1;
    int lends = flags >= 0 && !(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
    int result = connect(fd, address, size), error = errno;
    if (lends)
        fcntl(fd, F_SETFL, flags);
    errno = error;
    return result;
}

static ssize_t read_once(int fd, void *to, size_t n)
{
    return call_for(fd) ? recv(fd, to, n, MSG_DONTWAIT) : read(fd, to, n);
}

static ssize_t write_once(int fd, const void *data, size_t n)
{
    return call_for(fd) ? send(fd, data, n, MSG_DONTWAIT) : write(fd, data, n);
}

static int dont_wait(int fd)
{
    return call_for(fd) ? MSG_DONTWAIT : 0;
}

static ssize_t recv_once(int fd, void *to, size_t n, int flags)
{
    return recv(fd, to, n, flags | dont_wait(fd));
}

static ssize_t send_once(int fd, const void *data, size_t n, int flags)
{
    return send(fd, data, n, flags | dont_wait(fd));
}

/* The kernel's own TLS. */
static ssize_t recvmsg_once(int fd, struct msghdr *message, int flags)
{
    return recvmsg(fd, message, flags | dont_wait(fd));
}

static ssize_t sendmsg_once(int fd, const struct msghdr *message, int flags)
{
    return sendmsg(fd, message, flags | dont_wait(fd));
}

/* ---- the words ---- */

typedef struct {
    int library;
    const char *symbol;
    void *replacement;
    golib_import_words words;
    int is_applied;
} hook;

#define HOOK(library_, name) {.library = library_, .symbol = #name, .replacement = (void *)name##_once}

static hook hooks[] = {
    HOOK(GOLIB_OF_SOCKET, poll),           HOOK(GOLIB_OF_SOCKET, connect), HOOK(GOLIB_OF_SSL, poll),
    HOOK(GOLIB_OF_SSL, PyEval_SaveThread), HOOK(GOLIB_OF_CRYPTO, read),    HOOK(GOLIB_OF_CRYPTO, write),
    HOOK(GOLIB_OF_CRYPTO, recv),           HOOK(GOLIB_OF_CRYPTO, send),    HOOK(GOLIB_OF_CRYPTO, recvmsg),
    HOOK(GOLIB_OF_CRYPTO, sendmsg),
};
enum { N_HOOKS = sizeof hooks / sizeof *hooks };

/* An interpreter may have several of these libraries in itself. Then some words belong to two hooks, with one replacement; the
 * first one that is applied restores them, and all are restored together. */

void golib_nowait_find(int library, const void *address)
{
    for (int i = 0; i < N_HOOKS; i++) {
        if (hooks[i].library == library && !hooks[i].is_applied)
            golib_import_find(&hooks[i].words, address, hooks[i].symbol);
    }
}

void golib_nowait_apply(int library)
{
    for (int i = 0; i < N_HOOKS; i++) {
        if (hooks[i].library != library || hooks[i].is_applied)
            continue;
        golib_import_write(&hooks[i].words, hooks[i].replacement);
        hooks[i].is_applied = 1;
    }
}

void golib_nowait_take_back(int library)
{
    for (int i = 0; i < N_HOOKS; i++) {
        if (hooks[i].library == library && hooks[i].is_applied)
            golib_import_restore(&hooks[i].words, hooks[i].replacement);
        if (hooks[i].library == library)
            hooks[i].is_applied = 0;
    }
}

const void *golib_nowait_crypto(const void *address)
{
    Dl_info around;
    void *handle = dladdr(address, &around) ? dlopen(around.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (!handle)
        handle = dlopen(NULL, RTLD_LAZY); /* the program itself */
    const void *crypto = handle ? dlsym(handle, "BIO_s_socket") : NULL;
    if (handle)
        dlclose(handle);
    return crypto ? crypto : address;
}

static int knows_sockets(PyObject *module)
{
    PyObject *sock = PyObject_CallMethod(module, "socket", "ii", AF_UNIX, SOCK_DGRAM);
    PyObject *set = sock ? PyObject_CallMethod(sock, "settimeout", "d", 0.001) : NULL, *got = NULL, *connected = NULL;
    golib_nowait once = {0};
    int fd = set ? PyObject_AsFileDescriptor(sock) : -1;
    if (fd >= 0) {
        golib_nowait_begin(&once, fd);
        got = PyObject_CallMethod(sock, "recv", "i", 1);
        PyErr_Clear();
        connected = PyObject_CallMethod(sock, "connect", "y#", "\0golib.patch", (Py_ssize_t)12);
        PyErr_Clear();
        golib_nowait_end(&once);
    }
    PyObject *closed = sock ? PyObject_CallMethod(sock, "close", NULL) : NULL;
    Py_XDECREF(closed);
    Py_XDECREF(connected);
    Py_XDECREF(got);
    Py_XDECREF(set);
    Py_XDECREF(sock);
    return once.wanted == GOLIB_READ && once.asked == 2;
}

int golib_nowait_probe_sockets(const void *address)
{
    PyObject *module = PyImport_ImportModule("_socket");
    if (!module)
        return -1;
    golib_nowait_find(GOLIB_OF_SOCKET, address);
    golib_nowait_apply(GOLIB_OF_SOCKET);
    int known = knows_sockets(module);
    golib_nowait_take_back(GOLIB_OF_SOCKET);
    Py_DECREF(module);
    if (!known && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "golib.patch: this CPython's sockets do not wait as golib knows it");
    return known ? 0 : -1;
}
