/* Calls of certain functions of the C library in the interpreter's text. */
#ifndef GOLIB_TLS_CALLS_H
#define GOLIB_TLS_CALLS_H

#include "internal.h"
#include "movable.h"

#if defined(__x86_64__)

enum { GOLIB_MOST_SLOTS = 16, GOLIB_MOST_STUBS = 16, GOLIB_MOST_OWN = 2 };

/* Functions of one kind that the interpreter calls. */
typedef struct golib_callees {
    const char *const *names;
    const void *slots[GOLIB_MOST_SLOTS];        /* pointers through which it calls them */
    int n;
    const uint8_t *stubs[GOLIB_MOST_STUBS];     /* jumps through the pointers */
    int n_stubs;
    const void *own[GOLIB_MOST_OWN];            /* those of its own: called directly */
} golib_callees;

/* Functions that return a thread-local address, and those that say which thread this is. */
extern golib_callees golib_getting, golib_asking;

/* Finds how the interpreter, whose executable segments these are, calls them. -1: there are ways that are not known. */
int golib_calls_find(const void *interpreter, const golib_range *texts, int n);

/* Is the instruction at p a call of one of these? *next is what follows. */
int golib_calls_one(const golib_callees *these, const uint8_t *p, const uint8_t **next);

/* Calls `look` with each place in the text that may be a call, or an instruction with the thread pointer's segment: one
 * whose first bytes are those. */
void golib_calls_each(const golib_range *text, void (*look)(const uint8_t *, const golib_range *));

#endif

#endif
