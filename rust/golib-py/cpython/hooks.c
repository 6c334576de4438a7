/* Trace and profile functions: goroutines get those of threading.settrace() and setprofile(), as threads do.
 *
 * A new goroutine begins with the functions that threading has for new threads. The main goroutine of a run() instead
 * continues with those of run()'s caller, however they were set (sys.settrace, a profiler in C), and leaves its own to
 * the caller: to a tracer the two look like one thread that called main.
 *
 * # Cost
 * threading keeps its functions in two globals, which need not be looked up again as long as the module's dict does not
 * change. Until 3.11 a dict has a version, later ones tell a watcher. So a start without functions costs a comparison.
 *
 * # Invariants
 * 1. golib_hooks_seen equals *golib_hooks_version only if both globals were None when last looked at and no run()'s
 *    main goroutine has functions to inherit.
 * 2. Everything here is changed with the GIL held.
 */
#include "internal.h"
#include "hooks.h"

static const uint64_t never = 0;
const uint64_t *golib_hooks_version = &never;
uint64_t golib_hooks_seen;

static PyObject *threading_dict, *name_trace, *name_profile;

typedef struct functions {
    Py_tracefunc trace, profile;
    PyObject *trace_arg, *profile_arg;  /* owned, may be NULL */
} functions;

/* The functions that a main goroutine takes from its caller, and later those that it leaves to the caller. */
typedef struct inheritance {
    struct inheritance *next;
    const void *owner;      /* the goroutine's handle, which the caller holds; not dereferenced */
    int ended;              /* it has ended: the functions are those that it had last */
    functions f;
} inheritance;

static inheritance *inheritances;

/* ---- has anything changed? ---- */

#if PY_VERSION_HEX < 0x030c0000

static int watch_threading(void)
{
    golib_hooks_version = &((PyDictObject *)threading_dict)->ma_version_tag;
    return 0;
}

enum { must_look = 0 };

#else

static uint64_t changes = 1;
static int must_look;

static int on_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    (void)event;
    (void)dict;
    (void)key;
    (void)value;
    changes++;
    return 0;
}

static int watch_threading(void)
{
    int watcher = PyDict_AddWatcher(on_change);
    if (watcher < 0 || PyDict_Watch(watcher, threading_dict) < 0) {
        PyErr_Clear();      /* all eight are taken: every start looks */
        must_look = 1;
    }
    golib_hooks_version = &changes;
    return 0;
}

#endif

int golib_hooks_install(void)
{
    if (threading_dict)
        return 0;
    PyObject *threading = PyImport_ImportModule("threading");
    name_trace = PyUnicode_InternFromString("_trace_hook");
    name_profile = PyUnicode_InternFromString("_profile_hook");
    if (threading && name_trace && name_profile)
        threading_dict = Py_NewRef(PyModule_GetDict(threading));
    Py_XDECREF(threading);
    return threading_dict ? watch_threading() : -1;
}

/* ---- functions ---- */

static functions functions_of(PyThreadState *ts)
{
    functions f = {ts->c_tracefunc, ts->c_profilefunc, Py_XNewRef(ts->c_traceobj), Py_XNewRef(ts->c_profileobj)};
    return f;
}

static void release(functions *f)
{
    functions old = *f;
    *f = (functions){0};
    Py_XDECREF(old.trace_arg);
    Py_XDECREF(old.profile_arg);
}

/* Gives the attached state these functions, unless it has them already. An exception that is set stays. The previous
 * functions are dropped afterwards: 3.11 allows one PyEval_SetTrace in the process at a time, and a destructor may wait. */
static void apply(PyThreadState *ts, const functions *f)
{
    PyObject *kind, *value, *tb;
    functions old = functions_of(ts);
    PyErr_Fetch(&kind, &value, &tb);
    if (ts->c_profilefunc != f->profile || ts->c_profileobj != f->profile_arg)
        PyEval_SetProfile(f->profile, f->profile_arg);
    if (ts->c_tracefunc != f->trace || ts->c_traceobj != f->trace_arg)
        PyEval_SetTrace(f->trace, f->trace_arg);
    release(&old);
    PyErr_Restore(kind, value, tb);
}

static int has_global(PyObject *global)
{
    PyObject *function = threading_dict ? PyDict_GetItemWithError(threading_dict, global) : NULL;   /* borrowed */
    if (!function)
        PyErr_Clear();
    return function && function != Py_None;
}

/* threading enters a new thread in its table, where debuggers look, before it sets the functions. */
static void enter_in_table(void)
{
    PyObject *current = PyDict_GetItemString(threading_dict, "current_thread");    /* borrowed */
    PyObject *thread = current ? PyObject_CallNoArgs(current) : NULL;
    if (!thread)
        PyErr_Clear();
    Py_XDECREF(thread);
}

/* sys.NAME(function), as threading calls it: debuggers replace these. */
static void apply_global(PyObject *global, const char *name)
{
    if (!has_global(global))
        return;
    PyObject *function = Py_NewRef(PyDict_GetItemWithError(threading_dict, global));
    PyObject *set = Py_XNewRef(PySys_GetObject(name)), *done = set ? PyObject_CallOneArg(set, function) : NULL;
    if (!done)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(done);
    Py_XDECREF(set);
    Py_DECREF(function);
}

/* ---- a goroutine's life ---- */

static inheritance *find(const void *owner)
{
    inheritance *i = inheritances;
    while (i && i->owner != owner)
        i = i->next;
    return i;
}

static int anything_to_inherit(void)
{
    for (inheritance *i = inheritances; i; i = i->next) {
        if (i->f.trace || i->f.profile)
            return 1;
    }
    return 0;
}

void golib_hooks_begin(PyThreadState *ts, const void *owner, int is_visible)
{
    static const functions none;
    uint64_t version = *golib_hooks_version;
    inheritance *mine = find(owner);
    /* While the state was in the pool, functions may have been set for "all threads". */
    apply(ts, mine ? &mine->f : &none);
    if (mine)
        return;
    if (has_global(name_trace) || has_global(name_profile)) {
        if (!is_visible)
            return;
        enter_in_table();
        apply_global(name_trace, "settrace");
        apply_global(name_profile, "setprofile");
    }
    else if (!must_look && !anything_to_inherit())
        golib_hooks_seen = version;     /* by 1 */
}

void golib_hooks_end(PyThreadState *ts, const void *owner)
{
    static const functions none;
    inheritance *mine = find(owner);
    if (mine) {
        release(&mine->f);
        mine->f = functions_of(ts);
        mine->ended = 1;
    }
    apply(ts, &none);   /* golib's own frames follow */
}

int golib_hooks_lend(const void *owner)
{
    PyThreadState *ts = golib_ts_current();
    inheritance *i = PyMem_Calloc(1, sizeof *i);
    if (!i) {
        PyErr_NoMemory();
        return -1;
    }
    i->owner = owner;
    if (!ts->tracing)   /* a tracer's calls are not traced */
        i->f = functions_of(ts);
    i->next = inheritances;
    inheritances = i;
    if (i->f.trace || i->f.profile)
        golib_hooks_seen = never;
    return 0;
}

void golib_hooks_take_back(const void *owner)
{
    inheritance **at = &inheritances;
    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    inheritance *mine = *at;
    if (!mine)
        return;
    *at = mine->next;
    if (mine->ended)
        apply(golib_ts_current(), &mine->f);
    release(&mine->f);
    PyMem_Free(mine);
}

void golib_hooks_after_fork(const void *owner)
{
    inheritance **at = &inheritances;
    while (*at) {
        inheritance *i = *at;
        if (i->owner == owner) {
            at = &i->next;
            continue;
        }
        *at = i->next;
        release(&i->f);
        PyMem_Free(i);
    }
}
