/* The outermost call of a goroutine.
 *
 * The movability test (movable.c) relies on its shape: golib_call, CPython's helpers, one eval loop that runs a Python
 * function, entered the same way each time. So a Python function of golib's calls any other kind of callable: with
 * `go(con.execute, q)` sqlite's frames then lie above an eval loop, where the walk sees them.
 *
 * A function of this library, as in `go(wg.done)` or `go(ch.send, x)`, needs no eval loop below it. Nothing foreign lies
 * between it and golib_call, and an eval loop's other duties are checked for below. Patched builtins (patch.h) are
 * functions of this library too: whatever they call has a frame of this library below it, which pins.
 */
#include "hooks.h"
#include "internal.h"
#include "movable.h"

/* The Python functions that call any other callable: without arguments, with positional ones, with any. Tracebacks,
 * dumps and profilers show these functions, so each callable gets copies under its own name, as long as the table has
 * room. */
enum { BARE, ARGS, ANY, SHAPES, NAME_BYTES = 32, NAMES = 128, PROBES = 4 };
typedef struct {
    char name[NAME_BYTES];
    PyObject *functions[SHAPES];    /* made when first needed */
} callers;
static callers anonymous, named[NAMES];

/* The file name in these functions' code objects. */
#define GOLIB_CALLER_FILE "<goroutine>"

/* This library's code. */
static golib_range own_texts[2];
static int n_own_texts;

/* Is it a function of this library? */
static int is_own(PyObject *fn)
{
    if (!PyCFunction_CheckExact(fn))
        return 0;
    const uint8_t *code = (const uint8_t *)PyCFunction_GET_FUNCTION(fn);
    for (int i = 0; i < n_own_texts; i++) {
        if (code >= own_texts[i].begin && code < own_texts[i].end)
            return 1;
    }
    return 0;
}

/* Can it be called without such a function? Not in run()'s main goroutine, where exceptions of signal handlers may have
 * to be picked up afterwards, nor if the eval loop has something to do: GIL requests, exceptions from outside,
 * collections. */
static int needs_no_loop(PyThreadState *ts, PyObject *fn)
{
    return is_own(fn) && !golib_eval_is_wanted(ts) && golib_ident_is_goroutine(ts->thread_id);
}

int golib_call_init(void)
{
    enum { MOST_TEXTS = sizeof own_texts / sizeof *own_texts };
    static const char source[] = "def bare(fn):\n    return fn()\n"
                                 "def args(fn, args):\n    return fn(*args)\n"
                                 "def any(fn, args, kwargs):\n    return fn(*args, **kwargs)\n";
    static const char *const names[SHAPES] = {"bare", "args", "any"};
    if (anonymous.functions[ANY])
        return 0;
    n_own_texts = golib_text_of((const void *)&golib_call, own_texts, MOST_TEXTS);
    PyObject *code = Py_CompileString(source, GOLIB_CALLER_FILE, Py_file_input);
    PyObject *globals = code ? PyDict_New() : NULL;
    PyObject *done = NULL;
    if (globals && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyEval_EvalCode(code, globals, globals);
    for (int shape = 0; done && shape < SHAPES; shape++)
        anonymous.functions[shape] = Py_XNewRef(PyDict_GetItemString(globals, names[shape]));
    Py_XDECREF(done);
    Py_XDECREF(globals);
    Py_XDECREF(code);
    if (!anonymous.functions[ANY] && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError, "golib: cannot make its calling functions");
    return anonymous.functions[ANY] ? 0 : -1;
}

/* The name of a builtin or a class without its module; for any other `fn` the name of its class. */
static const char *short_name(PyObject *fn)
{
    const char *name = PyCFunction_Check(fn) ? ((PyCFunctionObject *)fn)->m_ml->ml_name
                       : PyType_Check(fn)    ? ((PyTypeObject *)fn)->tp_name
                                             : Py_TYPE(fn)->tp_name;
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* A copy of an anonymous function under `name`; NULL without an exception if the anonymous one must be used. */
static PyObject *rename_caller(PyObject *function, const char *name)
{
    PyObject *replace = PyObject_GetAttrString(PyFunction_GET_CODE(function), "replace");
    PyObject *none = PyTuple_New(0), *kw = Py_BuildValue("{s:s,s:s}", "co_name", name, "co_qualname", name);
    PyObject *code = replace && none && kw ? PyObject_Call(replace, none, kw) : NULL;
    PyObject *renamed = code ? PyFunction_New(code, PyFunction_GET_GLOBALS(function)) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(kw);
    Py_XDECREF(none);
    Py_XDECREF(replace);
    if (!renamed)
        PyErr_Clear();
    return renamed;
}

/* The function that calls `fn`; borrowed, and never freed. */
static PyObject *caller_of(PyObject *fn, int shape)
{
    const char *name = short_name(fn);
    size_t n = strlen(name);
    unsigned hash = 0;
    if (n >= NAME_BYTES)
        return anonymous.functions[shape];
    for (size_t i = 0; i < n; i++)
        hash = hash * 31 + (unsigned char)name[i];
    for (unsigned probe = 0; probe < PROBES; probe++) {
        callers *c = &named[(hash + probe) % NAMES];
        if (!c->name[0])
            memcpy(c->name, name, n + 1);
        else if (strcmp(c->name, name) != 0)
            continue;
        if (GOLIB_UNLIKELY(!c->functions[shape])) {
            /* Making the copy may run an audit hook, which may come here itself. */
            PyObject *made = rename_caller(anonymous.functions[shape], name);
            if (c->functions[shape])
                Py_XDECREF(made);
            else
                c->functions[shape] = made;
        }
        return c->functions[shape] ? c->functions[shape] : anonymous.functions[shape];
    }
    return anonymous.functions[shape];
}

/* Arguments of a vectorcall, in a buffer of their own if the tuple's items cannot serve. */
typedef struct {
    PyObject **items, *few[8];
    Py_ssize_t n;           /* positional ones */
    PyObject *kwnames;
} arguments;

/* Lays out `first` (may be NULL), then args, then the values of kwargs (may be NULL). All are borrowed, and kwargs does
 * not change meanwhile. 0, or -1 with an exception set. */
static int lay_out(arguments *a, PyObject *first, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t n_args = PyTuple_GET_SIZE(args), n_kw = kwargs ? PyDict_GET_SIZE(kwargs) : 0, at = 0, pos = 0, name = 0;
    PyObject *key, *value;
    a->items = a->few;
    a->kwnames = NULL;
    if (!first && !n_kw) {
        a->items = &PyTuple_GET_ITEM(args, 0);
        a->n = n_args;
        return 0;
    }
    if (1 + n_args + n_kw > (Py_ssize_t)(sizeof a->few / sizeof *a->few)) {
        a->items = PyMem_Malloc((size_t)(1 + n_args + n_kw) * sizeof *a->items);
        if (!a->items) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (first)
        a->items[at++] = first;
    for (Py_ssize_t i = 0; i < n_args; i++)
        a->items[at++] = PyTuple_GET_ITEM(args, i);
    a->n = at;
    if (!n_kw)
        return 0;
    if (!(a->kwnames = PyTuple_New(n_kw))) {
        if (a->items != a->few)
            PyMem_Free(a->items);
        return -1;
    }
    while (PyDict_Next(kwargs, &pos, &key, &value)) {
        a->items[at++] = value;
        PyTuple_SET_ITEM(a->kwnames, name++, Py_NewRef(key));
    }
    return 0;
}

/* There is one call site for every callable: movable.c relies on it. */
__attribute__((noinline)) PyObject *golib_call(PyThreadState *ts, const void *owner, PyObject *fn, PyObject *args,
                                               PyObject *kwargs)
{
    PyObject *others[] = {fn, args, kwargs}, *own = NULL, *result;
    arguments a = {.items = others, .n = 3};
    int hooked = golib_hooks_wanted(ts);
    if (GOLIB_UNLIKELY(hooked))
        golib_hooks_begin(ts, owner, !is_own(fn));
    if (PyFunction_Check(fn)) {
        own = args;
        if (lay_out(&a, NULL, args, kwargs) < 0)
            return NULL;
    }
    else if (PyMethod_Check(fn) && PyFunction_Check(PyMethod_GET_FUNCTION(fn))) {
        own = args;
        if (lay_out(&a, PyMethod_GET_SELF(fn), args, kwargs) < 0)
            return NULL;
        fn = PyMethod_GET_FUNCTION(fn);
    }
    else if (kwargs)
        fn = caller_of(fn, ANY);
    else if (needs_no_loop(ts, fn)) {
        a.items = &PyTuple_GET_ITEM(args, 0);
        a.n = PyTuple_GET_SIZE(args);
    }
    else {
        a.n = PyTuple_GET_SIZE(args) ? 2 : 1;
        fn = caller_of(fn, a.n == 2 ? ARGS : BARE);
    }
    result = PyObject_Vectorcall(fn, a.items, (size_t)a.n, a.kwnames);
    if (GOLIB_UNLIKELY(hooked || golib_hooks_has(ts)))
        golib_hooks_end(ts, owner);
    if (own) {
        Py_XDECREF(a.kwnames);
        if (a.items != a.few && a.items != &PyTuple_GET_ITEM(args, 0))
            PyMem_Free(a.items);
    }
    return result;
}
