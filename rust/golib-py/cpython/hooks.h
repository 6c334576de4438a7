/* Trace and profile functions of goroutines; see hooks.c. */
#ifndef GOLIB_HOOKS_H
#define GOLIB_HOOKS_H

#include "internal.h"

extern const uint64_t *golib_hooks_version;
extern uint64_t golib_hooks_seen;

static inline int golib_hooks_has(const PyThreadState *ts)
{
    return ts->c_tracefunc || ts->c_profilefunc;
}

/* Does the state have functions, or may a new one be given some? */
static inline int golib_hooks_wanted(const PyThreadState *ts)
{
    return *golib_hooks_version != golib_hooks_seen || golib_hooks_has(ts);
}

/* Finds threading's functions; 0, or -1 with an exception set. */
int golib_hooks_install(void);

/* Called before a goroutine's function if golib_hooks_wanted, and after it if that was so or the goroutine has functions.
 * `owner` is its handle. A goroutine without Python frames, which runs one of golib's own functions, gets none of
 * threading's. An exception that is set stays. */
__attribute__((cold, noinline)) void golib_hooks_begin(PyThreadState *ts, const void *owner, int is_visible);
__attribute__((cold, noinline)) void golib_hooks_end(PyThreadState *ts, const void *owner);

#endif
