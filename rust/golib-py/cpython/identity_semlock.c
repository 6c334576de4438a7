/* The locks of multiprocessing: _multiprocessing.SemLock, which compares its owner with the OS thread.
 *
 * | kind | asks for the owner | so |
 * |---|---|---|
 * | recursive (RLock, and the lock of Value, Array, Condition) | acquire and release | it is counted like threading.RLock (identity_locks.c): a goroutine that parks while it holds one keeps its M, and the owner stays right |
 * | plain (Lock, Semaphore) | _is_mine() alone, for Condition and repr | another goroutine may release it, so it cannot keep the M: the goroutine that took it last is remembered |
 *
 * The goroutine that took a recursive one is remembered too. A lock that the main thread took before run() may be
 * released by the main goroutine, which has the main thread's ident for this module (identity_modules.c); such a lock
 * was not counted.
 */
#include "patch.h"

#include <stddef.h>
#include <structmember.h>

/* Of one that a goroutine took last: its address -> the goroutine's number. It stays when the lock is given back. */
static PyObject *takers;
/* Where an instance has its kind, and what the kind of a recursive one is. 0: not known yet. */
static Py_ssize_t kind_offset;
enum { RECURSIVE = 0 };
static destructor original_dealloc;

static int is_recursive(PyObject *self)
{
    return *(const int *)((const char *)self + kind_offset) == RECURSIVE;
}

/* Notes who took it, or that no goroutine did (0). An exception that is set stays. */
static void set_taker(PyObject *self, unsigned long long goroutine)
{
    if (!goroutine && (!takers || PyDict_GET_SIZE(takers) == 0))
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *key = PyLong_FromVoidPtr(self), *taker = NULL;
    if (goroutine && (takers || (takers = PyDict_New())))
        taker = PyLong_FromUnsignedLongLong(goroutine);
    if (key && taker)
        PyDict_SetItem(takers, key, taker);
    else if (key && takers && PyDict_Contains(takers, key) == 1)
        PyDict_DelItem(takers, key);
    Py_XDECREF(taker);
    Py_XDECREF(key);
    PyErr_Restore(type, value, traceback);
}

/* The goroutine that took it last; 0 if that was an ordinary thread. No exception is set. */
static unsigned long long taker_of(PyObject *self)
{
    if (!takers || PyDict_GET_SIZE(takers) == 0)
        return 0;
    PyObject *key = PyLong_FromVoidPtr(self);
    PyObject *taker = key ? PyDict_GetItemWithError(takers, key) : NULL;
    unsigned long long goroutine = taker ? PyLong_AsUnsignedLongLong(taker) : 0;
    Py_XDECREF(key);
    PyErr_Clear();
    return goroutine;
}

static int in_main_interpreter(void)
{
    return PyInterpreterState_Get() == PyInterpreterState_Main();
}

/* How often it is taken. No exception is set, and none is left. */
static long count_of(PyObject *self)
{
    PyObject *count = PyObject_CallMethod(self, "_count", NULL);
    long n = count ? PyLong_AsLong(count) : 0;
    Py_XDECREF(count);
    PyErr_Clear();
    return n;
}

/* ---- the methods ---- */

static void taken(PyObject *self)
{
    unsigned long long goroutine = golib_current_goroutine();
    if (!is_recursive(self) || !goroutine) {
        set_taker(self, goroutine);
        return;
    }
    if (taker_of(self) != goroutine) {
        if (count_of(self) != 1)
            return;     /* again, after the main thread */
        set_taker(self, goroutine);
    }
    golib_pin(1);
}

static PyObject *taken_if_true(PyObject *self, PyObject *result)
{
    if (result == Py_True && in_main_interpreter())
        taken(self);
    return result;
}

/* Is it counted for the running goroutine? */
static int is_counted(PyObject *self)
{
    unsigned long long goroutine = is_recursive(self) ? golib_current_goroutine() : 0;
    return goroutine && taker_of(self) == goroutine;
}

static PyObject *given_back(PyObject *self, PyObject *result)
{
    if (result && is_counted(self))
        golib_pin(-1);
    return result;
}

/* In a forked child it has no owner any more. */
static void forget_hold(PyObject *self)
{
    if (!is_counted(self))
        return;
    PyObject *mine = PyObject_CallMethod(self, "_is_mine", NULL);
    PyErr_Clear();
    if (mine == Py_True)
        golib_pin((int)-count_of(self));
    Py_XDECREF(mine);
}

static PyObject *as_it_is(PyObject *self, PyObject *result)
{
    (void)self;
    return result;
}

GOLIB_WRAP_SELF(patch_acquire, "acquire", 0, golib_nothing_before, taken_if_true);
GOLIB_WRAP_SELF(patch_enter, "__enter__", 0, golib_nothing_before, taken_if_true);
GOLIB_WRAP_SELF(patch_release, "release", 0, golib_nothing_before, given_back);
GOLIB_WRAP_SELF(patch_exit, "__exit__", 0, golib_nothing_before, given_back);
GOLIB_WRAP_SELF(patch_after_fork, "_after_fork", 0, forget_hold, as_it_is);

/* For a plain lock: is the caller the goroutine that took it, and is it still taken? */
static PyObject *is_mine(PyObject *self, PyObject *unused);
static golib_patch patch_is_mine = {.name = "_is_mine", .two = is_mine};

static PyObject *is_mine(PyObject *self, PyObject *unused)
{
    unsigned long long taker = 0;
    if (!is_recursive(self) && in_main_interpreter())
        taker = taker_of(self);
    if (!taker)
        return golib_call_two(&patch_is_mine, self, unused);
    return PyBool_FromLong(count_of(self) > 0 && taker == golib_current_goroutine());
}

static void dealloc(PyObject *self)
{
    if (in_main_interpreter())
        set_taker(self, 0);
    original_dealloc(self);
}

/* ---- installing ---- */

static golib_patch *const patches[] = {&patch_acquire, &patch_enter,      &patch_release,
                                       &patch_exit,    &patch_after_fork, &patch_is_mine};

enum { N_PATCHES = sizeof patches / sizeof *patches };

/* Finds kind_offset by the descriptor of the attribute `kind`. */
static int find_kind(PyTypeObject *class)
{
    PyObject *kind = PyObject_GetAttrString((PyObject *)class, "kind");
    if (kind && Py_IS_TYPE(kind, &PyMemberDescr_Type)) {
        const PyMemberDef *member = ((PyMemberDescrObject *)kind)->d_member;
        if (member->type == T_INT)
            kind_offset = member->offset;
    }
    Py_XDECREF(kind);
    return kind_offset > 0;
}

void golib_semlock_ready(PyObject *module)
{
    PyObject *class = PyObject_GetAttrString(module, "SemLock");
    int known = class && PyType_Check(class) && find_kind((PyTypeObject *)class);
    for (int i = 0; known && i < N_PATCHES; i++)
        known = golib_patch_find(patches[i], class) == 0;
    if (known) {
        PyTypeObject *type = (PyTypeObject *)class;
        for (int i = 0; i < N_PATCHES; i++)
            golib_patch_apply(patches[i]);
        if (type->tp_dealloc != dealloc) {
            original_dealloc = type->tp_dealloc;
            type->tp_dealloc = dealloc;
        }
    }
    Py_XDECREF(class);
    PyErr_Clear();
}
