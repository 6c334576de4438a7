/* Notices imports of modules written in C, most of which are imported after the first go().
 *
 * The importer makes such a module in two steps. _imp.create_dynamic loads its library, whose imports by name can then
 * be replaced (imports.c). Once exec_dynamic or exec_builtin has returned, the module is complete and has not been used
 * yet. Modules that were imported before the first go() are found in the process and in sys.modules.
 */
#include "imports.h"
#include "patch.h"

#include <string.h>

/* ---- their imports ---- */

/* The C API's answer to which thread is running, for libraries that let the same thread in twice: fastrlock, h5py,
 * SemLock. It only ever compares. Called with or without the GIL. */
static unsigned long thread_ident(void)
{
    PyThreadState *ts = golib_runtime_table->state ? golib_runtime_table->state() : NULL;
    return ts ? ts->thread_id : PyThread_get_thread_ident();
}

enum { IDENT, GREENLET, GREENLET_STATIC, N_IMPORTS };

static golib_import imports[N_IMPORTS] = {
    [IDENT] = {"PyThread_get_thread_ident", NULL, (void *)thread_ident, 0, NULL},
    [GREENLET] = {"__cxa_thread_atexit", "_greenlet.", (void *)golib_greenlet_registers, 0, NULL},
    /* The same where the C++ library was linked in. */
    [GREENLET_STATIC] = {"__cxa_thread_atexit_impl", "_greenlet.", (void *)golib_greenlet_registers, 0, NULL},
};

void *golib_greenlet_registrar(void)
{
    return imports[GREENLET].original ? imports[GREENLET].original : imports[GREENLET_STATIC].original;
}

static void replace_imports(void)
{
    golib_imports_replace(imports, N_IMPORTS);
    golib_greenlet_known(imports[GREENLET].replaced + imports[GREENLET_STATIC].replaced);
}

static PyObject *created(PyObject *module)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        replace_imports();  /* not in another one, which may have a GIL of its own */
    return module;
}

GOLIB_WRAP(create_dynamic, "create_dynamic", 0, golib_nothing_before, created);

/* ctypes loads libraries that are not extension modules. */
GOLIB_WRAP(ctypes_dlopen, "dlopen", 1, golib_nothing_before, created);

static void ctypes_ready(PyObject *module)
{
    if (golib_patch_find(&ctypes_dlopen, module) == 0)
        golib_patch_apply(&ctypes_dlopen);
}

/* ---- when they are complete ---- */

/* The functions to call for each module, in the main interpreter. No import fails because of them: an exception that they
 * leave set is dropped. */
static const struct {
    const char *name;
    void (*ready)(PyObject *module);
} watched[] = {
    /* clang-format off */
    {"_ctypes", ctypes_ready},
    {"_multiprocessing", golib_semlock_ready},
    {"_sqlite3", golib_sqlite_ready},
    {"_tkinter", golib_tkinter_ready},
    {"greenlet._greenlet", golib_greenlet_ready},
    /* clang-format on */
};

enum { N_WATCHED = sizeof watched / sizeof *watched };

static void tell_of(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        return;     /* the patched types and the patches' state belong to the main interpreter */
    const char *name = PyModule_Check(module) ? PyModule_GetName(module) : NULL;
    for (int i = 0; name && i < N_WATCHED; i++) {
        if (!strcmp(name, watched[i].name))
            watched[i].ready(module);
    }
    PyErr_Clear();
}

static golib_patch exec_dynamic, exec_builtin;

static PyObject *executed(const golib_patch *patch, PyObject *self, PyObject *module)
{
    PyObject *result = golib_call_two(patch, self, module);
    if (result)
        tell_of(module);
    return result;
}

static PyObject *dynamic_two(PyObject *self, PyObject *module)
{
    return executed(&exec_dynamic, self, module);
}

static PyObject *builtin_two(PyObject *self, PyObject *module)
{
    return executed(&exec_builtin, self, module);
}

static golib_patch exec_dynamic = {.name = "exec_dynamic", .two = dynamic_two};
static golib_patch exec_builtin = {.name = "exec_builtin", .two = builtin_two};

int golib_modules_find(void)
{
    PyObject *imp = PyImport_ImportModule("_imp");
    int failed = !imp || golib_patch_find(&create_dynamic, imp) < 0 || golib_patch_find(&exec_dynamic, imp) < 0 ||
                 golib_patch_find(&exec_builtin, imp) < 0;
    Py_XDECREF(imp);
    return failed ? -1 : 0;
}

void golib_modules_apply(void)
{
    replace_imports();
    golib_stack_apply();
    PyObject *modules = PyImport_GetModuleDict();   /* borrowed, as is what is in it */
    for (int i = 0; modules && i < N_WATCHED; i++) {
        PyObject *module = PyDict_GetItemString(modules, watched[i].name);
        if (module)
            tell_of(module);
    }
    golib_patch_apply(&create_dynamic);
    golib_patch_apply(&exec_dynamic);
    golib_patch_apply(&exec_builtin);
}
