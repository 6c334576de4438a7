/* threading.Condition and threading.Event, for golib.patch("lock"): the operations that need no wait. queue.Queue, Semaphore and
 * Barrier are made of these.
 *
 * The standard library has Python functions that call each other and the lock. Here each is one step under the GIL. So an event's
 * lock need not be taken while it is free: no other thread could tell. While the lock is held, and for an object that is not
 * exactly of the standard library's types with a plain lock, the functions of golib._patched_threading do the whole operation.
 *
 * # Invariants
 * 1. From the look at the lock to the last change nothing gives the GIL up and no Python code runs: the types are exact, so
 *    an attribute is a value in a dict, and a waiter is a lock of CPython's or a Mutex of golib's.
 */
#include "patch_line.h"

/* The objects that golib._patched_threading has passed. */
static struct {
    PyObject *condition, *event, *mutex; /* types */
    PyObject *notify, *set, *clear; /* the functions that do the whole operation */
} known;

enum { LOCK, WAITERS, FLAG, COND, ENTER, EXIT, APPEND, POPLEFT, RELEASE, TRY_LOCK, N_NAMES };
static PyObject *names[N_NAMES];

static int make_names(void)
{
    static const char *const texts[N_NAMES] = {"_lock",    "_waiters", "_flag",   "_cond",   "__enter__",
                                               "__exit__", "append",   "popleft", "release", "try_lock"};
    for (int i = 0; i < N_NAMES; i++) {
        if (!names[i] && !(names[i] = PyUnicode_InternFromString(texts[i])))
            return -1;
    }
    return 0;
}

/* ---- Condition ---- */

GOLIB_ENTRY_NOARGS(golib_entry_condition_enter, golib_condition_enter)

PyObject *golib_condition_enter(PyObject *self, PyObject *unused, const golib_caller *record)
{
    (void)unused;
    PyObject *lock = PyObject_GetAttr(self, names[LOCK]), *result = NULL;
    if (lock && !golib_lock_enter(lock, record, &result))
        result = PyObject_CallMethodNoArgs(lock, names[ENTER]);
    Py_XDECREF(lock);
    return result;
}

static PyObject *condition_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *lock = PyObject_GetAttr(self, names[LOCK]), *result = NULL;
    if (lock && !golib_lock_exit(lock, &result)) {
        PyObject *exit = PyObject_GetAttr(lock, names[EXIT]);
        result = exit ? PyObject_Vectorcall(exit, args, (size_t)n, NULL) : NULL;
        Py_XDECREF(exit);
    }
    Py_XDECREF(lock);
    return result;
}

/* The lock of a condition (a new reference) if it is in that state; NULL without an exception if it is not, or if it is not of
 * the usual kind. */
static PyObject *lock_of(PyObject *condition, int state)
{
    if ((PyObject *)Py_TYPE(condition) != known.condition)
        return NULL;
    PyObject *lock = PyObject_GetAttr(condition, names[LOCK]);
    if (!lock)
        PyErr_Clear();
    else if (golib_lock_state(lock) == state)
        return lock;
    Py_XDECREF(lock);
    return NULL;
}

/* Notifies the first `n` waiters, by 1. 0, or -1 with an exception set. */
static int notify(PyObject *condition, Py_ssize_t n)
{
    PyObject *waiters = PyObject_GetAttr(condition, names[WAITERS]), *waiter, *released;
    Py_ssize_t left = waiters ? PyObject_Size(waiters) : -1;
    while (left > 0 && n > 0) {
        if (!(waiter = PyObject_CallMethodNoArgs(waiters, names[POPLEFT]))) {
            left = -1;
            break;
        }
        left--;
        if (!golib_lock_exit(waiter, &released))
            released = PyObject_CallMethodNoArgs(waiter, names[RELEASE]);
        Py_DECREF(waiter);
        if (released)
            n--;
        else if (PyErr_ExceptionMatches(PyExc_RuntimeError))
            PyErr_Clear(); /* it had been notified already */
        else
            left = -1;
        Py_XDECREF(released);
    }
    Py_XDECREF(waiters);
    return left < 0 ? -1 : 0;
}

/* Lets a function of golib._patched_threading do the whole operation. */
static PyObject *in_python(PyObject *function, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    enum { MOST = 4 };
    PyObject *all[1 + MOST] = {self};
    Py_ssize_t count = n + (keywords ? PyTuple_GET_SIZE(keywords) : 0);
    if (count > MOST)
        return PyErr_Format(PyExc_TypeError, "%zd arguments are too many", count);
    for (Py_ssize_t i = 0; i < count; i++)
        all[1 + i] = args[i];
    return PyObject_Vectorcall(function, all, (size_t)(1 + n), keywords);
}

static PyObject *condition_notify(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    int few = n == 0 ? 1 : n == 1 ? golib_small_int(args[0]) : -1;
    PyObject *lock = few < 0 || keywords ? NULL : lock_of(self, 1);
    if (!lock)
        return in_python(known.notify, self, args, n, keywords);
    Py_DECREF(lock);
    if (notify(self, few) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Adds a new waiter to a condition's line, by 1. */
static PyObject *new_waiter(PyObject *condition)
{
    PyObject *waiters = PyObject_GetAttr(condition, names[WAITERS]);
    PyObject *waiter = waiters ? PyObject_CallNoArgs(known.mutex) : NULL;
    PyObject *locked = waiter ? PyObject_CallMethodNoArgs(waiter, names[TRY_LOCK]) : NULL;
    PyObject *added = locked ? PyObject_CallMethodOneArg(waiters, names[APPEND], waiter) : NULL;
    if (!added)
        Py_CLEAR(waiter);
    Py_XDECREF(added);
    Py_XDECREF(locked);
    Py_XDECREF(waiters);
    return waiter;
}

/* _golib._wait_begins(condition): gives up the lock and adds a waiter to the line. None if the caller must do so itself. */
PyObject *golib_wait_begins(PyObject *module, PyObject *condition)
{
    (void)module;
    PyObject *lock = golib_on_goroutine() ? lock_of(condition, 1) : NULL, *given = NULL;
    if (!lock)
        Py_RETURN_NONE;
    PyObject *waiter = new_waiter(condition);
    if (waiter && (!golib_lock_exit(lock, &given) || !given))
        Py_CLEAR(waiter);
    Py_XDECREF(given);
    Py_DECREF(lock);
    return waiter;
}

/* ---- Event ---- */

/* An event's condition (a new reference) if its lock is free; else NULL without an exception. */
static PyObject *condition_of(PyObject *event)
{
    if ((PyObject *)Py_TYPE(event) != known.event)
        return NULL;
    PyObject *condition = PyObject_GetAttr(event, names[COND]);
    PyObject *lock = condition ? lock_of(condition, 0) : NULL;
    if (!condition)
        PyErr_Clear();
    if (!lock)
        Py_CLEAR(condition);
    Py_XDECREF(lock);
    return condition;
}

/* _golib._event_wait_begins(event): True if it is set, else a waiter in its line. None if the caller must do so itself. */
PyObject *golib_event_wait_begins(PyObject *module, PyObject *event)
{
    (void)module;
    PyObject *condition = condition_of(event), *result = NULL;
    PyObject *flag = condition ? PyObject_GetAttr(event, names[FLAG]) : NULL;
    if (flag == Py_True)
        result = Py_NewRef(flag);
    else if (flag == Py_False && golib_on_goroutine())
        result = new_waiter(condition);
    else {
        PyErr_Clear();
        result = Py_NewRef(Py_None);
    }
    Py_XDECREF(flag);
    Py_XDECREF(condition);
    return result;
}

static PyObject *event_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *condition = condition_of(self);
    if (!condition)
        return PyObject_CallOneArg(known.set, self);
    int failed = PyObject_SetAttr(self, names[FLAG], Py_True) < 0 || notify(condition, PY_SSIZE_T_MAX) < 0;
    Py_DECREF(condition);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *event_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *condition = condition_of(self);
    if (!condition)
        return PyObject_CallOneArg(known.clear, self);
    int failed = PyObject_SetAttr(self, names[FLAG], Py_False) < 0;
    Py_DECREF(condition);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* ---- the methods ---- */

#define CALL(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef condition_methods[] = {
    {"__enter__", golib_entry_condition_enter, METH_NOARGS, NULL},
    {"__exit__", CALL(condition_exit), METH_FASTCALL, NULL},
    {"notify", CALL(condition_notify), METH_FASTCALL | METH_KEYWORDS,
     "notify($self, n=1)\n--\n\nWakes at most n of those who wait for this condition, whose lock the caller holds."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef event_methods[] = {
    {"set", event_set, METH_NOARGS, "set($self)\n--\n\nSets the flag and wakes all who wait for it."},
    {"clear", event_clear, METH_NOARGS, "clear($self)\n--\n\nClears the flag: later calls of wait() wait for set()."},
    {NULL, NULL, 0, NULL},
};

/* Adds {(type, name): method}. 0, or -1 with an exception set. */
static int add_methods(PyObject *methods, PyObject *type, PyMethodDef *defs)
{
    for (; defs->ml_name; defs++) {
        PyObject *key = Py_BuildValue("(Os)", type, defs->ml_name);
        PyObject *method = key ? PyDescr_NewMethod((PyTypeObject *)type, defs) : NULL;
        int failed = !method || PyDict_SetItem(methods, key, method) < 0;
        Py_XDECREF(method);
        Py_XDECREF(key);
        if (failed)
            return -1;
    }
    return 0;
}

/* _golib._condition_methods(Condition, Event, Mutex, notify, set, clear): {(type, name): method}. */
PyObject *golib_condition_methods(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    (void)module;
    if (n != 6 || !PyType_Check(args[0]) || !PyType_Check(args[1]) || make_names() < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "two types and four callables are expected");
    PyObject **kept[] = {&known.condition, &known.event, &known.mutex, &known.notify, &known.set, &known.clear};
    for (int i = 0; i < 6; i++)
        Py_XSETREF(*kept[i], Py_NewRef(args[i]));
    PyObject *methods = PyDict_New();
    if (methods &&
        (add_methods(methods, args[0], condition_methods) < 0 || add_methods(methods, args[1], event_methods) < 0))
        Py_CLEAR(methods);
    return methods;
}
