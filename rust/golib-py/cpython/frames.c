/* Reads the Python frames of another goroutine without the GIL.
 *
 * While a goroutine keeps the GIL in a long call of C, no other thread can ask the interpreter where it is. Two ways need
 * no GIL:
 * - The goroutine's own thread looks, in a signal handler. Its frames do not change meanwhile and keep alive what is read.
 * - While the goroutine's state is detached, another thread looks with gil->mutex held. To attach the state again its
 *   thread needs that mutex, so it comes back only afterwards.
 *
 * # Invariants
 * 1. Nothing here allocates, counts references or runs Python code: a handler may have interrupted any of these.
 * 2. A handler trusts no newest frame until 3.12. There each eval loop has a record of its own (_PyCFrame), which it publishes
 *    before it has written it, and which still names a frame whose chunk has been freed. So the record's frames count only if
 *    they lead to those of the record before. Whether memory is there is asked of the kernel.
 */
#include "handoff.h"
#include "frames.h"

#include <string.h>

#if PY_VERSION_HEX < 0x030d0000 && defined(__linux__)
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

PyThreadState *golib_gil_holder(uint64_t *changes, int *is_wanted)
{
    struct _gil_runtime_state *gil = golib_gil(PyInterpreterState_Main());
    golib_mutex_lock(&gil->mutex);
    PyThreadState *holder = golib_gil_word(gil) > 0 ? GOLIB_LAST_HOLDER(gil) : NULL;
    *changes = gil->switch_number;
    *is_wanted = golib_gil_waiters(gil) || (holder && golib_gil_is_asked(holder));
    golib_mutex_unlock(&gil->mutex);
    return holder;
}

unsigned long golib_gil_holders_thread(PyThreadState *ts)
{
    struct _gil_runtime_state *gil = golib_gil(PyInterpreterState_Main());
    golib_mutex_lock(&gil->mutex);
    /* A thread frees its state after it has given the GIL up. */
    int is_attached = golib_gil_word(gil) > 0 && GOLIB_LAST_HOLDER(gil) == ts;
    unsigned long thread = is_attached ? ts->native_thread_id : 0;
    golib_mutex_unlock(&gil->mutex);
    return thread;
}

/* Writes the character to `out` in UTF-8 and returns its length. */
static size_t utf8(Py_UCS4 c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(first[n] | c);
    return n;
}

/* Copies as much of the end of a str as fits. */
static void copy_end(PyObject *text, char *out, size_t size)
{
    *out = '\0';
    if (!text || !PyUnicode_Check(text))
        return;
    char bytes[4];
    Py_ssize_t from = PyUnicode_GET_LENGTH(text);
    for (size_t room = size - 1; from > 0; from--) {
        size_t n = utf8(PyUnicode_READ_CHAR(text, from - 1), bytes);
        if (n > room)
            break;
        room -= n;
    }
    for (; from < PyUnicode_GET_LENGTH(text); from++)
        out += utf8(PyUnicode_READ_CHAR(text, from), out);
    *out = '\0';
}

static void copy_name(PyObject *name, PyObject *function, char *out, size_t size)
{
    if (!name && function) {
        if (PyMethod_Check(function))
            function = PyMethod_GET_FUNCTION(function);
        if (PyFunction_Check(function))
            name = ((PyFunctionObject *)function)->func_qualname;
    }
    copy_end(name, out, size);
    static const char mark[] = "<locals>.";
    for (char *at; (at = strstr(out, mark));)
        memmove(out, at + sizeof mark - 1, strlen(at + sizeof mark - 1) + 1);
}

#if PY_VERSION_HEX < 0x030d0000 && defined(__linux__)
/* Asks the kernel to sleep, for no time, while the word has a certain value: it reads the word itself. */
static int is_readable(const void *at)
{
    static const struct timespec no_time;
    int before = errno;
    int yes = syscall(SYS_futex, (uintptr_t)at & ~(uintptr_t)3, FUTEX_WAIT_PRIVATE, ~0, &no_time, NULL, 0) == 0 ||
              errno != EFAULT;
    errno = before;
    return yes;
}

static int is_all_readable(const void *at, size_t size)
{
    return at && (uintptr_t)at % sizeof(void *) == 0 && is_readable(at) && is_readable((const char *)at + size - 1);
}

/* A frame, or a dead one whose memory is as it was. */
static int is_frame(const _PyInterpreterFrame *f)
{
    if (!is_all_readable(f, sizeof *f) || !is_all_readable(f->f_code, sizeof *f->f_code))
        return 0;
    const PyObject *code = (const PyObject *)f->f_code;
    return Py_TYPE(code) == &PyCode_Type && Py_REFCNT(code) > 0 && Py_REFCNT(code) <= UINT32_MAX;
}

/* 0: the newest record is not written yet, or its frame is gone. */
static int newest_frame_within(PyThreadState *ts, _PyInterpreterFrame **newest)
{
    enum { MOST = 10000 };
    const _PyCFrame *record = ts->cframe;
    *newest = record->current_frame;
    if (record == &ts->root_cframe)
        return 1;
    if (!is_all_readable(record->previous, sizeof *record))
        return 0;
    const _PyInterpreterFrame *f = *newest, *end = record->previous->current_frame;
    for (int i = 0; f != end && i < MOST && is_frame(f); i++)
        f = f->previous;
    return f == end;
}
#else
static int newest_frame_within(PyThreadState *ts, _PyInterpreterFrame **newest)
{
    *newest = golib_newest_frame(ts);
    return 1;
}
#endif

/* Notes `f` and the frames below it. */
static void note(_PyInterpreterFrame *f, golib_places *out)
{
    out->n = out->has_more = 0;
    for (; f; f = f->previous) {
        PyCodeObject *code = golib_frame_code(f);
        if (!code)
            continue;
        if (out->n == GOLIB_PLACES) {
            out->has_more = 1;
            return;
        }
        golib_place *place = &out->at[out->n++];
        copy_end(code->co_filename, place->file, sizeof place->file);
        copy_end(code->co_name, place->function, sizeof place->function);
        place->line = PyCode_Addr2Line(code, _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT));
    }
}

int golib_places_within(PyThreadState *ts, PyObject *name, PyObject *function, golib_places *out)
{
    _PyInterpreterFrame *newest;
    if (golib_ts_current() != ts || golib_bound() != ts || !newest_frame_within(ts, &newest))
        return 0;
    note(newest, out);
    copy_name(name, function, out->name, sizeof out->name);
    return 1;
}

int golib_places_outside(PyThreadState *ts, PyObject *name, PyObject *function, int (*still)(void *), void *arg,
                         golib_places *out)
{
    struct _gil_runtime_state *gil = golib_gil(PyInterpreterState_Main());
    golib_mutex_lock(&gil->mutex);
    int is_attached = golib_gil_word(gil) > 0 && GOLIB_LAST_HOLDER(gil) == ts;
    int seen = !is_attached && still(arg);
    if (seen) {
        note(golib_newest_frame(ts), out);
        copy_name(name, function, out->name, sizeof out->name);
    }
    golib_mutex_unlock(&gil->mutex);
    return seen;
}
