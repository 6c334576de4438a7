/* Calls of certain functions of the C library in the interpreter's text, and other ways to thread-local addresses. */
#ifndef GOLIB_TLS_CALLS_H
#define GOLIB_TLS_CALLS_H

#include "internal.h"
#include "code.h"

enum { GOLIB_MOST_SLOTS = 32, GOLIB_MOST_STUBS = 16, GOLIB_MOST_OWN = 2 };

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

/* Descriptors of thread-local variables: pairs of words of which the first is the function to call. */
typedef struct golib_descriptors {
    const void *slots[GOLIB_MOST_SLOTS];
    int n;
    uint32_t used;          /* bit i: slots[i] is used in the way that the scan follows */
} golib_descriptors;

extern golib_descriptors golib_described;

/* Finds how the interpreter, whose executable segments these are, calls them. -1: there are ways that are not known. */
int golib_calls_find(const void *interpreter, const golib_range *texts, int n);

/* ---- x86_code.c, a64_code.c ---- */

/* What a relocation of one type says about the slot. */
typedef enum {
    GOLIB_SLOT_IRRELEVANT,
    GOLIB_SLOT_OF_FUNCTION,     /* calls through it are recognized */
    GOLIB_SLOT_OF_DESCRIPTOR,   /* its use is recognized */
    GOLIB_SLOT_UNKNOWN          /* a thread-local address may be had through it in a way that is not */
} golib_slot_kind;

/* `is_getter`: the symbol's name is that of one of the functions. */
golib_slot_kind golib_slot_kind_of(unsigned relocation, int is_getter);

/* Finds the stubs in the text. 0: there is no room for one. */
int golib_stubs_find(const golib_range *text);

/* Is the instruction at p a call of one of these? *next is what follows. */
int golib_calls_one(const golib_callees *these, const uint8_t *p, const uint8_t **next);

/* Is a thread-local address in a register after the instruction at p? Its register, or -1; *next is what follows. */
int golib_address_made_at(const uint8_t *p, const golib_range *text, const uint8_t **next);

/* Calls `look` with each place in the text where one of the two may say yes. */
void golib_calls_each(const golib_range *text, void (*look)(const uint8_t *, const golib_range *));

#endif
