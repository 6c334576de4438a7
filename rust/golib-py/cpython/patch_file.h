/* The buffered files that a goroutine is inside of. */
#ifndef GOLIB_PATCH_FILE_H
#define GOLIB_PATCH_FILE_H

#include "patch_fds.h"

/* One of them; the list lies on the goroutine's stack, innermost first. */
typedef struct golib_held {
    PyObject *file;
    struct golib_held *next;
} golib_held;

/* The offset, in a buffered file, of the OS thread that is inside. */
extern const size_t golib_buffered_owner;

/* The goroutine with this ident parks inside these files: they are the goroutine's, and no OS thread's. */
void golib_disown_files(const golib_held *held, unsigned long ident);

#endif
