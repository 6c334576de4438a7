/* State that CPython keys by OS thread, made to follow the goroutine.
 *
 * A goroutine's thread state has an ident of its own. _thread.get_ident() returns it instead of the OS thread's, and
 * with it threading, importlib's module locks and Python's own RLock follow the goroutine. The other files
 * identity_*.c do the same for state that C code keys by OS thread; identity_modules.c notices imports of modules,
 * identity_fork.c has the hooks for forked children.
 *
 * # Invariants
 * 1. Nothing is patched before the first go(); then all or nothing.
 * 2. On an ordinary thread every patched builtin does what it did before.
 * 3. A goroutine's ident never reaches the C library, which would take it for the address of a thread.
 */
#include "hooks.h"
#include "patch.h"

#include <string.h>

static const golib_runtime nobody;
const golib_runtime *golib_runtime_table = &nobody;

void golib_set_runtime(const golib_runtime *runtime)
{
    golib_runtime_table = runtime ? runtime : &nobody;
}

/* ---- patching ---- */

/* Raises the error for `found`, which stands where the builtin `name` should be: gevent and eventlet put functions of their
 * own there. */
static void complain(const char *name, PyObject *found)
{
    PyObject *module = PyObject_GetAttrString(found, "__module__");
    const char *text = module && PyUnicode_Check(module) ? PyUnicode_AsUTF8(module) : NULL;
    const char *who = !text                           ? NULL
                      : !strncmp(text, "gevent", 6)   ? "gevent"
                      : !strncmp(text, "eventlet", 8) ? "eventlet"
                                                      : NULL;
    PyErr_Clear();
    if (who)
        PyErr_Format(
            PyExc_RuntimeError,
            "golib: %s has monkey-patched the standard library (%s is not the builtin that it was, but %s.%s), and "
            "goroutines need it as it is. Leave the monkey-patching out: in a goroutine a call that blocks lets the "
            "others run without it. %s itself, unpatched, works in goroutines",
            who, name, text, name, who);
    else
        PyErr_Format(PyExc_RuntimeError,
                     "golib: %s is not the builtin that it was: %R; something in this program has "
                     "monkey-patched the standard library, which goroutines need as it is",
                     name, found);
    Py_XDECREF(module);
}

static PyMethodDef *def_of(PyObject *holder, const char *name)
{
    PyMethodDef *def = NULL;
    PyObject *builtin = PyObject_GetAttrString(holder, name);
    if (!builtin)
        return NULL;
    if (PyCFunction_Check(builtin))
        def = ((PyCFunctionObject *)builtin)->m_ml;
    else if (Py_IS_TYPE(builtin, &PyMethodDescr_Type))
        def = ((PyMethodDescrObject *)builtin)->d_method;
    if (!def)
        complain(name, builtin);
    Py_DECREF(builtin);
    return def;
}

int golib_patch_find(golib_patch *patch, PyObject *holder)
{
    enum { WAYS = METH_VARARGS | METH_KEYWORDS | METH_NOARGS | METH_O | METH_FASTCALL | METH_METHOD };
    if (patch->def)
        return 0;
    PyMethodDef *def = def_of(holder, patch->name);
    if (!def) {
        if (patch->optional && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            return 0;
        }
        return -1;
    }
    int way = def->ml_flags & WAYS, known = 0;
    switch (way) {
    case METH_NOARGS:
    case METH_O:
    case METH_VARARGS: known = patch->two != NULL; break;
    case METH_VARARGS | METH_KEYWORDS: known = patch->three != NULL; break;
    case METH_FASTCALL: known = patch->fast != NULL; break;
    case METH_FASTCALL | METH_KEYWORDS: known = patch->fast_kw != NULL; break;
    case METH_FASTCALL | METH_KEYWORDS | METH_METHOD: known = patch->method != NULL; break;
    default: break;
    }
    if (!known) {
        PyErr_Format(PyExc_RuntimeError, "golib: this CPython's %s takes its arguments in an unknown way (flags 0x%x)",
                     patch->name, (unsigned)def->ml_flags);
        return -1;
    }
    patch->original = def->ml_meth;
    patch->flags = way;
    patch->def = def;
    return 0;
}

static golib_patch *applied;

void golib_patches_take_back(void)
{
    for (golib_patch *patch = applied; patch; patch = patch->next)
        patch->def->ml_meth = patch->original;
    applied = NULL;
}

/* One store, because another interpreter's threads may read it meanwhile. */
static void set_function(golib_patch *patch, PyCFunction function)
{
    __atomic_store_n(&patch->def->ml_meth, function, __ATOMIC_RELAXED);
}

void golib_patch_swap(golib_patch *patch)
{
    switch (patch->flags) {
    case METH_VARARGS | METH_KEYWORDS: set_function(patch, (PyCFunction)(void (*)(void))patch->three); break;
    case METH_FASTCALL: set_function(patch, (PyCFunction)(void (*)(void))patch->fast); break;
    case METH_FASTCALL | METH_KEYWORDS: set_function(patch, (PyCFunction)(void (*)(void))patch->fast_kw); break;
    case METH_FASTCALL | METH_KEYWORDS | METH_METHOD:
        set_function(patch, (PyCFunction)(void (*)(void))patch->method);
        break;
    default: set_function(patch, patch->two); break;
    }
}

void golib_patch_swap_back(golib_patch *patch)
{
    set_function(patch, patch->original);
}

void golib_patch_apply(golib_patch *patch)
{
    if (!patch->def || patch->def->ml_meth != patch->original)
        return;     /* missing, or done */
    patch->next = applied;
    applied = patch;
    golib_patch_swap(patch);
}

/* ---- get_ident ---- */

#if GOLIB_DUMMIES_STAY
/* Marks a state whose ident was asked for, in a field that CPython uses only for threads that Python started. */
static char ident_was_seen;
#else
/* Later versions have no such field; they mark the state's dict, which little else uses. */
static PyObject *name_mark;
#endif
/* Made once: CPython's method cache keeps each name that it is asked for by its address, and every goroutine's end asks for
 * these. */
static PyObject *name_threading, *name_active;

static PyObject *get_ident(PyObject *module, PyObject *unused)
{
    PyThreadState *ts = golib_ts_current();
    (void)module;
    (void)unused;
#if GOLIB_DUMMIES_STAY
    if (golib_ident_is_goroutine(ts->thread_id) && !ts->on_delete)
        ts->on_delete_data = &ident_was_seen;
#endif
    return PyLong_FromUnsignedLong(ts->thread_id);
}

static golib_patch patch_get_ident = {.name = "get_ident", .two = get_ident};

#if GOLIB_DUMMIES_STAY

/* Whether get_ident() has marked the state. */
int golib_identity_mark(PyThreadState *ts)
{
    (void)ts;
    return 0;
}

int golib_identity_unmark(PyThreadState *ts)
{
    if (ts->on_delete_data != &ident_was_seen)
        return 0;
    ts->on_delete_data = NULL;
    return 1;
}

#else

int golib_identity_mark(PyThreadState *ts)
{
    if (!ts->dict && !(ts->dict = PyDict_New()))
        return -1;
    return PyDict_SetItem(ts->dict, name_mark, Py_None);
}

int golib_identity_unmark(PyThreadState *ts)
{
    if (!ts->dict || PyDict_Contains(ts->dict, name_mark) != 1)
        return 0;
    PyDict_DelItem(ts->dict, name_mark);
    return 1;
}

#endif

void golib_identity_forget(PyThreadState *ts)
{
    if (!golib_identity_unmark(ts))
        return;
    PyObject *modules = PyImport_GetModuleDict();   /* borrowed */
    PyObject *threading = modules ? PyDict_GetItemWithError(modules, name_threading) : NULL;
    PyObject *active = threading ? PyObject_GetAttr(threading, name_active) : NULL;
    PyObject *ident = active && PyDict_Check(active) ? PyLong_FromUnsignedLong(ts->thread_id) : NULL;
    if (ident && PyDict_Contains(active, ident) == 1)
        PyDict_DelItem(active, ident);
    Py_XDECREF(ident);
    Py_XDECREF(active);
    PyErr_Clear();
}

/* ---- installing ---- */

int golib_identity_install(void)
{
    static int installed;
    if (GOLIB_LIKELY(installed))
        return 0;
    PyObject *thread = PyImport_ImportModule("_thread");
    int failed = !thread || golib_patch_find(&patch_get_ident, thread) < 0 || golib_locks_find() < 0 ||
                 golib_signals_find() < 0 || golib_modules_find() < 0 || golib_forks_watch() < 0 ||
                 golib_hooks_install() < 0;
    Py_XDECREF(thread);
    if (failed)
        return -1;
    name_threading = PyUnicode_InternFromString("threading");
    name_active = PyUnicode_InternFromString("_active");
    if (!name_threading || !name_active)
        return -1;
#if !GOLIB_DUMMIES_STAY
    name_mark = PyUnicode_InternFromString("golib.thread");
    if (!name_mark)
        return -1;
#endif
    golib_movable_prepare();
    golib_arena_install();
    golib_patch_apply(&patch_get_ident);
    golib_locks_apply();
    golib_signals_apply();
    golib_modules_apply();
    installed = 1;
    return 0;
}
