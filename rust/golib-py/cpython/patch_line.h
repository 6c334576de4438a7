/* Lines: goroutines that wait for an object of CPython's, a lock or a queue.
 * The protocol is in src/types/patch/line.rs. */
#ifndef GOLIB_PATCH_LINE_H
#define GOLIB_PATCH_LINE_H

#include "patch_groups.h"

typedef struct golib_waiting {
    /* Takes the object if it is available: 1; 0 if it is not; -1 with an exception set. Never gives the GIL up. */
    int (*attempt)(void *argument);
    void *argument;
    int64_t until;
    int reason;             /* GOLIB_FOR_LOCK, … */
    int takes_back;         /* a lock that it had before: only a deadlock ends the wait */
} golib_waiting;

/* What wait() returns if it is not the attempt's own result. */
enum { GOLIB_LINE_TIMED_OUT = 0, GOLIB_LINE_FAILED = -1, GOLIB_LINE_TAKEN_BACK = 2 };

typedef struct golib_lines {
    /* Called on a goroutine after an attempt that failed. */
    int (*wait)(const void *address, const golib_waiting *waiting, const golib_caller *record);
    /* The object may be available: wakes the first in line. */
    void (*wake)(const void *address);
    /* Whether the object is kept for a goroutine that has waited for long, so that another must line up. */
    int (*is_kept)(const void *address);
    /* The patch is taken back: every waiter finishes with the original function. */
    void (*empty)(void);
    /* How many objects have a line; 0 if no goroutine is in any. */
    const size_t *count;
} golib_lines;

extern const golib_lines *golib_lines_table;
void golib_set_lines(const golib_lines *lines);

/* May a goroutine be in a line? The lines belong to the main interpreter. */
static inline int golib_any_in_line(void)
{
    return GOLIB_UNLIKELY(__atomic_load_n(golib_lines_table->count, __ATOMIC_RELAXED) != 0) &&
           golib_in_main_interpreter();
}

/* Called after the object has been released, on any thread. */
static inline void golib_line_wake(const void *address)
{
    if (golib_any_in_line())
        golib_lines_table->wake(address);
}

/* May a goroutine take the object, if it is available, without lining up? */
static inline int golib_line_may_pass(const void *address)
{
    return !golib_any_in_line() || !golib_lines_table->is_kept(address);
}

/* ---- patch_locks.c ---- */

/* Do what a lock's __enter__ and __exit__ do, if the lock is of one of the two kinds that are patched, and they are: 1, with
 * their result. 0 if nothing was done. */
int golib_lock_enter(PyObject *lock, const golib_caller *record, PyObject **result);
int golib_lock_exit(PyObject *lock, PyObject **result);
/* 1 if a patched _thread.lock is locked, 0 if it is not; -1 for any other object. */
int golib_lock_state(PyObject *lock);

/* The body of every builtin that releases a lock or puts a value into a queue. */
static inline PyObject *golib_gives_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *result = golib_original(call);
    if (result)
        golib_line_wake(call->self);
    return result;
}

#endif
