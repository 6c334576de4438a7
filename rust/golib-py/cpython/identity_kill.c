/* Signals of POSIX: functions that take a thread's ident, and functions that send a signal to their own process.
 *
 * signal.pthread_kill and time.pthread_getcpuclockid hand the ident to the C library, which crashes on a goroutine's:
 * they get the OS thread that runs the goroutine now, or raise ProcessLookupError when none does. A program with one
 * thread has had its signal when os.kill returns; so has run()'s main goroutine, though the kernel gives it to another
 * thread.
 */
#include "patch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* A new reference to the ident to use instead of `ident`; NULL with an exception set. */
static PyObject *os_ident(PyObject *ident)
{
    if (PyLong_Check(ident)) {
        unsigned long value = PyLong_AsUnsignedLong(ident);
        if (value == (unsigned long)-1 && PyErr_Occurred())
            PyErr_Clear();      /* the original says what is wrong with it */
        else if (golib_ident_is_goroutine(value)) {
            unsigned long thread = golib_runtime_table->pthread_of ? golib_runtime_table->pthread_of(value) : 0;
            if (!thread) {
                errno = ESRCH;
                return PyErr_SetFromErrno(PyExc_OSError);
            }
            return PyLong_FromUnsignedLong(thread);
        }
    }
    return Py_NewRef(ident);
}

/* Called with the `result` of a call by which the goroutine may have sent a signal to its own process. */
static PyObject *after_sending(PyObject *result)
{
    const golib_runtime *runtime = golib_runtime_table;
    if (!result || !runtime->in_main_goroutine || !runtime->main_thread_turn || !runtime->in_main_goroutine())
        return result;
    runtime->main_thread_turn();
    if (PyErr_CheckSignals() < 0)
        Py_CLEAR(result);
    return result;
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
    PyObject *result = after_sending(golib_call_fast(&patch_kill, self, both, 2));
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

static uint64_t own_mask(void)
{
    sigset_t set;
    uint64_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    memcpy(&mask, &set, sizeof mask);
    return mask;
}

static golib_patch patch_mask;

/* A signal that the main goroutine blocks must not be delivered to the process. So every thread that may run that goroutine,
 * or that gets the process's signals while it is parked, blocks the signal as well. */
static PyObject *mask_fast(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    const golib_runtime *runtime = golib_runtime_table;
    if (!runtime->in_main_goroutine || !runtime->masks_changed || !runtime->in_main_goroutine())
        return golib_call_fast(&patch_mask, self, args, n);
    runtime->pin(1);  /* handlers run in the original */
    uint64_t before = own_mask();
    PyObject *result = golib_call_fast(&patch_mask, self, args, n);
    uint64_t after = own_mask();
    if (before != after)
        runtime->masks_changed(after & ~before, before & ~after);
    runtime->pin(-1);
    return result;
}

static golib_patch patch_mask = {.name = "pthread_sigmask", .optional = 1, .fast = mask_fast};

#define NOTHING(self) ((void)0)
GOLIB_WRAP(patch_os_kill, "kill", 0, NOTHING, after_sending);
GOLIB_WRAP(patch_killpg, "killpg", 1, NOTHING, after_sending);

int golib_kills_find(void)
{
    PyObject *signals = PyImport_ImportModule("_signal"), *time = PyImport_ImportModule("time");
    PyObject *posix = PyImport_ImportModule("posix");
    int failed = !signals || !time || !posix || golib_patch_find(&patch_kill, signals) < 0 ||
                 golib_patch_find(&patch_clock, time) < 0 || golib_patch_find(&patch_os_kill, posix) < 0 ||
                 golib_patch_find(&patch_killpg, posix) < 0 || golib_patch_find(&patch_mask, signals) < 0;
    Py_XDECREF(posix);
    Py_XDECREF(time);
    Py_XDECREF(signals);
    return failed ? -1 : 0;
}

void golib_kills_apply(void)
{
    golib_patch_apply(&patch_kill);
    golib_patch_apply(&patch_clock);
    golib_patch_apply(&patch_os_kill);
    golib_patch_apply(&patch_killpg);
    golib_patch_apply(&patch_mask);
}
