/* Memory for Python's frames, kept for the next use.
 *
 * CPython keeps Python frames in chunks of 16 KiB. A call that does not fit the current chunk maps another one, and
 * its return unmaps it: 10 us for what otherwise takes 30 ns, at each call across that edge. A thread's first edge is
 * a hundred calls deep; a goroutine's first chunk is small (tstate.c), so its edge lies where ordinary programs work.
 * Chunks come from the allocator of arenas, so that allocator keeps a few freed chunks, for all goroutines and
 * threads.
 *
 * Newer releases of CPython keep one chunk in each state (GOLIB_CACHES_CHUNK). It goes into the list too at a
 * goroutine's end: states are pooled.
 *
 * Rejected: a larger first chunk in the goroutine's stack. Pages that a deep call touched there would stay with the
 * goroutine until its end; a chunk is returned when the call returns.
 *
 * # Invariant
 * The list is used only with the main interpreter's GIL held. Other interpreters may have a GIL of their own, and
 * CPython frees the last chunk of a thread state without one: such calls bypass the list.
 */
#include "internal.h"

enum {
    CHUNK_BYTES = 16 * 1024,    /* CPython's DATA_STACK_CHUNK_SIZE, which no header has */
    MOST_KEPT = 32,
};

/* A kept chunk; the first page of each is warm. */
typedef struct kept {
    struct kept *next;
} kept;

static PyObjectArenaAllocator below;
static PyInterpreterState *main_interpreter;
static kept *newest;
static int n_kept;

static inline int has_the_gil(void)
{
    PyThreadState *ts = golib_ts_current();
#if GOLIB_HAS_TLS_SLOT
    return ts && ts->interp == main_interpreter;
#else
    /* The slot is shared by all interpreters. */
    return ts && ts->interp == main_interpreter && golib_bound() == ts;
#endif
}

static void *arena_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    if (bytes == CHUNK_BYTES && newest && has_the_gil()) {
        kept *chunk = newest;
        newest = chunk->next;
        n_kept--;
        return chunk;
    }
    return below.alloc(below.ctx, bytes);
}

static void arena_free(void *ctx, void *at, size_t bytes)
{
    (void)ctx;
    if (bytes == CHUNK_BYTES && n_kept < MOST_KEPT && has_the_gil()) {
        kept *chunk = at;
        chunk->next = newest;
        newest = chunk;
        n_kept++;
        return;
    }
    below.free(below.ctx, at, bytes);
}

void golib_arena_give_back(_PyStackChunk *chunk)
{
    PyObjectArenaAllocator now;
    PyObject_GetArenaAllocator(&now);
    now.free(now.ctx, chunk, chunk->size);
}

void golib_arena_install(void)
{
    if (main_interpreter)
        return;
    main_interpreter = PyInterpreterState_Main();
    PyObject_GetArenaAllocator(&below);
    PyObjectArenaAllocator ours = {NULL, arena_alloc, arena_free};
    PyObject_SetArenaAllocator(&ours);
}
