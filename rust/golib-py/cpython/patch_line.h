/* Lines: goroutines that wait for an object of CPython's, a lock or a queue.
 * The protocol is in src/types/patch/line.rs. */
#ifndef GOLIB_PATCH_LINE_H
#define GOLIB_PATCH_LINE_H

#include "patch_groups.h"

typedef struct golib_waiting {
    /* Takes the object if it can be had: 1; 0 if it cannot; -1 with an exception set. Gives the GIL up for nothing. */
    int (*attempt)(void *argument);
    void *argument;
    int64_t until;
    int reason;             /* GOLIB_FOR_LOCK, … */
    int takes_back;         /* a lock that it had before: only a deadlock ends the wait */
} golib_waiting;

/* What wait() returns besides what `attempt` did. */
enum { GOLIB_LINE_TIMED_OUT = 0, GOLIB_LINE_FAILED = -1, GOLIB_LINE_TAKEN_BACK = 2 };

typedef struct golib_lines {
    /* On a goroutine, after an attempt that failed. */
    int (*wait)(const void *address, const golib_waiting *waiting, const golib_caller *record);
    /* The object may be had: wakes the first in line. */
    void (*wake)(const void *address);
    /* It is kept for one that has waited for long: another goroutine is to line up. */
    int (*is_kept)(const void *address);
    /* The patch is taken back: whoever waits is to do the rest by the original function. */
    void (*empty)(void);
    /* 0: nobody is in any line. */
    const size_t *count;
} golib_lines;

extern const golib_lines *golib_lines_table;
void golib_set_lines(const golib_lines *lines);

/* Somebody may wait in a line. What the lines keep belongs to the main interpreter. */
static inline int golib_any_in_line(void)
{
    return GOLIB_UNLIKELY(__atomic_load_n(golib_lines_table->count, __ATOMIC_RELAXED) != 0) &&
           golib_in_main_interpreter();
}

/* After the object has been given back, on any thread. */
static inline void golib_line_wake(const void *address)
{
    if (golib_any_in_line())
        golib_lines_table->wake(address);
}

/* A goroutine may take the object without lining up, if it can be had. */
static inline int golib_line_may_pass(const void *address)
{
    return !golib_any_in_line() || !golib_lines_table->is_kept(address);
}

/* ---- patch_locks.c ---- */

/* What a lock's __enter__ and __exit__ do, if it is of one of the two kinds that are patched, and they are: 1, with their
 * result. 0: nothing was done. */
int golib_lock_enter(PyObject *lock, const golib_caller *record, PyObject **result);
int golib_lock_exit(PyObject *lock, PyObject **result);
/* 1 if a patched _thread.lock is locked, 0 if not; -1: it is something else. */
int golib_lock_state(PyObject *lock);

/* Whatever gives back a lock, or gives a queue a value. */
static inline PyObject *golib_gives_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *result = golib_original(call);
    if (result)
        golib_line_wake(call->self);
    return result;
}

#endif
