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
 */
#include "handoff.h"
#include "frames.h"

#include <string.h>

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

static void note(PyThreadState *ts, golib_places *out)
{
    out->n = out->has_more = 0;
    for (_PyInterpreterFrame *f = golib_newest_frame(ts); f; f = f->previous) {
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
    if (golib_ts_current() != ts || golib_bound() != ts)
        return 0;
    note(ts, out);
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
        note(ts, out);
        copy_name(name, function, out->name, sizeof out->name);
    }
    golib_mutex_unlock(&gil->mutex);
    return seen;
}
