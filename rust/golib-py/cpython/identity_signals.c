/* Signals: which thread may set handlers, and who is told of a signal.
 *
 * A signal that raise_signal or interrupt_main notes wakes the main thread, wherever they are called. identity_kill.c
 * has what only POSIX knows.
 */
#include "patch.h"

/* Called after CPython has noted a signal. */
static PyObject *after_noting(PyObject *result)
{
    if (golib_runtime_table->signal_sent && !golib_is_main_thread())
        golib_runtime_table->signal_sent();
    return result;
}

/* The main goroutine may return from its call while the main thread has its part back for a moment. It is the main goroutine
 * all the same. */
static void insist(void)
{
    const golib_runtime *runtime = golib_runtime_table;
    if (GOLIB_UNLIKELY(golib_main.is_back) && runtime->in_main_goroutine && runtime->in_main_goroutine())
        _PyRuntime.main_thread = golib_this_thread();
}

static PyObject *after_insisting(PyObject *result)
{
    if (GOLIB_UNLIKELY(golib_main.is_back))
        _PyRuntime.main_thread = golib_main.main_thread;
    return result;
}

static PyObject *after_raising(PyObject *result)
{
    return after_noting(after_insisting(result));
}

#define INSIST(self) insist()
GOLIB_WRAP(patch_signal, "signal", 0, INSIST, after_insisting);
GOLIB_WRAP(patch_wakeup, "set_wakeup_fd", 0, INSIST, after_insisting);

#define NOTHING(self) ((void)0)
GOLIB_WRAP(patch_raise, "raise_signal", 0, INSIST, after_raising);
GOLIB_WRAP(patch_interrupt, "interrupt_main", 0, NOTHING, after_noting);

int golib_signals_find(void)
{
    PyObject *signals = PyImport_ImportModule("_signal"), *thread = PyImport_ImportModule("_thread");
    int failed = !signals || !thread || golib_kills_find() < 0 || golib_patch_find(&patch_raise, signals) < 0 ||
                 golib_patch_find(&patch_interrupt, thread) < 0 || golib_patch_find(&patch_signal, signals) < 0 ||
                 golib_patch_find(&patch_wakeup, signals) < 0;
    Py_XDECREF(thread);
    Py_XDECREF(signals);
    return failed ? -1 : 0;
}

void golib_signals_apply(void)
{
    golib_kills_apply();
    golib_patch_apply(&patch_raise);
    golib_patch_apply(&patch_interrupt);
    golib_patch_apply(&patch_signal);
    golib_patch_apply(&patch_wakeup);
}
