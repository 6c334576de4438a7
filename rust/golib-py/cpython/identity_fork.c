/* Forks: the goroutine that forked is the child's main thread for threading, too.
 *
 * A child that a thread forked ends as its main thread does: threading waits for the other threads first, if it finds
 * its own main thread alive. For a goroutine it finds a dummy there, or the parent's main thread.
 *
 * golib's hooks in the child run directly after threading's, so that hooks that the program registered earlier find golib
 * usable.
 */
#include "patch.h"

static PyObject *threading_module(void)
{
    PyObject *modules = PyImport_GetModuleDict();   /* borrowed */
    return modules ? PyDict_GetItemString(modules, "threading") : NULL;
}

/* Before a fork: gives the goroutine its entry in threading's table. In the child threading looks itself up there;
 * from 3.13 on, what it makes when it finds nothing must have the OS thread's ident (an assertion says so on stderr).
 */
static PyObject *before_fork(PyObject *self, PyObject *unused)
{
    PyObject *threading = threading_module();
    (void)self;
    (void)unused;
    if (threading && golib_ident_is_goroutine(golib_ts_current()->thread_id)) {
        PyObject *thread = PyObject_CallMethod(threading, "current_thread", NULL);
        Py_XDECREF(thread);
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

/* In a child that a thread other than the main one has forked, the main thread's state is gone. On 3.11 and 3.12 its memory,
 * which lies in the interpreter, still looks used. CPython reuses that memory for the first state made after the last one has
 * gone, and aborts: so it does if the forking thread ends before a goroutine begins. Later versions empty the memory. */
static void empty_initial_state(void)
{
#if PY_VERSION_HEX < 0x030d0000
    PyInterpreterState *interp = PyInterpreterState_Main();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts; ts = ts->next) {
        if (ts == &interp->_initial_thread)
            return;
    }
    interp->_initial_thread = (PyThreadState){
#if PY_VERSION_HEX < 0x030c0000
        ._static = 1,
        .recursion_limit = Py_DEFAULT_RECURSION_LIMIT,
#else
        .py_recursion_limit = Py_DEFAULT_RECURSION_LIMIT,
#endif
        .context_ver = 1,
    };
#endif
}

#if GOLIB_DUMMIES_STAY

/* Makes the dummy a main thread, with the lock that threading releases at the process's end. Later versions of threading do
 * this themselves. */
static int revive(PyObject *threading, PyObject *thread)
{
    PyObject *lock = PyObject_GetAttrString(thread, "_tstate_lock");
    if (!lock)
        return -1;
    int has_lock = lock != Py_None;
    Py_DECREF(lock);
    if (has_lock)
        return 0;
    PyObject *class = PyObject_GetAttrString(threading, "_MainThread");
    PyObject *name = PyUnicode_FromString("MainThread"), *done = NULL;
    if (class && name && PyObject_SetAttrString(thread, "__class__", class) == 0 &&
        PyObject_SetAttrString(thread, "_name", name) == 0 &&
        PyObject_SetAttrString(thread, "_daemonic", Py_False) == 0) {
        golib_identity_unmark(golib_ts_current());
        done = PyObject_CallMethod(thread, "_set_tstate_lock", NULL);
    }
    Py_XDECREF(done);
    Py_XDECREF(name);
    Py_XDECREF(class);
    return done ? 0 : -1;
}

#else

/* CPython has marked as done the handle of every thread whose ident is not the OS thread's. */
static int revive(PyObject *threading, PyObject *thread)
{
    static const char *const attribute = PY_VERSION_HEX < 0x030e0000 ? "_handle" : "_os_thread_handle";
    PyObject *handle = PyObject_CallMethod(threading, "_make_thread_handle", "k", golib_ts_current()->thread_id);
    int failed = !handle || PyObject_SetAttrString(thread, attribute, handle) < 0;
    Py_XDECREF(handle);
    return failed ? -1 : 0;
}

#endif

/* Runs in the child after threading's own hook, which has made the thread that it found the main thread. */
static PyObject *in_child(PyObject *self, PyObject *unused)
{
    PyObject *threading = threading_module();
    (void)self;
    (void)unused;
    empty_initial_state();
    if (!threading || !golib_runtime_table->goroutine || !golib_runtime_table->goroutine())
        Py_RETURN_NONE;
    PyObject *thread = PyObject_GetAttrString(threading, "_main_thread");
    int failed = !thread || revive(threading, thread) < 0;
    Py_XDECREF(thread);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

int golib_fork_hook_child(PyObject *hook)
{
    static Py_ssize_t hooks;
    PyObject *list = PyInterpreterState_Main()->after_forkers_child;    /* borrowed */
    PyObject *threading = threading_module(), *theirs = NULL;
    Py_ssize_t at = 0;
    if (!list) {
        list = PyList_New(0);
        if (!list)
            return -1;
        PyInterpreterState_Main()->after_forkers_child = list;
    }
    theirs = threading ? PyObject_GetAttrString(threading, "_after_fork") : NULL;
    if (!theirs)
        PyErr_Clear();
    for (Py_ssize_t i = 0; theirs && i < PyList_GET_SIZE(list); i++) {
        if (PyList_GET_ITEM(list, i) == theirs)
            at = i + 1;
    }
    Py_XDECREF(theirs);
    if (PyList_Insert(list, at + hooks, hook) < 0)
        return -1;
    hooks++;
    return 0;
}

int golib_forks_watch(void)
{
    static PyMethodDef before = {"before_fork", before_fork, METH_NOARGS, NULL};
    static PyMethodDef child = {"in_child", in_child, METH_NOARGS, NULL};
    empty_initial_state();
    PyObject *os = PyImport_ImportModule("os");
    PyObject *watch = os ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *hook = watch ? PyCFunction_New(&before, NULL) : NULL,
             *second = hook ? PyCFunction_New(&child, NULL) : NULL;
    PyObject *none = PyTuple_New(0), *how = second ? Py_BuildValue("{s:O}", "before", hook) : NULL;
    PyObject *done = none && how ? PyObject_Call(watch, none, how) : NULL;
    int failed = !done || golib_fork_hook_child(second) < 0;
    Py_XDECREF(done);
    Py_XDECREF(how);
    Py_XDECREF(none);
    Py_XDECREF(second);
    Py_XDECREF(hook);
    Py_XDECREF(watch);
    Py_XDECREF(os);
    return failed ? -1 : 0;
}
