/* Reads the Python frames of another goroutine without the GIL, for GOLIB_DEBUG=blocked. See frames.c. */
#ifndef GOLIB_FRAMES_H
#define GOLIB_FRAMES_H

#include <stdint.h>

typedef struct _object PyObject;
typedef struct _ts PyThreadState;

enum { GOLIB_PLACES = 12, GOLIB_FILE_BYTES = 256, GOLIB_NAME_BYTES = 96 };

/* A frame's place in the source, in UTF-8. Long names lack their beginning. */
typedef struct golib_place {
    char file[GOLIB_FILE_BYTES];
    char function[GOLIB_NAME_BYTES];
    int line;
} golib_place;

/* The places of a state's frames, from the newest on. */
typedef struct golib_places {
    char name[GOLIB_NAME_BYTES];    /* of the goroutine; may be empty */
    int n;
    int has_more;                   /* there are older ones */
    golib_place at[GOLIB_PLACES];
} golib_places;

/* The attached state, or NULL if the GIL is free; how often the GIL has changed hands by CPython's count; whether a
 * thread waits for it. Callable without the GIL. */
PyThreadState *golib_gil_holder(uint64_t *changes, int *is_wanted);

/* The kernel's id of the thread on which `ts` is attached, 0 if it is not. Not for goroutines. Callable without the GIL. */
unsigned long golib_gil_holders_thread(PyThreadState *ts);

/* Notes the places of `ts` while it is attached on the calling thread, which runs its goroutine: also in a signal
 * handler. 0: it is not attached there, or its frames cannot be told at this instant. `name` (may be NULL) is the
 * goroutine's name, `function` (may be NULL) what it runs.
 */
int golib_places_within(PyThreadState *ts, PyObject *name, PyObject *function, golib_places *out);

/* The same while `ts` is detached, from another thread and without the GIL. It asks `still(arg)` whether the goroutine is
 * still outside the runtime, at a moment when it cannot come back. 0 if it is attached, or if `still` says no. */
int golib_places_outside(PyThreadState *ts, PyObject *name, PyObject *function, int (*still)(void *), void *arg,
                         golib_places *out);

#endif
