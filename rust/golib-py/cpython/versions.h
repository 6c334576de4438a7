/* The differences between CPython 3.11 and 3.15, under one set of names.
 *
 * Everything that can have one name for all versions has it here. Other files have an `#if PY_VERSION_HEX` only where the
 * difference is a single step of theirs (fields of a state to look at and clear, an exception to hand over). To support a new
 * minor version, start with this file: compile, read what has moved, look at every other `#if`, and run cpython/tests
 * (make test-seam).
 *
 * | | 3.11 | 3.12 | 3.13 | 3.14 | 3.15 |
 * |---|---|---|---|---|---|
 * | current state | _PyRuntime.gilstate | thread-local slot | = | = | = |
 * | bound state | autoTSSkey | + _status.bound_gilstate | = | = | slot, not key |
 * | request to drop the GIL | interpreter's flag | = | bit in last_holder's eval_breaker | = | = |
 * | C recursion | with Python's | c_recursion_remaining | = | stack limits | = |
 * | a chunk kept in the state (GOLIB_CACHES_CHUNK, of build.rs) | | | later releases | later releases | = |
 */
#ifndef GOLIB_VERSIONS_H
#define GOLIB_VERSIONS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030b0000 || PY_VERSION_HEX >= 0x03100000
#error "golib knows CPython 3.11 to 3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "golib does not support free-threaded CPython yet"
#endif

/* CPython's private headers ask for these; Python.h itself must not see them. */
#define Py_BUILD_CORE 1
#define Py_BUILD_CORE_MODULE 1
#undef _PyGC_FINALIZED  /* 3.12: the public macro would rename the private function */
#include "internal/pycore_runtime.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_ceval.h"
#include "internal/pycore_context.h"
#include "internal/pycore_hamt.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_gil.h"
#if PY_VERSION_HEX >= 0x030d0000
#include "internal/pycore_tstate.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_interpframe.h"
#endif
#undef Py_BUILD_CORE
#undef Py_BUILD_CORE_MODULE

#include "port.h"

#define GOLIB_HAS_TLS_SLOT (PY_VERSION_HEX >= 0x030c0000)
#define GOLIB_DROP_BIT_IN_STATE (PY_VERSION_HEX >= 0x030d0000)
#define GOLIB_HAS_C_RECURSION (PY_VERSION_HEX >= 0x030c0000 && PY_VERSION_HEX < 0x030e0000)
#define GOLIB_HAS_STACK_LIMITS (PY_VERSION_HEX >= 0x030e0000)

#if PY_VERSION_HEX >= 0x030d0000

/* How much longer the public part of a thread state is in the running interpreter than in the headers that this was
 * compiled with. Patch releases lengthen it (a chunk at its end came into 3.13 and 3.14), and a wheel meets all of
 * them. */
static inline ptrdiff_t golib_state_growth(void)
{
    return (ptrdiff_t)_PyRuntime.debug_offsets.thread_state.size - (ptrdiff_t)sizeof(PyThreadState);
}

/* The private part of a thread state, which begins where the public one ends. Its own fields only: not for `base`. */
static inline _PyThreadStateImpl *golib_private_part(const PyThreadState *ts)
{
    return (_PyThreadStateImpl *)((char *)ts + golib_state_growth());
}

#endif

/* time.sleep raises an audit event; it takes any real number. */
#define GOLIB_SLEEP_IS_AUDITED (PY_VERSION_HEX >= 0x030d0000)
#define GOLIB_SLEEPS_REAL_NUMBERS (PY_VERSION_HEX >= 0x030f0000)

static inline struct _gil_runtime_state *golib_gil(PyInterpreterState *interp)
{
#if GOLIB_HAS_TLS_SLOT
    return interp->ceval.gil;
#else
    return &interp->runtime->ceval.gil;
#endif
}

/* 3.11 and 3.12 wrap these words in structs of their own; the word is the first member. */
static inline int golib_gil_word(struct _gil_runtime_state *gil)
{
    return __atomic_load_n((int *)&gil->locked, __ATOMIC_RELAXED);
}

/* The state that holds the GIL, or held it last: 3.11 and 3.12 wrap the pointer. */
#define GOLIB_LAST_HOLDER(gil) __atomic_load_n((PyThreadState **)&(gil)->last_holder, __ATOMIC_RELAXED)

/* The newest frame of `ts`, of whatever kind. */
static inline _PyInterpreterFrame *golib_newest_frame(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030d0000
    return ts->current_frame;
#else
    return ts->cframe ? ts->cframe->current_frame : NULL;
#endif
}

/* The code that a frame runs, borrowed; NULL if it runs none, or none yet. */
static inline PyCodeObject *golib_frame_code(_PyInterpreterFrame *f)
{
    if (_PyFrame_IsIncomplete(f))
        return NULL;
#if PY_VERSION_HEX >= 0x030d0000
    return _PyFrame_GetCode(f);
#else
    return f->f_code;
#endif
}

/* Has the eval loop of `ts` something else to do before its next instruction? */
static inline int golib_eval_is_wanted(PyThreadState *ts)
{
#if GOLIB_DROP_BIT_IN_STATE
    return (__atomic_load_n(&ts->eval_breaker, __ATOMIC_RELAXED) & _PY_EVAL_EVENTS_MASK) != 0;
#else
    return __atomic_load_n((int *)&ts->interp->ceval.eval_breaker, __ATOMIC_RELAXED) != 0;
#endif
}

/* Are there signals, or calls of Py_AddPendingCall, for the main thread? Until 3.12 the flag that tells the eval loop belongs to
 * the interpreter, and whichever thread looked last has computed it; from 3.13 on it is a bit of one state, main_tstate. */
static inline int golib_main_calls(PyInterpreterState *interp)
{
#if GOLIB_DROP_BIT_IN_STATE
    (void)interp;
    return __atomic_load_n(&_PyRuntime.ceval.pending_mainthread.npending, __ATOMIC_RELAXED) != 0;
#elif GOLIB_HAS_TLS_SLOT
    (void)interp;
    return __atomic_load_n((int *)&_PyRuntime.ceval.pending_mainthread.calls_to_do, __ATOMIC_RELAXED);
#else
    return __atomic_load_n((int *)&interp->ceval.pending.calls_to_do, __ATOMIC_RELAXED);
#endif
}

/* Whether a signal has come whose handler has not run. 3.11 keeps that private; its flag for the eval loop may be
 * older. */
static inline int golib_tripped(void)
{
#if GOLIB_HAS_TLS_SLOT
    return __atomic_load_n((int *)&_PyRuntime.signals.is_tripped, __ATOMIC_RELAXED);
#else
    return __atomic_load_n((int *)&_PyRuntime.ceval.signals_pending, __ATOMIC_RELAXED);
#endif
}

/* Makes the eval loop of the main thread look for signals and calls. */
#if GOLIB_DROP_BIT_IN_STATE
#define GOLIB_MAIN_TSTATE _PyRuntime.main_tstate
#define GOLIB_TELLS(ts) (ts)
#define GOLIB_MAIN_ATTACHED(ts) ((void)(ts))
static inline void golib_tell_main(PyThreadState *ts)
{
    uintptr_t bits =
        (golib_tripped() ? _PY_SIGNALS_PENDING_BIT : 0u) | (golib_main_calls(ts->interp) ? _PY_CALLS_TO_DO_BIT : 0u);
    if (bits)
        __atomic_fetch_or(&ts->eval_breaker, bits, __ATOMIC_RELAXED);
}
#else
#define GOLIB_TELLS(ts) ((ts)->interp)
#define GOLIB_MAIN_ATTACHED(ts) golib_tell_main((ts)->interp)    /* the flag may be of another state */
static inline void golib_tell_main(PyInterpreterState *interp)
{
    if (__atomic_load_n((int *)&_PyRuntime.ceval.signals_pending, __ATOMIC_RELAXED) | golib_main_calls(interp))
        __atomic_store_n((int *)&interp->ceval.eval_breaker, 1, __ATOMIC_RELAXED);
}
#endif

/* Where an OS thread's bound state is kept: 3.15 has a thread-local slot for it, earlier versions a key of the C library. */
#define GOLIB_BOUND_IN_SLOT (PY_VERSION_HEX >= 0x030f0000)

#if !GOLIB_BOUND_IN_SLOT
static inline golib_key golib_tss_key(void)
{
#if GOLIB_HAS_TLS_SLOT
    return _PyRuntime.autoTSSkey._key;
#else
    return _PyRuntime.gilstate.autoTSSkey._key;
#endif
}
#endif

/* 3.13 keeps "holds the GIL" as a bit, 3.14 as a word; earlier versions do not keep it. */
#if PY_VERSION_HEX >= 0x030e0000
#define GOLIB_SET_HOLDS_GIL(ts, v) ((ts)->holds_gil = (v))
#elif PY_VERSION_HEX >= 0x030d0000
#define GOLIB_SET_HOLDS_GIL(ts, v) ((ts)->_status.holds_gil = (v))
#endif

/* Does this OS thread own the lock of the warnings module? C code holds that while it calls showwarning, which any
 * caller of PyErr_WarnEx may lead to; it is recursive and compares OS threads. Earlier versions have no such lock. */
static inline int golib_owns_warnings(const PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030e0000
    unsigned long long owner = __atomic_load_n(&ts->interp->warnings.lock.thread, __ATOMIC_RELAXED);
    return owner && owner == golib_this_thread();
#else
    (void)ts;
    return 0;
#endif
}

/* CPython's own record of "bound"; 3.11 has none beside the key. */
static inline void golib_mark_bound(PyThreadState *ts, int bound)
{
#if GOLIB_HAS_TLS_SLOT
    ts->_status.bound_gilstate = (unsigned)bound & 1u;
#else
    (void)ts;
    (void)bound;
#endif
}

/* Under `-X perf` (3.12+) each Python function's eval loop is called from a few instructions of its own, copied into
 * blocks of memory. CPython keeps the blocks in a list until it ends; the record's type is private to a file of its.
 */
#if PY_VERSION_HEX >= 0x030c0000 && defined(PY_HAVE_PERF_TRAMPOLINE)
struct golib_perf_arena {
    const uint8_t *begin, *next_free;
    size_t size, size_left, code_size;
    const struct golib_perf_arena *previous;
};
static inline const struct golib_perf_arena *golib_perf_arenas(void)
{
    return (const struct golib_perf_arena *)_PyRuntime.ceval.perf.code_arena;
}
#define GOLIB_HAS_PERF_ARENAS 1
#else
#define GOLIB_HAS_PERF_ARENAS 0
#endif

#endif
