/* Tcl's interpreters belong to the OS thread that made them: calls from others are refused or sent to it, and the
 * process is aborted where one is deleted on another ("async handler deleted by the wrong thread").
 *
 * A goroutine that makes an interpreter (tkinter.Tk, tkinter.Tcl) stays on its thread until it ends or deletes the
 * interpreter. An interpreter that is dropped later on another thread (a collector's, or the main thread at exit) cannot be
 * deleted there: it stays in memory, and a warning says so.
 */
#include "patch.h"

/* Maps each application's address to its (goroutine, OS thread). */
static PyObject *owners;
static destructor original_dealloc;

typedef struct {
    unsigned long long goroutine, thread;   /* 0, 0: not a goroutine's */
} owner;

static unsigned long long this_thread(void)
{
    return golib_this_thread();
}

/* Takes the owner out of the table. No exception is set, and none is left. */
static owner take_owner(PyObject *app)
{
    owner found = {0, 0};
    PyObject *key = owners && PyDict_GET_SIZE(owners) > 0 ? PyLong_FromVoidPtr(app) : NULL;
    PyObject *pair = key ? PyDict_GetItemWithError(owners, key) : NULL;
    if (pair) {
        found.goroutine = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(pair, 0));
        found.thread = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(pair, 1));
        PyDict_DelItem(owners, key);
    }
    Py_XDECREF(key);
    PyErr_Clear();
    return found;
}

static int is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

static void dealloc(PyObject *app)
{
    PyObject *type, *value, *traceback;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        original_dealloc(app);
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    owner o = take_owner(app);
    if (!o.goroutine || o.thread == this_thread()) {
        original_dealloc(app);
        if (o.goroutine && o.goroutine == golib_current_goroutine())
            golib_pin(-1);
    }
    else if (!is_finalizing() &&
             PyErr_WarnFormat(
                 PyExc_RuntimeWarning, 1,
                 "the Tcl interpreter that goroutine %llu made was dropped on another thread, where it cannot "
                 "be deleted: it stays in memory; drop it in the goroutine that made it",
                 o.goroutine) < 0)
        PyErr_WriteUnraisable(NULL);
    PyErr_Restore(type, value, traceback);
}

/* Locks the goroutine to its thread. A call that fails leaves the goroutine locked until it ends. */
static PyObject *made(PyObject *app)
{
    unsigned long long goroutine = app ? golib_current_goroutine() : 0;
    if (!goroutine)
        return app;
    golib_pin(1);
    PyTypeObject *type = Py_TYPE(app);
    if (type->tp_dealloc != dealloc) {
        original_dealloc = type->tp_dealloc;
        type->tp_dealloc = dealloc;
    }
    PyObject *key = NULL, *pair = NULL;
    if (owners || (owners = PyDict_New())) {
        key = PyLong_FromVoidPtr(app);
        pair = Py_BuildValue("(KK)", goroutine, this_thread());
    }
    if (key && pair)
        PyDict_SetItem(owners, key, pair);
    Py_XDECREF(pair);
    Py_XDECREF(key);
    PyErr_Clear();
    return app;
}

GOLIB_WRAP(patch_create, "create", 0, golib_nothing_before, made);

void golib_tkinter_ready(PyObject *module)
{
    if (golib_patch_find(&patch_create, module) == 0)
        golib_patch_apply(&patch_create);
}
