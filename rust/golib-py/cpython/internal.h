/* Shared by the files of the shim, not for others. */
#ifndef GOLIB_INTERNAL_H
#define GOLIB_INTERNAL_H

#include "versions.h"

#include "golib_shim.h"

#define GOLIB_LIKELY(x) __builtin_expect(!!(x), 1)
#define GOLIB_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Is this chunk of Python frames one that golib_ts_arm put into a C stack? CPython's own are larger. */
static inline int golib_chunk_is_in_stack(const _PyStackChunk *chunk)
{
    enum { CPYTHON_CHUNK_BYTES = 16 * 1024 };
    return chunk && chunk->size < CPYTHON_CHUNK_BYTES;
}

/* Finds the current-thread-state slot; 0 always (without a slot every swap goes through CPython). GIL held. */
int golib_swap_init(void);
/* Binds `ts` to this OS thread, or nothing if NULL. */
void golib_bind(PyThreadState *ts);
/* The state bound to this OS thread, or NULL. */
PyThreadState *golib_bound(void);
/* Returns after gil->mutex was free once: whoever read last_holder before is done with it. */
void golib_gil_settle(PyInterpreterState *interp);
/* Keeps freed chunks of Python frames for reuse; idempotent. GIL held. */
void golib_arena_install(void);
/* Frees a chunk that CPython has unlinked. GIL held. */
void golib_arena_give_back(_PyStackChunk *chunk);
int golib_call_init(void);
int golib_fork_init(void);

extern const golib_host *golib_host_table;

#endif
