/* golib.patch("ssl"): OpenSSL's reads and writes, which do not block for the moment of one call.
 *
 * OpenSSL reads and writes a socket by functions that its library imports. Those words get functions of ours. A thread that
 * calls OpenSSL for a goroutine says on which descriptor its calls must not block; they carry MSG_DONTWAIT then. So the
 * socket's flags, which other processes may share, stay as they are, and setting them costs nothing.
 *
 * A handshake is tried at patch(). Where it does not come by here (OpenSSL was linked into the module), the socket's flag is
 * set for the moment of each call instead (golib_sock_lend).
 *
 * # Invariants
 * 1. `quick` is the thread's: set before the call of OpenSSL and put back after it. A callback of OpenSSL's that waits keeps
 *    its thread, since its frames may not move.
 * 2. The words are put back once no call counts on them.
 */
#include "imports.h"
#include "patch_socket.h"

#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

/* By 1. The descriptor on which calls do not block, -1 for none; how many came. */
static __thread struct {
    int fd, reads, writes;
} quick = {-1, 0, 0};

static ssize_t quick_read(int fd, void *to, size_t n)
{
    if (fd != quick.fd)
        return read(fd, to, n);
    quick.reads++;
    return recv(fd, to, n, MSG_DONTWAIT);
}

static ssize_t quick_write(int fd, const void *data, size_t n)
{
    if (fd != quick.fd)
        return write(fd, data, n);
    quick.writes++;
    return send(fd, data, n, MSG_DONTWAIT);
}

/* Where the kernel does the ciphers (OP_ENABLE_KTLS). */
static ssize_t quick_recvmsg(int fd, struct msghdr *to, int flags)
{
    return recvmsg(fd, to, flags | (fd == quick.fd ? MSG_DONTWAIT : 0));
}

static ssize_t quick_sendmsg(int fd, const struct msghdr *data, int flags)
{
    return sendmsg(fd, data, flags | (fd == quick.fd ? MSG_DONTWAIT : 0));
}

enum { N_IMPORTS = 4 };

static golib_import imports[N_IMPORTS] = {
    {"read", NULL, (void *)quick_read, 0, NULL},
    {"write", NULL, (void *)quick_write, 0, NULL},
    {"recvmsg", NULL, (void *)quick_recvmsg, 0, NULL},
    {"sendmsg", NULL, (void *)quick_sendmsg, 0, NULL},
};

/* What lies in the library whose words were replaced; NULL: none. Guarded by the GIL, as the next two. */
static const void *replaced_at;
static int is_wanted, users;

static void put_back(void)
{
    golib_import back[N_IMPORTS];
    int n = 0;
    for (int i = 0; i < N_IMPORTS; i++) {
        if (imports[i].replaced)
            back[n++] = (golib_import){imports[i].symbol, NULL, imports[i].original, 0, NULL};
        imports[i].replaced = 0;
    }
    golib_imports_replace_at(replaced_at, back, n);
    replaced_at = NULL;
}

__attribute__((noinline)) int golib_ssl_io_begin(int fd, int *outer)
{
    if (!replaced_at || !is_wanted)
        return 0;
    users++;
    *outer = quick.fd;
    quick.fd = fd;
    return 1;
}

__attribute__((noinline)) void golib_ssl_io_end(int outer)
{
    quick.fd = outer;
    if (--users == 0 && !is_wanted)
        put_back();     /* by 2 */
}

/* ---- on and off ---- */

/* A function of the library that the module's sockets come from; NULL: it is in no library of its own. */
static const void *find_openssl(void)
{
    PyObject *module = PyImport_ImportModule("_ssl");
    PyObject *file = module ? PyObject_GetAttrString(module, "__file__") : NULL;
    const char *path = file ? PyUnicode_AsUTF8(file) : NULL;
    void *library = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    const void *found = library ? dlsym(library, "BIO_s_socket") : NULL;
    if (library)
        dlclose(library);
    Py_XDECREF(file);
    Py_XDECREF(module);
    return found;
}

/* Begins a handshake on a socket that does not block; nobody answers. */
static void begin_handshake(PyObject *socket)
{
    PyObject *ssl = PyImport_ImportModule("_ssl");
    PyObject *protocol = ssl ? PyObject_GetAttrString(ssl, "PROTOCOL_TLS_CLIENT") : NULL;
    PyObject *context = protocol ? PyObject_CallMethod(ssl, "_SSLContext", "O", protocol) : NULL;
    PyObject *tls = context ? PyObject_CallMethod(context, "_wrap_socket", "OOs", socket, Py_False, "localhost") : NULL;
    PyObject *result = tls ? PyObject_CallMethod(tls, "do_handshake", NULL) : NULL;
    Py_XDECREF(result);
    Py_XDECREF(tls);
    Py_XDECREF(context);
    Py_XDECREF(protocol);
    Py_XDECREF(ssl);
    PyErr_Clear(); /* it waits for the answer */
}

/* Whether OpenSSL's calls come by here. */
static int come_by_here(void)
{
    PyObject *module = PyImport_ImportModule("socket"), *number = NULL;
    PyObject *pair = module ? PyObject_CallMethod(module, "socketpair", NULL) : NULL;
    PyObject *socket = pair && PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 ? PyTuple_GET_ITEM(pair, 0) : NULL;
    PyObject *set = socket ? PyObject_CallMethod(socket, "setblocking", "O", Py_False) : NULL;
    int outer = quick.fd, came = 0;
    if (set && (number = PyObject_CallMethod(socket, "fileno", NULL))) {
        quick.fd = (int)PyLong_AsLong(number);
        quick.reads = quick.writes = 0;
        begin_handshake(socket);
        came = quick.reads && quick.writes;
        quick.fd = outer;
    }
    Py_XDECREF(number);
    Py_XDECREF(set);
    for (int i = 0; socket && i < 2; i++) { /* an unclosed one gives a warning */
        PyObject *closed = PyObject_CallMethod(PyTuple_GET_ITEM(pair, i), "close", NULL);
        Py_XDECREF(closed);
    }
    Py_XDECREF(pair);
    Py_XDECREF(module);
    PyErr_Clear();
    return came;
}

void golib_ssl_io_apply(void)
{
    is_wanted = 1;
    if (!replaced_at && (replaced_at = find_openssl())) {
        golib_imports_replace_at(replaced_at, imports, N_IMPORTS);
        if (!come_by_here())
            put_back();
    }
    PyErr_Clear();
}

void golib_ssl_io_take_back(void)
{
    is_wanted = 0;
    if (replaced_at && !users)
        put_back(); /* by 2 */
}
