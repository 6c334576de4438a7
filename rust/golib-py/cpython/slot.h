/* Where CPython keeps, for each OS thread, the current thread state and the bound one. */
#ifndef GOLIB_SLOT_H
#define GOLIB_SLOT_H

#include "internal.h"

#if defined(__ELF__)
#define GOLIB_OURS __attribute__((visibility("hidden")))
#else
#define GOLIB_OURS
#endif

#if GOLIB_HAS_TLS_SLOT

/* Byte offset of CPython's thread-local current-state pointer from golib_tls_base(); 0: not known. It is the same in
 * every thread (golib_tls_is_found), and attach checks it again on each OS thread. */
extern ptrdiff_t golib_slot_offset GOLIB_OURS;

static inline PyThreadState **golib_slot(void)
{
    return (PyThreadState **)(golib_tls_base() + golib_slot_offset);
}

/* May a swap write the slot itself? */
static inline int golib_slot_is_known(void)
{
    return golib_slot_offset != 0;
}

#else /* 3.11: one slot for the process; it belongs to the holder of the GIL */

static inline PyThreadState **golib_slot(void)
{
    return (PyThreadState **)&_PyRuntime.gilstate.tstate_current;
}

static inline int golib_slot_is_known(void)
{
    return 1;
}

#endif

#if !GOLIB_BOUND_IN_SLOT
/* Byte offset from the thread pointer of the word in which the C library keeps the value of CPython's key, the same in every
 * thread for the first keys of a process; 0: not known. A swap writes it (pthread_setspecific: 35 instructions and a
 * call through the PLT); the first bind on an OS thread goes through it: glibc notes there that the key is in use.
 */
extern ptrdiff_t golib_tss_offset GOLIB_OURS;
#endif

void golib_set_bound(PyThreadState *ts);

/* Binds `ts` on a thread that already has a bound state. */
static inline __attribute__((always_inline)) void golib_rebind(PyThreadState *ts)
{
#if !GOLIB_BOUND_IN_SLOT
    if (GOLIB_LIKELY(golib_tss_offset)) {
        *(PyThreadState **)(golib_thread_pointer() + golib_tss_offset) = ts;
        return;
    }
#endif
    golib_set_bound(ts);
}

/* Called once `ts` has been attached on this OS thread: forgets offsets that prove wrong here. */
static inline void golib_slot_check(PyThreadState *ts)
{
#if GOLIB_HAS_TLS_SLOT
    if (GOLIB_UNLIKELY(golib_slot_offset && *golib_slot() != ts))
        golib_slot_offset = 0;
#else
    golib_bind(ts);
#endif
#if !GOLIB_BOUND_IN_SLOT
    if (GOLIB_UNLIKELY(golib_tss_offset && *(PyThreadState **)(golib_thread_pointer() + golib_tss_offset) != ts))
        golib_tss_offset = 0;
#endif
}

#endif
