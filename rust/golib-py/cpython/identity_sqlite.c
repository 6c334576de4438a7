/* sqlite3 refuses to use a connection on an OS thread other than the one that made it. Because a goroutine moves, it gets
 * check_same_thread=False by default. An explicit True keeps the goroutine on its thread until it ends or the connection is
 * closed, or collected in the goroutine itself: nothing else can release its hold.
 *
 * All ways to a connection (connect(), a factory of it, Connection and its subclasses called directly, __init__ called
 * again) lead through Connection's tp_init, which is what is replaced: in the slot, in the descriptor that super()
 * finds, and in the slots of subclasses that exist already.
 */
#include "patch.h"

enum { POSITION = 4 }; /* of check_same_thread among the parameters */
static const char parameter[] = "check_same_thread";

static initproc original_init;
static destructor original_dealloc;
static golib_patch patch_close;

/* ---- connections that hold their goroutine's thread ---- */

/* Maps each connection's address to its goroutine's number, which no later goroutine with the same ident or thread has. */
static PyObject *owners;

/* The connection is closed, made anew, or about to be freed. Keeps the exception that is set. */
static void let_go(PyObject *connection)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main() || !owners || PyDict_GET_SIZE(owners) == 0)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *key = PyLong_FromVoidPtr(connection);
    PyObject *owner = key ? PyDict_GetItemWithError(owners, key) : NULL;
    if (owner) {
        int ours = PyLong_AsUnsignedLongLong(owner) == golib_current_goroutine();
        PyDict_DelItem(owners, key);
        if (ours)
            golib_pin(-1);
    }
    Py_XDECREF(key);
    PyErr_Restore(type, value, traceback);
}

static PyObject *closed(PyObject *self, PyObject *result)
{
    if (result)
        let_go(self);
    return result;
}

GOLIB_WRAP_SELF(patch_close, "close", 0, golib_nothing_before, closed);

static void dealloc(PyObject *self)
{
    let_go(self);
    original_dealloc(self);
}

/* Locks the goroutine to its thread. A call that fails leaves the goroutine locked until it ends. */
static void hold_for(PyObject *connection)
{
    golib_pin(1);
    PyObject *key = NULL, *owner = NULL;
    if (owners || (owners = PyDict_New())) {
        key = PyLong_FromVoidPtr(connection);
        owner = PyLong_FromUnsignedLongLong(golib_current_goroutine());
    }
    if (key && owner)
        PyDict_SetItem(owners, key, owner);
    Py_XDECREF(key);
    Py_XDECREF(owner);
    PyErr_Clear();
}

/* ---- making them ---- */

/* Does the caller ask for the check? 1 or 0; -1 if the argument is absent. */
static int wanted(PyObject *args, PyObject *kw)
{
    PyObject *given = NULL; /* borrowed */
    if (PyTuple_GET_SIZE(args) > POSITION)
        given = PyTuple_GET_ITEM(args, POSITION);
    else if (kw)
        given = PyDict_GetItemString(kw, parameter);
    int truth = given ? PyObject_IsTrue(given) : -1;
    if (given && truth < 0) {
        PyErr_Clear(); /* the original meets it too, and raises it */
        truth = 0;
    }
    return truth;
}

static int init(PyObject *self, PyObject *args, PyObject *kw)
{
    int check = golib_current_goroutine() ? wanted(args, kw) : 0;
    PyObject *all = NULL;
    if (check < 0) {
        all = kw ? PyDict_Copy(kw) : PyDict_New();
        if (!all || PyDict_SetItemString(all, parameter, Py_False) < 0) {
            Py_XDECREF(all);
            return -1;
        }
    }
    int result = original_init(self, args, all ? all : kw);
    Py_XDECREF(all);
    if (result == 0) {
        let_go(self); /* the lock taken by its earlier __init__ */
        if (check > 0)
            hold_for(self);
    }
    return result;
}

/* ---- noticing the module ---- */

static void replace_in_subclasses(PyTypeObject *class)
{
    PyObject *subclasses = PyObject_CallMethod((PyObject *)class, "__subclasses__", NULL);
    for (Py_ssize_t i = 0; subclasses && PyList_Check(subclasses) && i < PyList_GET_SIZE(subclasses); i++) {
        PyTypeObject *subclass = (PyTypeObject *)PyList_GET_ITEM(subclasses, i);
        if (!PyType_Check(subclass) || subclass->tp_init == init)
            continue;
        if (subclass->tp_init == original_init)
            subclass->tp_init = init;
        replace_in_subclasses(subclass);
    }
    Py_XDECREF(subclasses);
    PyErr_Clear();
}

void golib_sqlite_ready(PyObject *module)
{
    PyObject *class = PyObject_GetAttrString(module, "Connection");
    PyObject *method = class && PyType_Check(class) ? PyObject_GetAttrString(class, "__init__") : NULL;
    PyTypeObject *type = (PyTypeObject *)class;
    /* A connection of an unknown kind is left alone and keeps its check. */
    if (method && type->tp_init != init && Py_IS_TYPE(method, &PyWrapperDescr_Type) &&
        ((PyWrapperDescrObject *)method)->d_wrapped == (void *)type->tp_init &&
        golib_patch_find(&patch_close, class) == 0) {
        golib_patch_apply(&patch_close);
        original_init = type->tp_init;
        original_dealloc = type->tp_dealloc;
        type->tp_init = init;
        type->tp_dealloc = dealloc;
        ((PyWrapperDescrObject *)method)->d_wrapped = (void *)init;
        replace_in_subclasses(type);
    }
    Py_XDECREF(method);
    Py_XDECREF(class);
    PyErr_Clear();
}
