/* What a swap checks to give the GIL up between two goroutines. The essay is in handoff.c. */
#ifndef GOLIB_HANDOFF_H
#define GOLIB_HANDOFF_H

#include "slot.h"

/* A swap's record of the other threads; guarded by the GIL. */
struct golib_manners {
    /* gil->switch_number as we left it. If it differs, the eval loop has released the GIL and taken it again since. */
    unsigned long seen_switches;
    /* Swaps since such a difference was noticed: a thread that has just lost the GIL takes a while to queue again. */
    unsigned looks;
    /* When a waiter was first seen by the monotonic clock; 0 if there is none. */
    uint64_t waiting_since_ns;
};

extern struct golib_manners golib_manners GOLIB_OURS;

/* The GIL has been taken other than by a swap. */
static inline void golib_manners_begin(struct _gil_runtime_state *gil)
{
    golib_manners.seen_switches = gil->switch_number;
    golib_manners.looks = 0;
    golib_manners.waiting_since_ns = 0;
}

#if defined(__GLIBC__)
/* The number of the word in which glibc counts the users of a condition variable; glibc 2.41 changed it. See init.c. */
extern unsigned golib_users_word GOLIB_OURS;
#endif

/* How many threads wait for the GIL: the users of its condition variable. musl keeps a list of them, and the word read here
 * belongs to the one that waits longest, so at most one is seen. With other C libraries no waiter is seen. */
static inline unsigned golib_gil_waiters(struct _gil_runtime_state *gil)
{
#if defined(__GLIBC__)
    return __atomic_load_n((unsigned *)&gil->cond + golib_users_word, __ATOMIC_RELAXED) >> 3;
#elif defined(GOLIB_MUSL)
    enum { TAIL = 5 };
    return __atomic_load_n(&gil->cond.__u.__p[TAIL], __ATOMIC_RELAXED) != NULL;
#elif defined(_WIN32) && PY_VERSION_HEX < 0x030d0000
    int waiting = __atomic_load_n(&gil->cond.waiting, __ATOMIC_RELAXED);
    return waiting > 0 ? (unsigned)waiting : 0;
#else
    (void)gil;
    return 0;
#endif
}

/* Does a thread ask for the GIL, and wait until it gets it? */
static inline int golib_gil_is_asked(PyThreadState *from)
{
#if GOLIB_DROP_BIT_IN_STATE
    return (__atomic_load_n(&from->eval_breaker, __ATOMIC_RELAXED) & _PY_GIL_DROP_REQUEST_BIT) != 0;
#else
    return __atomic_load_n((int *)&from->interp->ceval.gil_drop_request, __ATOMIC_RELAXED);
#endif
}

/* Does `to` have a request that was meant for an earlier run of it? */
static inline int golib_gil_has_stale_request(PyThreadState *to)
{
#if GOLIB_DROP_BIT_IN_STATE
    return golib_gil_is_asked(to);
#else
    (void)to;
    return 0;
#endif
}

/* The news that take_gil would pass to `to`, and a swap does not. */
static inline int golib_gil_has_news(PyThreadState *to)
{
#if GOLIB_DROP_BIT_IN_STATE
    struct _ceval_state *ceval = &to->interp->ceval;
    uintptr_t version = __atomic_load_n(&ceval->instrumentation_version, __ATOMIC_RELAXED);
    return ((__atomic_load_n(&to->eval_breaker, __ATOMIC_RELAXED) ^ version) & ~(uintptr_t)_PY_EVAL_EVENTS_MASK) ||
           __atomic_load_n(&ceval->pending.npending, __ATOMIC_RELAXED);
#else
    /* Announced by a flag of the interpreter's, which take_gil sets again. */
    return to->async_exc != NULL;
#endif
}

/* Goes from `from` to `to` while another thread may want the GIL: gives it up if it is time. */
void golib_handoff(PyThreadState *from, PyThreadState *to);

/* swap.c: the stores that detach and attach would make. */
void golib_swap_stores(PyThreadState *from, PyThreadState *to);

#endif
