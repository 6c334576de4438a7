/* A goroutine's end: its thread state is emptied, then pooled or freed.
 *
 * Dropping a reference may run Python code: a __del__, a weak reference's callback. That code may wait, and it may put
 * something into the state again. So it runs on the goroutine's own stack, round after round until nothing is left
 * (golib_ts_drop, golib_ts_retire). The scheduler's stack, on which nothing may wait, only ever frees an empty state.
 *
 * # Invariants
 * 1. golib_ts_retire succeeds only for an empty state, and takes the ident away in the same breath: from then on no
 *    PyThreadState_SetAsyncExc finds the state, so it stays empty.
 * 2. PyThreadState_Clear is called for empty states only.
 */
#include "internal.h"

/* Has the goroutine left references or settings behind in its state? */
static inline int has_leftovers(const PyThreadState *ts)
{
    uintptr_t any = (uintptr_t)ts->dict | (uintptr_t)ts->async_exc | (uintptr_t)ts->context |
                    (uintptr_t)ts->exc_state.exc_value | (uintptr_t)ts->c_profilefunc | (uintptr_t)ts->c_tracefunc |
                    (uintptr_t)ts->c_profileobj | (uintptr_t)ts->c_traceobj | (uintptr_t)ts->async_gen_firstiter |
                    (uintptr_t)ts->async_gen_finalizer | (uintptr_t)ts->coroutine_origin_tracking_depth;
#if PY_VERSION_HEX >= 0x030c0000
    any |= (uintptr_t)ts->current_exception;
#else
    any |= (uintptr_t)ts->curexc_type | (uintptr_t)ts->curexc_value | (uintptr_t)ts->curexc_traceback;
#endif
#if PY_VERSION_HEX < 0x030d0000
    any |= (uintptr_t)ts->on_delete | (uintptr_t)ts->on_delete_data;
#else
    any |= (uintptr_t)ts->threading_local_key | (uintptr_t)ts->threading_local_sentinel;
    any |= (uintptr_t)golib_private_part(ts)->asyncio_running_loop;
#endif
#if PY_VERSION_HEX >= 0x030e0000
    any |= (uintptr_t)golib_private_part(ts)->asyncio_running_task;
#endif
    return any != 0;
}

/* Whether the state is not in the middle of something, so that it can be emptied from outside. */
static inline int is_whole(const PyThreadState *ts)
{
    const _PyStackChunk *chunk = ts->datastack_chunk;
    int whole = ts->exc_info == &ts->exc_state && ts->tracing == 0 && ts->gilstate_counter == 1 && chunk &&
                golib_chunk_is_in_stack(chunk) && ts->datastack_top == (PyObject **)&chunk->data[1];
#if PY_VERSION_HEX >= 0x030f0000
    whole = whole && ts->current_frame == ts->base_frame && !ts->delete_later && !ts->critical_section;
#elif PY_VERSION_HEX >= 0x030d0000
    whole = whole && !ts->current_frame && !ts->delete_later && !ts->critical_section;
#elif PY_VERSION_HEX >= 0x030c0000
    whole = whole && ts->cframe == &ts->root_cframe && !ts->trash.delete_later && !ts->trash.delete_nesting;
#else
    whole = whole && ts->cframe == &ts->root_cframe && !ts->trash_delete_later && !ts->trash_delete_nesting;
#endif
    return whole;
}

/* Until 3.12 _asyncio remembers the last running loop by the id of the thread state, beside the state's dict: a state
 * that has run one cannot be told from its next user. */
static int has_run_asyncio(PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030d0000
    return ts->dict && PyDict_GetItemString(ts->dict, "__asyncio_running_event_loop__") != NULL;
#else
    (void)ts;
    return 0;
#endif
}

/* The values of threading.local. */
static void drop_locals(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030d0000
    /* CPython makes key and sentinel together if it finds no key. So code that touches a local while the sentinel's weakref
     * callbacks remove the values must find neither, as at a thread's end (PyThreadState_Clear). */
    Py_CLEAR(ts->threading_local_key);
    Py_CLEAR(ts->threading_local_sentinel);
#endif
    /* Destructors may have asked threading for the current thread; from 3.13 on the mark of that is in the dict. */
    golib_identity_forget(ts);
    Py_CLEAR(ts->dict);
}

/* Trace and profile functions. Their objects are dropped afterwards: 3.11 allows one PyEval_SetTrace in the process at
 * a time, and a destructor may wait. */
static void drop_hooks(PyThreadState *ts)
{
    PyObject *trace = ts->c_traceobj, *profile;
    if (ts->c_tracefunc || trace) {
        ts->c_traceobj = NULL;
        PyEval_SetTrace(NULL, NULL);
        Py_XDECREF(trace);
    }
    profile = ts->c_profileobj;
    if (ts->c_profilefunc || profile) {
        ts->c_profileobj = NULL;
        PyEval_SetProfile(NULL, NULL);
        Py_XDECREF(profile);
    }
}

int golib_ts_drop(PyThreadState *ts)
{
    int reusable = !has_run_asyncio(ts);
    golib_identity_forget(ts);
    drop_hooks(ts);
    Py_CLEAR(ts->async_gen_firstiter);
    Py_CLEAR(ts->async_gen_finalizer);
    ts->coroutine_origin_tracking_depth = 0;
#if PY_VERSION_HEX >= 0x030d0000
    Py_CLEAR(golib_private_part(ts)->asyncio_running_loop);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    Py_CLEAR(golib_private_part(ts)->asyncio_running_task);
#endif
    drop_locals(ts);
    if (ts->context) {
        /* ContextVar caches values by state id and version, and the next goroutine must not find this one's. */
        PyObject *context = ts->context;
        ts->context = NULL;
        ts->context_ver++;
        Py_DECREF(context);
    }
    Py_CLEAR(ts->async_exc);
    Py_CLEAR(ts->exc_state.exc_value);
    PyErr_Clear();
#if PY_VERSION_HEX < 0x030d0000
    if (ts->on_delete) {
        /* The lock on which threading.Thread.join waits; the function is C and runs nothing. */
        void (*on_delete)(void *) = ts->on_delete;
        void *data = ts->on_delete_data;
        ts->on_delete = NULL;
        ts->on_delete_data = NULL;
        on_delete(data);
    }
#endif
    return reusable;
}

int golib_ts_retire(PyThreadState *ts)
{
    if (GOLIB_UNLIKELY(has_leftovers(ts)))
        return -1;
#ifdef GOLIB_CACHES_CHUNK
    /* An interpreter older than the headers lacks the field. */
    _PyStackChunk *chunk = golib_state_growth() >= 0 ? ts->datastack_cached_chunk : NULL;
    if (GOLIB_UNLIKELY(chunk != NULL)) {
        ts->datastack_cached_chunk = NULL;
        golib_arena_give_back(chunk);
    }
#endif
    ts->thread_id = golib_ident_of_nobody();
    return is_whole(ts);
}

/* The last round for a state that is refilled endlessly. */
static void drop_locals_for_good(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030d0000
    /* The key's text is made of the state's address, so a later state could find under it what is left behind here.
     * Values put into a local from now on go under a key that is never used again. */
    static unsigned long long abandoned;
    PyObject *sentinel = ts->threading_local_sentinel, *key = ts->threading_local_key;
    if (!sentinel)
        return;
    ts->threading_local_key = PyUnicode_FromFormat("golib.abandoned.%llu", ++abandoned);
    ts->threading_local_sentinel = Py_TYPE(sentinel)->tp_alloc(Py_TYPE(sentinel), 0);
    if (!ts->threading_local_key || !ts->threading_local_sentinel) {
        Py_CLEAR(ts->threading_local_key);
        Py_CLEAR(ts->threading_local_sentinel);
        PyErr_Clear();
    }
    Py_XDECREF(key);
    Py_XDECREF(sentinel);
#else
    (void)ts;
#endif
}

void golib_ts_abandon(PyThreadState *ts)
{
    drop_locals_for_good(ts);
    /* Values that are left stay alive forever, like those that a __del__ puts into a thread's local at the thread's
     * end. */
    PyErr_Clear();
    golib_identity_forget(ts);
    ts->dict = NULL;
    ts->async_exc = NULL;
    ts->context = NULL;
    ts->context_ver++;
    ts->exc_state.exc_value = NULL;
    ts->c_profilefunc = NULL;
    ts->c_tracefunc = NULL;
    ts->c_profileobj = NULL;
    ts->c_traceobj = NULL;
    ts->async_gen_firstiter = NULL;
    ts->async_gen_finalizer = NULL;
    ts->coroutine_origin_tracking_depth = 0;
#if PY_VERSION_HEX >= 0x030c0000
    ts->current_exception = NULL;
#else
    ts->curexc_type = ts->curexc_value = ts->curexc_traceback = NULL;
#endif
#if PY_VERSION_HEX < 0x030d0000
    ts->on_delete = NULL;
    ts->on_delete_data = NULL;
#else
    ts->threading_local_key = NULL;
    ts->threading_local_sentinel = NULL;
    golib_private_part(ts)->asyncio_running_loop = NULL;
#endif
#if PY_VERSION_HEX >= 0x030e0000
    golib_private_part(ts)->asyncio_running_task = NULL;
#endif
}

int golib_ts_scrub(PyThreadState *ts)
{
    enum { MOST_ROUNDS = 1000 };
    int reusable = 1, whole;
    for (int rounds = 0; GOLIB_UNLIKELY((whole = golib_ts_retire(ts)) < 0); rounds++) {
        if (rounds < MOST_ROUNDS)
            reusable &= golib_ts_drop(ts);
        else
            golib_ts_abandon(ts);
    }
    return reusable && whole;
}

void golib_ts_delete_current(PyThreadState *ts)
{
    golib_ts_unlink_chunk(ts);
    PyThreadState_Clear(ts);
    /* Unbinds: the state is bound here (invariant 1 of golib_shim.h). */
    PyThreadState_DeleteCurrent();
}

void golib_ts_delete(PyThreadState *ts)
{
    golib_ts_unlink_chunk(ts);
    golib_mark_bound(ts, 0);
    PyThreadState_Clear(ts);
    /* A waiter for the GIL may have read last_holder while it was `ts`, and be about to set its request there. */
    golib_gil_settle(ts->interp);
    PyThreadState_Delete(ts);
}
