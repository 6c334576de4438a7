/* golib.patch("file"): buffered files, and files of pipes.
 *
 * A buffered file holds a lock while it calls the file below it, and remembers which OS thread holds it. A goroutine that
 * waits down there would have to keep that thread. Instead the goroutine notes which files it is inside of. When it parks,
 * the files get the goroutine as their owner (movable.c), so it may resume on another thread. A goroutine that comes
 * meanwhile waits for its turn here rather than for the lock.
 *
 * FileIO, the file below, reads and writes descriptors that can be polled as os.read and os.write do.
 *
 * # Invariants
 * 1. The functions that call an original with a goroutine's frames above it lie in the section `golib_movable`: they keep
 *    nothing across the call that belongs to an OS thread.
 * 2. The notes lie on the goroutine's stack, innermost first.
 */
#define GOLIB_ENTRY GOLIB_MOVABLE_TEXT
#include "patch_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

/* What CPython's buffered objects begin with; probed. */
typedef struct {
    PyObject_HEAD PyObject *raw;
    int ok, detached, readable, writable;
    char finalizing;
    int fast_closed_checks;
    int64_t abs_pos;
    char *buffer;
    int64_t pos, raw_pos, read_end, write_pos, write_end;
    void *lock;
    volatile unsigned long owner;
} buffered;

const size_t golib_buffered_owner = offsetof(buffered, owner);

_Static_assert(offsetof(buffered, owner) < 128, "tls_scan.c looks for a short offset");
_Static_assert(sizeof(unsigned long) == sizeof(void *), "an owner is a word");

/* How often to look: a thread that was inside before the group was patched does not announce that it leaves. */
enum { LOOK_NS = 50000000 };

static int is_inside(const golib_held *held, const buffered *file)
{
    for (; held; held = held->next) {
        if (held->file == (PyObject *)file)
            return 1;
    }
    return 0;
}

/* Waits until no other goroutine or thread is inside. 0, or -1 with an exception set. */
__attribute__((noinline, cold)) static int wait_for_turn(golib_held *held, buffered *file, const golib_caller *record)
{
    while (file->owner) {
        if (is_inside(held, file)) {
            file->owner = PyThread_get_thread_ident();      /* a call inside a call, which the original refuses */
            return 0;
        }
        int64_t look = golib_waits_table->now() + LOOK_NS;
        if (golib_waits_table->lot_wait(file, look, GOLIB_FOR_IO, 0, record) < 0)
            return -1;
    }
    return 0;
}

GOLIB_ENTRY static PyObject *buffered_body(golib_invocation *call, const golib_caller *record)
{
    buffered *file = (buffered *)call->self;
    golib_held **held = golib_on_goroutine() ? golib_waits_table->held() : NULL;
    PyObject *result;
    if (!held)
        result = golib_original(call);
    else {
        if (GOLIB_UNLIKELY(file->owner) && wait_for_turn(*held, file, record) < 0)
            return NULL;
        golib_held me = {(PyObject *)file, *held};
        *held = &me;
        result = golib_original(call);
        *held = me.next;
    }
    golib_lot_wake(file, 1);
    return result;
}

/* ---- iteration, which is a slot ---- */

enum { N_ITERATED = 2 };
static const char *const iterated[N_ITERATED] = {"BufferedReader", "BufferedRandom"};
static PyTypeObject *iterated_types[N_ITERATED];
static iternextfunc original_next[N_ITERATED];

GOLIB_ENTRY static PyObject *next_line(PyObject *self, int which, const golib_caller *record)
{
    golib_held **held = golib_on_goroutine() ? golib_waits_table->held() : NULL;
    PyObject *result;
    if (!held)
        result = original_next[which](self);
    else {
        if (((buffered *)self)->owner && wait_for_turn(*held, (buffered *)self, record) < 0)
            return NULL;
        golib_held me = {self, *held};
        *held = &me;
        result = original_next[which](self);
        *held = me.next;
    }
    golib_lot_wake(self, 1);
    return result;
}

GOLIB_ENTRY static PyObject *next_of_reader(PyObject *self)
{
    return next_line(self, 0, GOLIB_HERE);
}

GOLIB_ENTRY static PyObject *next_of_random(PyObject *self)
{
    return next_line(self, 1, GOLIB_HERE);
}

static const iternextfunc our_next[N_ITERATED] = {next_of_reader, next_of_random};

static void set_next(PyTypeObject *type, iternextfunc from, iternextfunc to)
{
    if (type->tp_iternext != from)
        return;
    __atomic_store_n(&type->tp_iternext, to, __ATOMIC_RELAXED);
    PyType_Modified(type);
}

static void applied(void)
{
    for (int i = 0; i < N_ITERATED; i++)
        set_next(iterated_types[i], original_next[i], our_next[i]);
}

static void taken_back(void)
{
    for (int i = 0; i < N_ITERATED; i++)
        set_next(iterated_types[i], our_next[i], original_next[i]);
}

/* ---- FileIO ---- */

/* It begins with its descriptor; probed with the closing of files. */
typedef struct {
    PyObject_HEAD int fd;
} fileio;

static golib_parking file_read, file_readable, file_writable;

/* The descriptor of a call that may wait in `mode`, or -1. */
static int descriptor(const golib_invocation *call, int mode)
{
    int fd = ((fileio *)call->self)->fd;
    if (golib_keywords(call) || !golib_on_goroutine() || fd < 0 || !golib_fd_blocks(fd, mode))
        return -1;
    const golib_parking *asks = mode == GOLIB_READ ? &file_readable : &file_writable;
    PyObject *may = golib_call_original(asks, NULL, call->self, NULL, 0);
    Py_XDECREF(may);
    if (!may)
        PyErr_Clear();
    return may == Py_True ? fd : -1;
}

/* Reads until the end, in pieces. */
static PyObject *read_all(const golib_invocation *call, int fd, const golib_caller *record)
{
    enum { PIECE = 65536 };
    golib_fd_wait w = {.fd = fd, .mode = GOLIB_READ, .until = GOLIB_FOR_EVER};
    PyObject *pieces = PyList_New(0), *size = PyLong_FromLong(PIECE), *all = NULL;
    for (int more = pieces && size; more;) {
        PyObject *piece = NULL;
        if (golib_fd_read(&w, PIECE, &piece, record) == GOLIB_FD_ORIGINAL)
            piece = golib_call_original(&file_read, call, call->self, &size, 1);
        if (piece && PyBytes_Check(piece) && PyBytes_GET_SIZE(piece) > 0)
            more = PyList_Append(pieces, piece) == 0;
        else {
            PyObject *nothing = piece ? PyBytes_FromStringAndSize(NULL, 0) : NULL;
            all = nothing ? PyObject_CallMethod(nothing, "join", "O", pieces) : NULL;
            Py_XDECREF(nothing);
            more = 0;
        }
        Py_XDECREF(piece);
    }
    golib_fd_done(&w);
    Py_XDECREF(size);
    Py_XDECREF(pieces);
    return all;
}

static PyObject *readall_body(golib_invocation *call, const golib_caller *record)
{
    int fd = call->n ? -1 : descriptor(call, GOLIB_READ);
    return fd >= 0 && golib_fd_is_stream(fd) ? read_all(call, fd, record) : golib_original(call);
}

static PyObject *read_some(golib_invocation *call, Py_ssize_t n, const golib_caller *record)
{
    golib_fd_wait w = {.fd = descriptor(call, GOLIB_READ), .mode = GOLIB_READ, .until = GOLIB_FOR_EVER};
    PyObject *result = NULL;
    if (w.fd < 0 || golib_fd_read(&w, n, &result, record) == GOLIB_FD_ORIGINAL)
        result = golib_original(call);
    golib_fd_done(&w);
    return result;
}

static PyObject *read_body(golib_invocation *call, const golib_caller *record)
{
    int all = call->n == 0 ||
              (call->n == 1 &&
               (call->args[0] == Py_None || (PyLong_CheckExact(call->args[0]) && golib_small_int(call->args[0]) < 0)));
    if (call->n > 1 || (call->n == 1 && !all && golib_small_int(call->args[0]) <= 0))
        return golib_original(call);
    if (!all)
        return read_some(call, golib_small_int(call->args[0]), record);
    int fd = descriptor(call, GOLIB_READ);
    return fd >= 0 && golib_fd_is_stream(fd) ? read_all(call, fd, record) : golib_original(call);
}

/* A transfer's result as an object: its number, the original's answer, or NULL with an exception set. */
static PyObject *number_of(const golib_invocation *call, Py_ssize_t done)
{
    return done >= 0 ? PyLong_FromSsize_t(done) : done == GOLIB_FD_ORIGINAL ? golib_original(call) : NULL;
}

static PyObject *transfer(const golib_invocation *call, int fd, int mode, const Py_buffer *view,
                          const golib_caller *record)
{
    golib_fd_wait w = {.fd = fd, .mode = mode, .until = GOLIB_FOR_EVER};
    struct iovec part = {view->buf, (size_t)view->len};
    PyObject *result = number_of(call, golib_fd_transfer(&w, &part, 1, record));
    golib_fd_done(&w);
    return result;
}

static PyObject *readinto_body(golib_invocation *call, const golib_caller *record)
{
    Py_buffer view;
    int fd = call->n == 1 && PyObject_CheckBuffer(call->args[0]) ? descriptor(call, GOLIB_READ) : -1;
    if (fd < 0)
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[0], &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    PyObject *result = view.len ? transfer(call, fd, GOLIB_READ, &view, record) : golib_original(call);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *write_body(golib_invocation *call, const golib_caller *record)
{
    Py_buffer view;
    int fd = call->n == 1 && PyObject_CheckBuffer(call->args[0]) ? descriptor(call, GOLIB_WRITE) : -1;
    if (fd < 0)
        return golib_original(call);
    if (PyObject_GetBuffer(call->args[0], &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return golib_original(call);
    }
    PyObject *result = view.len == 0            ? golib_original(call)
                       : golib_fd_is_stream(fd) ? number_of(call, golib_fd_write_all(fd, view.buf, view.len, record))
                                                : transfer(call, fd, GOLIB_WRITE, &view, record);
    PyBuffer_Release(&view);
    return result;
}

/* Not replaced, only called. */
static PyObject *asked_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    return golib_original(call);
}

/* ---- the probe ---- */

static buffered *probed;
static int seen_inside;

static PyObject *look_inside(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    seen_inside = probed && probed->lock && probed->owner == PyThread_get_thread_ident();
    Py_RETURN_NONE;
}

/* A reader whose file below looks at it from inside. */
static int probe_buffered(PyObject *io)
{
    static PyMethodDef def = {"look_inside", look_inside, METH_NOARGS, NULL};
    static const char source[] = "class Raw(io.RawIOBase):\n"
                                 "    def readable(self): return True\n"
                                 "    def readinto(self, room):\n"
                                 "        look()\n"
                                 "        return 0\n"
                                 "reader = _io.BufferedReader(Raw())\n";
    PyObject *look = PyCFunction_New(&def, NULL), *high = PyImport_ImportModule("io"), *globals = PyDict_New();
    PyObject *done = NULL, *reader = NULL, *read = NULL;
    if (look && high && globals && PyDict_SetItemString(globals, "look", look) == 0 &&
        PyDict_SetItemString(globals, "io", high) == 0 && PyDict_SetItemString(globals, "_io", io) == 0 &&
        PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyRun_String(source, Py_file_input, globals, globals);
    if (done && (reader = PyDict_GetItemString(globals, "reader"))) {
        probed = (buffered *)reader;
        seen_inside = 0;
        if (probed->owner == 0 && probed->readable == 1)
            read = PyObject_CallMethod(reader, "read", "i", 1);
        seen_inside = seen_inside && probed->owner == 0;
        probed = NULL;
    }
    Py_XDECREF(read);
    Py_XDECREF(done);
    Py_XDECREF(globals);
    Py_XDECREF(high);
    Py_XDECREF(look);
    return read && seen_inside;
}

static int probe(void)
{
    PyObject *io = PyImport_ImportModule("_io");
    int known = io && probe_buffered(io);
    for (int i = 0; known && i < N_ITERATED; i++) {
        if (!iterated_types[i])
            iterated_types[i] = (PyTypeObject *)PyObject_GetAttrString(io, iterated[i]);
        if (iterated_types[i] && !original_next[i])
            original_next[i] = iterated_types[i]->tp_iternext;
        known = original_next[i] != NULL;
    }
    Py_XDECREF(io);
    if (known || PyErr_Occurred())
        return known ? 0 : -1;
    PyErr_SetString(PyExc_RuntimeError,
                    "golib.patch: this CPython's buffered files are not laid out as golib knows them");
    return -1;
}

#define FILES(id, type, name, body) GOLIB_PARKS(id, "_io", type, name, body, 0, NULL)

FILES(reader_read, "BufferedReader", "read", buffered_body);
FILES(reader_peek, "BufferedReader", "peek", buffered_body);
FILES(reader_read1, "BufferedReader", "read1", buffered_body);
FILES(reader_readinto, "BufferedReader", "readinto", buffered_body);
FILES(reader_readinto1, "BufferedReader", "readinto1", buffered_body);
FILES(reader_readline, "BufferedReader", "readline", buffered_body);
FILES(reader_close, "BufferedReader", "close", buffered_body);
FILES(writer_write, "BufferedWriter", "write", buffered_body);
FILES(writer_flush, "BufferedWriter", "flush", buffered_body);
FILES(writer_close, "BufferedWriter", "close", buffered_body);
FILES(random_read, "BufferedRandom", "read", buffered_body);
FILES(random_peek, "BufferedRandom", "peek", buffered_body);
FILES(random_read1, "BufferedRandom", "read1", buffered_body);
FILES(random_readinto, "BufferedRandom", "readinto", buffered_body);
FILES(random_readinto1, "BufferedRandom", "readinto1", buffered_body);
FILES(random_readline, "BufferedRandom", "readline", buffered_body);
FILES(random_write, "BufferedRandom", "write", buffered_body);
FILES(random_flush, "BufferedRandom", "flush", buffered_body);
FILES(random_close, "BufferedRandom", "close", buffered_body);
FILES(file_read, "FileIO", "read", read_body);
FILES(file_readall, "FileIO", "readall", readall_body);
FILES(file_readinto, "FileIO", "readinto", readinto_body);
FILES(file_write, "FileIO", "write", write_body);
FILES(file_readable, "FileIO", "readable", asked_body);
FILES(file_writable, "FileIO", "writable", asked_body);

static golib_parking *const calls[] = {
    &reader_read,     &reader_peek,   &reader_read1, &reader_readinto, &reader_readinto1,
    &reader_readline, &reader_close,  &writer_write, &writer_flush,    &writer_close,
    &random_read,     &random_peek,   &random_read1, &random_readinto, &random_readinto1,
    &random_readline, &random_write,  &random_flush, &random_close,    &file_read,
    &file_readall,    &file_readinto, &file_write,   &file_readable,   &file_writable,
};

const golib_group golib_group_file = {
    .name = "file",
    .uses_fds = 1,
    GOLIB_GROUP_CALLS(calls),
    .probe = probe,
    .applied = applied,
    .taken_back = taken_back,
};

void golib_disown_files(const golib_held *held, unsigned long ident)
{
    for (; held; held = held->next) {
        buffered *file = (buffered *)held->file;
        if (file->owner)
            file->owner = ident;
    }
}
