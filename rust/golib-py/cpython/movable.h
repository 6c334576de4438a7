/* The parts of the movability test: loaded objects (libraries.c), rules for stepping from frame to frame (cfi.c; cfi_windows.c), the
 * parts of a function (parts.c), which functions of the interpreter keep thread-local addresses (tls_calls.c, tls_scan.c),
 * and which are those of buffered files (buffered_scan.c). What they ask of machine code is in code.h. */
#ifndef GOLIB_MOVABLE_H
#define GOLIB_MOVABLE_H

#include <stddef.h>
#include <stdint.h>

/* How to get from one frame to its caller's, at one return address. The CFA (canonical frame address) is the stack
 * pointer before the call; "fp" is the frame pointer register, which compilers also use for other things. */
typedef struct golib_step {
    uint8_t from_fp; /* the CFA is counted from fp, not from the callee's CFA */
    uint8_t fp_saved; /* fp was saved at CFA + fp_at; otherwise it is unchanged */
    int32_t cfa_off;
    int32_t fp_at;
    int32_t ret_at; /* the return address is at CFA + ret_at */
} golib_step;

typedef struct golib_range {
    const uint8_t *begin, *end;
} golib_range;

/* The function around pc, as far as .eh_frame knows. 0 if it does not. */
int golib_cfi_function(const void *pc, golib_range *out);
/* The step at pc (the call's own bytes, one before the return address). 0: not understood. */
int golib_cfi_step(const void *pc, golib_step *out);
/* 1: at pc, a function's frame does not exist yet, or no longer: what is there begins or ends one. */
int golib_cfi_is_bare(const void *pc);

/* The parts of the function around pc, which the compiler may have split: those that it jumps into. Count of them, the
 * first being where pc is; 0 if nothing is known. */
int golib_parts_of(const void *pc, golib_range *out, int most);

/* ---- libraries.c, libraries_windows.c ---- */

enum { GOLIB_MOST_TEXTS = 8 };

/* A loaded object, as the calling thread sees it. */
typedef struct golib_library {
    golib_range text[GOLIB_MOST_TEXTS]; /* its executable segments */
    int texts;
    char *tls; /* this thread's block of its thread-local variables; NULL: none */
    size_t tls_bytes;
} golib_library;

/* The one around an address. 0: there is none. */
int golib_library_of(const void *address, golib_library *out);
/* Its executable segments; count of them, at most `most`. In movable.c, for every system. */
int golib_text_of(const void *address, golib_range *out, int most);

/* The functions of the interpreter that may not be left to another OS thread while they run. Sets *ranges (sorted,
 * never freed); returns their number, or -1 if they cannot be found, in which case everything pins. GIL held, no lock:
 * it may run Python code. */
int golib_scan_immovable(const golib_range **ranges);

/* Those of buffered files, which may be left if the files are told whose they are (patch_file.c). As above, after it. */
int golib_scan_buffered(const golib_range **ranges);

/* ---- buffered_scan.c ---- */

/* Finds those of buffered files by their types; -1: they cannot be. GIL held. */
int golib_buffered_find(void);
/* Adds their helpers among the functions that ask for the thread, at these calls. 0: there is no room. */
int golib_buffered_add_helpers(const uint8_t *const *askers, int n);
/* Does the code at p belong to one? */
int golib_is_of_buffered(const uint8_t *p);
/* For qsort: by where they begin. */
int golib_range_compare(const void *a, const void *b);

/* Every way in which the library around an address gets thread-local addresses is one that the scan follows. GIL held.
 * For tests; the scan asks it of the interpreter. */
int golib_scan_knows(const void *address);

#endif
