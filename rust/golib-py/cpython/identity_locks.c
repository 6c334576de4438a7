/* Locks whose owner is an OS thread: _thread.RLock and the import lock.
 *
 * Their C code compares the owner with the OS thread. A goroutine that parks while it holds one keeps its M to itself,
 * so the owner stays right; counting suffices: +1 for each time it is taken, -1 for each time it is released.
 */
#include "patch.h"

static PyObject *taken_if_true(PyObject *result)
{
    if (result == Py_True)
        golib_pin(1);
    return result;
}

static PyObject *taken(PyObject *result)
{
    if (result)
        golib_pin(1);
    return result;
}

static PyObject *given_back(PyObject *result)
{
    if (result)
        golib_pin(-1);
    return result;
}

/* The count in a state (count, owner) as _release_save returns it; 0 if the object is something else. */
static int count_of(PyObject *state)
{
    if (!state || !PyTuple_Check(state) || PyTuple_GET_SIZE(state) != 2)
        return 0;
    long count = PyLong_AsLong(PyTuple_GET_ITEM(state, 0));
    if (count == -1 && PyErr_Occurred())
        PyErr_Clear();
    return count > 0 && count < INT_MAX ? (int)count : 0;
}

static PyObject *given_back_wholly(PyObject *state)
{
    golib_pin(-count_of(state));
    return state;
}

static PyObject *as_it_is(PyObject *result)
{
    return result;
}

/* A forked child initialises the lock anew, so this thread no longer holds it. */
static void forget_hold(PyObject *self)
{
    PyObject *count = PyObject_CallMethod(self, "_recursion_count", NULL);
    long n = count ? PyLong_AsLong(count) : 0;
    Py_XDECREF(count);
    if (PyErr_Occurred())
        PyErr_Clear();
    else
        golib_pin((int)-n);
}

GOLIB_WRAP(rlock_acquire, "acquire", 0, golib_nothing_before, taken_if_true);
GOLIB_WRAP(rlock_enter, "__enter__", 0, golib_nothing_before, taken);
GOLIB_WRAP(rlock_release, "release", 0, golib_nothing_before, given_back);
GOLIB_WRAP(rlock_exit, "__exit__", 0, golib_nothing_before, given_back);
GOLIB_WRAP(rlock_release_save, "_release_save", 0, golib_nothing_before, given_back_wholly);
GOLIB_WRAP(rlock_reinit, "_at_fork_reinit", 1, forget_hold, as_it_is);
GOLIB_WRAP(import_acquire, "acquire_lock", 0, golib_nothing_before, taken);
GOLIB_WRAP(import_release, "release_lock", 0, golib_nothing_before, given_back);

/* Until 3.12 a Thread makes the lock that tells of its end while its state may have the mark of identity.c, which the
 * original would take for a weak reference. A Thread leaves threading's table by itself. */
static void unmark(PyObject *self)
{
    (void)self;
    PyThreadState *ts = golib_ts_current();
    if (GOLIB_DUMMIES_STAY && golib_ident_is_goroutine(ts->thread_id))
        golib_identity_unmark(ts);
}

GOLIB_WRAP(set_sentinel, "_set_sentinel", 1, unmark, as_it_is);

/* _acquire_restore((count, owner)) would make the OS thread of the save the owner, but the goroutine may have moved. */
static golib_patch rlock_restore;

static PyObject *restore(PyObject *self, PyObject *arg)
{
    int wrapped = rlock_restore.flags == METH_VARARGS;
    PyObject *state = !wrapped ? arg : PyTuple_GET_SIZE(arg) == 1 ? PyTuple_GET_ITEM(arg, 0) : NULL;
    int count = count_of(state);
    if (!count)
        return golib_call_two(&rlock_restore, self, arg);   /* and raises */
    PyObject *here =
        Py_BuildValue(wrapped ? "((Ok))" : "(Ok)", PyTuple_GET_ITEM(state, 0), PyThread_get_thread_ident());
    if (!here)
        return NULL;
    PyObject *result = golib_call_two(&rlock_restore, self, here);
    Py_DECREF(here);
    if (result)
        golib_pin(count);
    return result;
}

static golib_patch rlock_restore = {.name = "_acquire_restore", .two = restore};

static golib_patch *const of_rlock[] = {&rlock_acquire,      &rlock_enter,  &rlock_release, &rlock_exit,
                                        &rlock_release_save, &rlock_reinit, &rlock_restore};
static golib_patch *const of_imp[] = {&import_acquire, &import_release};

enum { N_RLOCK = sizeof of_rlock / sizeof *of_rlock, N_IMP = sizeof of_imp / sizeof *of_imp };

int golib_locks_find(void)
{
    PyObject *thread = PyImport_ImportModule("_thread"), *imp = PyImport_ImportModule("_imp");
    PyObject *rlock = thread ? PyObject_GetAttrString(thread, "RLock") : NULL;
    int failed = !rlock || !imp || golib_patch_find(&set_sentinel, thread) < 0;
    for (int i = 0; !failed && i < N_RLOCK; i++)
        failed = golib_patch_find(of_rlock[i], rlock) < 0;
    for (int i = 0; !failed && i < N_IMP; i++)
        failed = golib_patch_find(of_imp[i], imp) < 0;
    Py_XDECREF(rlock);
    Py_XDECREF(imp);
    Py_XDECREF(thread);
    return failed ? -1 : 0;
}

void golib_locks_apply(void)
{
    for (int i = 0; i < N_RLOCK; i++)
        golib_patch_apply(of_rlock[i]);
    for (int i = 0; i < N_IMP; i++)
        golib_patch_apply(of_imp[i]);
    golib_patch_apply(&set_sentinel);
}
