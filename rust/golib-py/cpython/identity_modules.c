/* Seeing modules of the standard library and of others come: most are imported after the first go().
 *
 * The importer makes a module written in C in two steps, _imp.create_dynamic (or create_builtin) and exec_dynamic (or
 * exec_builtin). The latter are patched: once they have returned, the module has everything that it will have, and nobody
 * has used it yet. Modules that have been imported before are found in sys.modules.
 */
#include "patch.h"

#include <string.h>

/* Who is told of which module, in the main interpreter. No import fails for our sake: an exception that is left set is
 * dropped. */
static const struct {
    const char *name;
    void (*ready)(PyObject *module);
} watched[] = {
    {"_multiprocessing", golib_semlock_ready},
    {"_sqlite3", golib_sqlite_ready},
};

enum { N_WATCHED = sizeof watched / sizeof *watched };

static void tell(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        return;     /* what is patched in the module's types, and what the patches keep, is the main interpreter's */
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
        tell(module);
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
    int failed = !imp || golib_patch_find(&exec_dynamic, imp) < 0 || golib_patch_find(&exec_builtin, imp) < 0;
    Py_XDECREF(imp);
    return failed ? -1 : 0;
}

void golib_modules_apply(void)
{
    PyObject *modules = PyImport_GetModuleDict();   /* borrowed, as is what is in it */
    for (int i = 0; modules && i < N_WATCHED; i++) {
        PyObject *module = PyDict_GetItemString(modules, watched[i].name);
        if (module)
            tell(module);
    }
    golib_patch_apply(&exec_dynamic);
    golib_patch_apply(&exec_builtin);
}
