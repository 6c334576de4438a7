/* Calls of CPython's originals that would block, made so that they do not (patch_nowait.c).
 *
 *     golib_nowait once;
 *     golib_nowait_begin(&once, fd);
 *     PyObject *result = golib_original(call);
 *     golib_nowait_end(&once);
 */
#ifndef GOLIB_PATCH_NOWAIT_H
#define GOLIB_PATCH_NOWAIT_H

#include "patch_groups.h"

typedef struct golib_nowait {
    int fd;                     /* only what concerns this number does not wait */
    int wanted;                 /* GOLIB_READ or GOLIB_WRITE: what the original wanted to wait for; -1: it did not */
    int asked;                  /* how many calls came by here */
    int64_t *lent, timeout;     /* see golib_nowait_lend; NULL: nothing is */
    struct golib_nowait *outer;
} golib_nowait;

/* From here to the end nothing that the calling thread asks of the kernel for `fd` waits, by way of the libraries below. */
void golib_nowait_begin(golib_nowait *call, int fd);
void golib_nowait_end(golib_nowait *call);

/* For an original that asks a socket object once, before it gives up the GIL, whether it may wait, and repeats what would
 * block: the object says no until then. */
void golib_nowait_lend(golib_nowait *call, int64_t *timeout);

/* The libraries. */
enum { GOLIB_OF_SOCKET, GOLIB_OF_SSL, GOLIB_OF_CRYPTO, GOLIB_N_LIBRARIES };

/* Finds the words through which the library around `address` calls what may wait. */
void golib_nowait_find(int library, const void *address);
/* Fills them, and restores them; both may be done twice. */
void golib_nowait_apply(int library);
void golib_nowait_take_back(int library);
/* As golib_nowait_find, of the library of sockets, and checks that a receive with a timeout and a connect come by here. 0, or -1
 * with an exception set. */
int golib_nowait_probe_sockets(const void *address);
/* An address in the library that has OpenSSL's sockets, of which the one around `address` makes use. */
const void *golib_nowait_crypto(const void *address);

#endif
