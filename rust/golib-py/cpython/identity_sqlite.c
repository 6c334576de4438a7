/* sqlite3 refuses a connection on another OS thread than the one that made it. A goroutine moves, so there
 * check_same_thread defaults to False; an explicit True keeps the goroutine on its thread from then on.
 *
 * _sqlite3 is usually imported after the first go(): the importer's create_dynamic and create_builtin are patched to see
 * it come.
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

static PyObject *connect_fast_kw(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    const golib_host *host = golib_host_table;
    if (!host->in_goroutine || !host->in_goroutine())
        return golib_call_fast_kw(&patch_connect, self, args, n, kwnames);
    PyObject *check = given(args, n, kwnames);
    if (!check)
        return connect_anywhere(self, args, n, kwnames);
    PyObject *result = golib_call_fast_kw(&patch_connect, self, args, n, kwnames);
    int wanted = result ? PyObject_IsTrue(check) : 0;
    if (wanted < 0)
        PyErr_Clear();
    if (wanted > 0 && host->hold)
        host->hold(1);  /* until the goroutine ends */
    return result;
}

static golib_patch patch_connect = {.name = "connect", .fast_kw = connect_fast_kw};

/* ---- seeing it come ---- */

static int is_sqlite(PyObject *module)
{
    const char *name = module && PyModule_Check(module) ? PyModule_GetName(module) : NULL;
    if (!name)
        PyErr_Clear();
    return name && !strcmp(name, "_sqlite3");
}

static PyObject *made(PyObject *module)
{
    if (is_sqlite(module)) {
        /* An import must not fail for our sake: a connect() of an unknown kind stays as it is, and checks. */
        if (golib_patch_find(&patch_connect, module) < 0)
            PyErr_Clear();
        golib_patch_apply(&patch_connect);
    }
    return module;
}

static void nothing(PyObject *self)
{
    (void)self;
}

GOLIB_WRAP(patch_dynamic, "create_dynamic", 0, nothing, made);
GOLIB_WRAP(patch_builtin, "create_builtin", 0, nothing, made);

int golib_sqlite_find(void)
{
    PyObject *imp = PyImport_ImportModule("_imp");
    int failed = !imp || golib_patch_find(&patch_dynamic, imp) < 0 || golib_patch_find(&patch_builtin, imp) < 0;
    Py_XDECREF(imp);
    return failed ? -1 : 0;
}

void golib_sqlite_apply(void)
{
    PyObject *modules = PyImport_GetModuleDict();   /* borrowed, as is what is in it */
    made(modules ? PyDict_GetItemString(modules, "_sqlite3") : NULL);
    golib_patch_apply(&patch_dynamic);
    golib_patch_apply(&patch_builtin);
}
