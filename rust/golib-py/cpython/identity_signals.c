/* Signals: what takes the ident of a thread, and what only the main thread may do.
 *
 * signal.pthread_kill and time.pthread_getcpuclockid hand the ident to the C library, which dies by SIGSEGV of a
 * goroutine's: they get the OS thread that runs the goroutine now, or raise ProcessLookupError when none does.
 * signal.signal and set_wakeup_fd compare the OS thread with the main thread: in the main goroutine of run() they are
 * carried out by the main thread, which waits in run().
 */
#include "patch.h"

#include <errno.h>

/* A new reference to the ident to use instead of `ident`; NULL with an exception set. */
static PyObject *os_ident(PyObject *ident)
{
    if (PyLong_Check(ident)) {
        unsigned long value = PyLong_AsUnsignedLong(ident);
        if (value == (unsigned long)-1 && PyErr_Occurred())
            PyErr_Clear();      /* the original says what is wrong with it */
        else if (golib_ident_is_goroutine(value)) {
            unsigned long thread = golib_host_table->pthread_of ? golib_host_table->pthread_of(value) : 0;
            if (!thread) {
                errno = ESRCH;
                return PyErr_SetFromErrno(PyExc_OSError);
            }
            return PyLong_FromUnsignedLong(thread);
        }
    }
    return Py_NewRef(ident);
}

static golib_patch patch_kill, patch_clock;

static PyObject *kill_fast(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (n != 2)
        return golib_call_fast(&patch_kill, self, args, n);
    PyObject *ident = os_ident(args[0]);
    if (!ident)
        return NULL;
    PyObject *both[] = {ident, args[1]};
    PyObject *result = golib_call_fast(&patch_kill, self, both, 2);
    Py_DECREF(ident);
    return result;
}

static PyObject *clock_two(PyObject *self, PyObject *arg)
{
    int wrapped = patch_clock.flags == METH_VARARGS;
    if (wrapped && PyTuple_GET_SIZE(arg) != 1)
        return golib_call_two(&patch_clock, self, arg);
    PyObject *ident = os_ident(wrapped ? PyTuple_GET_ITEM(arg, 0) : arg);
    PyObject *packed = ident && wrapped ? PyTuple_Pack(1, ident) : Py_XNewRef(ident);
    PyObject *result = packed ? golib_call_two(&patch_clock, self, packed) : NULL;
    Py_XDECREF(packed);
    Py_XDECREF(ident);
    return result;
}

static golib_patch patch_kill = {.name = "pthread_kill", .optional = 1, .fast = kill_fast};
static golib_patch patch_clock = {.name = "pthread_getcpuclockid", .optional = 1, .two = clock_two};

/* ---- on the main thread ---- */

/* A call that the main thread makes for a goroutine. */
typedef struct {
    const golib_patch *patch;
    PyObject *self, *arg, *kw;
    PyObject *const *args;
    Py_ssize_t n;
    PyObject *result, *type, *value, *traceback;    /* what came of it, exception included */
} errand;

static PyObject *call_original(const errand *e)
{
    switch (e->patch->flags) {
    case METH_FASTCALL: return golib_call_fast(e->patch, e->self, e->args, e->n);
    case METH_FASTCALL | METH_KEYWORDS: return golib_call_fast_kw(e->patch, e->self, e->args, e->n, e->kw);
    case METH_VARARGS | METH_KEYWORDS: return golib_call_three(e->patch, e->self, e->arg, e->kw);
    default: return golib_call_two(e->patch, e->self, e->arg);
    }
}

static void run_errand(void *arg)
{
    errand *e = arg;
    e->result = call_original(e);
#if PY_VERSION_HEX >= 0x030c0000
    e->value = e->result ? NULL : PyErr_GetRaisedException();
#else
    if (!e->result)
        PyErr_Fetch(&e->type, &e->value, &e->traceback);
#endif
}

static PyObject *main_thread_does(errand *e)
{
    const golib_host *host = golib_host_table;
    int elsewhere = host->in_main_goroutine && host->on_main_thread && host->in_main_goroutine() &&
                    PyThread_get_thread_ident() != _PyRuntime.main_thread;
    if (!elsewhere)
        return call_original(e);
    if (host->on_main_thread(run_errand, e) < 0)
        return NULL;
    if (!e->result) {
#if PY_VERSION_HEX >= 0x030c0000
        PyErr_SetRaisedException(e->value);
#else
        PyErr_Restore(e->type, e->value, e->traceback);
#endif
    }
    return e->result;
}

#define ON_MAIN_THREAD(id, name_, optional_)                                                                        \
    static golib_patch id;                                                                                          \
    static PyObject *id##_two(PyObject *self, PyObject *arg)                                                        \
    {                                                                                                               \
        errand e = {.patch = &id, .self = self, .arg = arg};                                                        \
        return main_thread_does(&e);                                                                                \
    }                                                                                                               \
    static PyObject *id##_three(PyObject *self, PyObject *args, PyObject *kw)                                       \
    {                                                                                                               \
        errand e = {.patch = &id, .self = self, .arg = args, .kw = kw};                                             \
        return main_thread_does(&e);                                                                                \
    }                                                                                                               \
    static PyObject *id##_fast(PyObject *self, PyObject *const *args, Py_ssize_t n)                                 \
    {                                                                                                               \
        errand e = {.patch = &id, .self = self, .args = args, .n = n};                                              \
        return main_thread_does(&e);                                                                                \
    }                                                                                                               \
    static PyObject *id##_fast_kw(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)           \
    {                                                                                                               \
        errand e = {.patch = &id, .self = self, .args = args, .n = n, .kw = kwnames};                               \
        return main_thread_does(&e);                                                                                \
    }                                                                                                               \
    static golib_patch id = {.name = name_, .optional = optional_, .two = id##_two, .three = id##_three,            \
                             .fast = id##_fast, .fast_kw = id##_fast_kw}

ON_MAIN_THREAD(patch_signal, "signal", 0);
ON_MAIN_THREAD(patch_wakeup, "set_wakeup_fd", 0);

int golib_signals_find(void)
{
    PyObject *signals = PyImport_ImportModule("_signal"), *time = PyImport_ImportModule("time");
    int failed = !signals || !time || golib_patch_find(&patch_kill, signals) < 0 ||
                 golib_patch_find(&patch_clock, time) < 0 || golib_patch_find(&patch_signal, signals) < 0 ||
                 golib_patch_find(&patch_wakeup, signals) < 0;
    Py_XDECREF(time);
    Py_XDECREF(signals);
    return failed ? -1 : 0;
}

void golib_signals_apply(void)
{
    golib_patch_apply(&patch_kill);
    golib_patch_apply(&patch_clock);
    golib_patch_apply(&patch_signal);
    golib_patch_apply(&patch_wakeup);
}
