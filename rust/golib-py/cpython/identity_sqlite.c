/* sqlite3 refuses a connection on another OS thread than the one that made it. A goroutine moves, so there
 * check_same_thread defaults to False; an explicit True keeps the goroutine on its thread until it ends or the connection
 * is closed, or collected in the goroutine itself: nobody else can give its hold back.
 */
#include "patch.h"

#include <string.h>

enum { POSITION = 4 };  /* of check_same_thread among connect()'s parameters */
static const char parameter[] = "check_same_thread";

static golib_patch patch_connect;

/* The argument if it is given, borrowed. */
static PyObject *given(PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    if (n > POSITION)
        return args[POSITION];
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), parameter) == 0)
            return args[n + i];
    }
    return NULL;
}

/* connect(..., check_same_thread=False) */
static PyObject *connect_anywhere(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    Py_ssize_t n_kw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *result = NULL, *names = PyTuple_New(n_kw + 1), *name = PyUnicode_FromString(parameter);
    PyObject **all = PyMem_Malloc((size_t)(n + n_kw + 1) * sizeof *all);
    if (names && name && all) {
        for (Py_ssize_t i = 0; i < n_kw; i++)
            PyTuple_SET_ITEM(names, i, Py_NewRef(PyTuple_GET_ITEM(kwnames, i)));
        PyTuple_SET_ITEM(names, n_kw, Py_NewRef(name));
        memcpy(all, args, (size_t)(n + n_kw) * sizeof *all);
        all[n + n_kw] = Py_False;
        result = golib_call_fast_kw(&patch_connect, self, all, n, names);
    }
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
    PyMem_Free(all);
    Py_XDECREF(name);
    Py_XDECREF(names);
    return result;
}

/* ---- connections that hold their goroutine's thread ---- */

/* The address of each, and the goroutine. Its number tells it from one that has its ident, or its thread, after it. */
static PyObject *owners;
static golib_patch patch_close;
static destructor original_dealloc;

static unsigned long long current_goroutine(void)
{
    return golib_host_table->goroutine ? golib_host_table->goroutine() : 0;
}

/* The connection is closed, or about to be freed. Keeps the exception that is set. */
static void let_go(PyObject *connection)
{
    if (!owners || PyDict_GET_SIZE(owners) == 0)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *key = PyLong_FromVoidPtr(connection);
    PyObject *owner = key ? PyDict_GetItemWithError(owners, key) : NULL;
    if (owner) {
        int ours = PyLong_AsUnsignedLongLong(owner) == current_goroutine();
        PyDict_DelItem(owners, key);
        if (ours)
            golib_host_table->hold(-1);
    }
    Py_XDECREF(key);
    PyErr_Restore(type, value, traceback);
}

static PyObject *close_two(PyObject *self, PyObject *unused)
{
    PyObject *result = golib_call_two(&patch_close, self, unused);
    if (result)
        let_go(self);
    return result;
}

static golib_patch patch_close = {.name = "close", .two = close_two};

static void dealloc(PyObject *self)
{
    let_go(self);
    original_dealloc(self);
}

/* Connection, of whose instances the ends are to be seen. The module has it only once it was executed. 0, or -1 with an
 * exception set. */
static int watch_ends(PyObject *module)
{
    if (original_dealloc)
        return 0;
    PyObject *class = PyObject_GetAttrString(module, "Connection");
    if (!class)
        return -1;
    int failed = !PyType_Check(class) || golib_patch_find(&patch_close, class) < 0;
    if (!failed) {
        golib_patch_apply(&patch_close);
        original_dealloc = ((PyTypeObject *)class)->tp_dealloc;
        ((PyTypeObject *)class)->tp_dealloc = dealloc;
    }
    Py_DECREF(class);
    return failed ? -1 : 0;
}

/* Locks the goroutine to its thread. What fails leaves it locked until it ends. */
static void hold_for(PyObject *module, PyObject *connection)
{
    golib_host_table->hold(1);
    PyObject *key = NULL, *owner = NULL;
    if (watch_ends(module) == 0 && (owners || (owners = PyDict_New()))) {
        key = PyLong_FromVoidPtr(connection);
        owner = PyLong_FromUnsignedLongLong(current_goroutine());
    }
    if (key && owner)
        PyDict_SetItem(owners, key, owner);
    Py_XDECREF(key);
    Py_XDECREF(owner);
    PyErr_Clear();
}

/* ---- connect ---- */

static PyObject *connect_fast_kw(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    if (!current_goroutine())
        return golib_call_fast_kw(&patch_connect, self, args, n, kwnames);
    PyObject *check = given(args, n, kwnames);
    if (!check)
        return connect_anywhere(self, args, n, kwnames);
    PyObject *result = golib_call_fast_kw(&patch_connect, self, args, n, kwnames);
    int wanted = result ? PyObject_IsTrue(check) : 0;
    if (wanted < 0)
        PyErr_Clear();
    if (wanted > 0 && golib_host_table->hold)
        hold_for(self, result);
    return result;
}

static golib_patch patch_connect = {.name = "connect", .fast_kw = connect_fast_kw};

/* A connect() of an unknown kind stays as it is, and checks. */
void golib_sqlite_ready(PyObject *module)
{
    if (golib_patch_find(&patch_connect, module) == 0)
        golib_patch_apply(&patch_connect);
}
