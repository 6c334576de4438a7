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
/* Returns after gil->mutex was free once: any thread that had read last_holder before has finished with it. */
void golib_gil_settle(PyInterpreterState *interp);
/* Keeps freed chunks of Python frames for reuse; idempotent. GIL held. */
void golib_arena_install(void);
/* Frees a chunk that CPython has unlinked. GIL held. */
void golib_arena_give_back(_PyStackChunk *chunk);
int golib_call_init(void);
int golib_fork_init(void);

extern const golib_runtime *golib_runtime_table;

/* See main_thread.c. */
typedef struct golib_main_record {
    PyThreadState *state;           /* of run()'s main goroutine; NULL: nobody stands in for the main thread */
    unsigned long thread;           /* the OS thread that it runs on; 0 while it is parked */
    int is_back;                    /* the main thread has its part back for a moment */
    unsigned long main_thread;      /* the main thread itself, and its state */
    PyThreadState *main_state;
} golib_main_record;

extern golib_main_record golib_main;

/* In a forked child: its only thread, on which `ts` is attached, is the main thread, and the goroutine of `ts` stays
 * on it. */
void golib_main_after_fork(PyThreadState *ts);

/* `golib_main.state` resumes, attached on this OS thread; or it is about to leave the thread. */
static inline void golib_main_comes(void)
{
    golib_main.thread = golib_this_thread();
    if (GOLIB_LIKELY(!golib_main.is_back)) {
        _PyRuntime.main_thread = golib_main.thread;
        GOLIB_MAIN_ATTACHED(golib_main.state);
    }
}

static inline void golib_main_goes(void)
{
    golib_main.thread = 0;
    _PyRuntime.main_thread = golib_main.main_thread;
}

/* To be called wherever one goroutine's state is attached for another's. */
static inline __attribute__((always_inline)) void golib_main_swapped(PyThreadState *from, PyThreadState *to)
{
    PyThreadState *state = golib_main.state;
    if (GOLIB_UNLIKELY(to == state))
        golib_main_comes();
    else if (GOLIB_UNLIKELY(from == state))
        golib_main_goes();
}

#endif
