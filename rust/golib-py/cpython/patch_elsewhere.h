/* Calls that only C can make, and that block: another goroutine makes them, in a thread, for one that is parked. */
#ifndef GOLIB_PATCH_ELSEWHERE_H
#define GOLIB_PATCH_ELSEWHERE_H

#include "patch_groups.h"

/* How many of a kind run at once. The main interpreter's GIL guards it; 0 in a forked child. */
typedef struct {
    int running, most;
} golib_elsewhere_limit;

/* 0, or -1 with an exception set: for a probe, before anything is asked for. */
int golib_elsewhere_ready(void);
/* The original's answer. One who leaves does not stop the call, which runs to its end for nobody. */
PyObject *golib_elsewhere(const golib_invocation *call, golib_elsewhere_limit *limit, const golib_caller *record);

/* Has `work(argument)` called in a goroutine of its own, with the GIL held. 0, or -1 with an exception set. */
int golib_elsewhere_do(void (*work)(void *), void *argument);

#endif
