/* Which thread state is attached: attach, detach, and the cheap swap.
 *
 * PyThreadState_Swap costs 50 ns from 3.12 on, because it releases and retakes the GIL. None of that is needed while
 * an OS thread goes from one goroutine to the next: golib_ts_swap writes the same fields that detach and attach would
 * write, and takes the long way (handoff.c) only if there is a request.
 *
 * # What a swap must keep (CPython's detach + attach, less the GIL)
 * 1. the current-state slot, `state`, `active`, `holds_gil`; the binding (PyGILState_Check compares the two).
 * 2. gil->last_holder: a waiter that times out puts its request into last_holder's eval_breaker (3.13+). switch_number
 *    stays: waiters ask only if it has not changed, so bumping it here would starve them.
 * 3. the copy of the instrumentation version in eval_breaker, and pending calls (3.13+); async exceptions (3.11,
 *    3.12).
 *
 * Rejected: taking gil->mutex at each swap (25 ns).
 */
#include "handoff.h"

/* ---- attach and detach ---- */

void golib_ts_attach(PyThreadState *ts)
{
    golib_mark_bound(ts, 0);    /* CPython binds what is not marked */
    PyEval_RestoreThread(ts);
    golib_slot_check(ts);
    golib_manners_begin(golib_gil(ts->interp));
    if (GOLIB_UNLIKELY(ts == golib_main.state))
        golib_main_comes();
}

void golib_ts_detach(PyThreadState *ts)
{
    if (GOLIB_UNLIKELY(ts == golib_main.state))
        golib_main_goes();
    /* Before the GIL goes: afterwards the state may be attached elsewhere at any time. */
    golib_mark_bound(ts, 0);
    golib_bind(NULL);
    PyEval_SaveThread();
}

PyThreadState *golib_thread_save(void)
{
    return PyEval_SaveThread();
}

void golib_thread_restore(PyThreadState *ts)
{
    golib_ts_attach(ts);
}

/* ---- the swap ---- */

/* Writes the fields as detach and attach would. `from` comes first, so that the compiler merges the stores to its bits. */
static inline __attribute__((always_inline)) void swap_stores(struct _gil_runtime_state *gil, PyThreadState *from,
                                                              PyThreadState *to)
{
#if GOLIB_HAS_TLS_SLOT
    from->_status.active = 0;
    from->_status.bound_gilstate = 0;
#endif
#if GOLIB_DROP_BIT_IN_STATE
    GOLIB_SET_HOLDS_GIL(from, 0);
    from->state = _Py_THREAD_DETACHED;
#endif
#if GOLIB_HAS_TLS_SLOT
    to->_status.active = 1;
    to->_status.bound_gilstate = 1;
#endif
#if GOLIB_DROP_BIT_IN_STATE
    GOLIB_SET_HOLDS_GIL(to, 1);
    to->state = _Py_THREAD_ATTACHED;
#endif
    __atomic_store_n(golib_slot(), to, __ATOMIC_RELAXED);
    golib_rebind(to);
    __atomic_store_n((PyThreadState **)&gil->last_holder, to, __ATOMIC_RELAXED);
#if GOLIB_DROP_BIT_IN_STATE
    if (GOLIB_UNLIKELY(golib_gil_is_asked(from))) {
        __atomic_fetch_and(&from->eval_breaker, ~(uintptr_t)_PY_GIL_DROP_REQUEST_BIT, __ATOMIC_RELAXED);
        __atomic_fetch_or(&to->eval_breaker, (uintptr_t)_PY_GIL_DROP_REQUEST_BIT, __ATOMIC_RELAXED);
    }
#endif
    golib_main_swapped(from, to);
}

void golib_swap_stores(PyThreadState *from, PyThreadState *to)
{
    swap_stores(golib_gil(from->interp), from, to);
}

int golib_ts_swap_at_once(PyThreadState *from, PyThreadState *to)
{
    struct _gil_runtime_state *gil = golib_gil(from->interp);
    unsigned long switches = __atomic_load_n(&gil->switch_number, __ATOMIC_RELAXED);
    /* One sum and one branch, because all of the reasons are nearly always 0. */
    uint64_t reasons = (uint64_t)golib_gil_is_asked(from) | (uint64_t)golib_gil_has_stale_request(to) |
                       (uint64_t)golib_gil_has_news(to) | golib_gil_waiters(gil) | golib_manners.waiting_since_ns |
                       (switches ^ golib_manners.seen_switches);
    if (GOLIB_UNLIKELY(reasons || !golib_slot_is_known()))
        return 0;
    swap_stores(gil, from, to);
    return 1;
}

void golib_ts_swap(PyThreadState *from, PyThreadState *to)
{
    if (!golib_ts_swap_at_once(from, to))
        golib_handoff(from, to);
}
