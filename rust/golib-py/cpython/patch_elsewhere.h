/* Blocking calls that only C can make: another goroutine makes them, in a thread, while the caller is parked. */
#ifndef GOLIB_PATCH_ELSEWHERE_H
#define GOLIB_PATCH_ELSEWHERE_H

#include "patch_groups.h"

/* How many calls of a kind run at once. The main interpreter's GIL guards it; 0 in a forked child. */
typedef struct {
    int running, most;
} golib_elsewhere_limit;

/* For a probe, before the first call: 0, or -1 with an exception set. */
int golib_elsewhere_ready(void);
/* The original's answer. A goroutine that leaves does not stop the call, which runs to its end; its answer is dropped. */
PyObject *golib_elsewhere(const golib_invocation *call, golib_elsewhere_limit *limit, const golib_caller *record);

/* Calls `work(argument)` in a goroutine of its own, with the GIL held. 0, or -1 with an exception set. */
int golib_elsewhere_do(void (*work)(void *), void *argument);

#endif
