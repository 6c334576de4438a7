/* The thread state of each goroutine: how it is made and armed, and its first chunk of Python frames.
 *
 * # The first datastack chunk
 * CPython keeps Python frames in chunks of 16 KiB that it maps one by one. A goroutine's first chunk lies in the top
 * page of its C stack instead, so that a parked goroutine costs one page, and two system calls less. CPython never
 * frees the root chunk while the state lives; it would when the state is cleared (invariant 4 of golib_shim.h).
 * golib's differs from CPython's by its size. leftovers.c empties a state at its goroutine's end.
 */
#include "internal.h"

#if GOLIB_HAS_STACK_LIMITS
#include <dlfcn.h>
#endif

enum {
    /* Room for the frames of a goroutine that waits ten calls deep. The rest of the page is for its C frames: select
     * with a timeout takes the most (2.5 KiB, measured without link-time optimization). */
    CHUNK_BYTES = 1504,
    /* The hungriest recursion there is, nested sorted(key=...), takes 1.7 KiB a level of 3.11's one limit and up to 4
     * KiB a level of the later versions' limit for C (measured). 3.11's default limit of 1000 then fits 2 MiB. */
    C_LEVEL_BYTES = 4 * 1024,
    WHOLE_RECURSION_BYTES = 2 * 1024 * 1024,
};

#if GOLIB_HAS_C_RECURSION
/* The values that CPython gives a new state. */
static int c_recursion_limit;
#endif

PyThreadState *golib_ts_new(void)
{
    /* PyThreadState_New binds the new state to this OS thread if nothing is bound yet. */
    PyThreadState *bound = golib_bound();
    PyThreadState *ts = PyThreadState_New(PyInterpreterState_Main());
    if (!ts)
        return NULL;
    if (!bound) {
        golib_mark_bound(ts, 0);
        golib_bind(NULL);
    }
    /* As for a thread that Python started: PyGILState_Release must not delete it. */
    if (ts->gilstate_counter < 1)
        ts->gilstate_counter = 1;
    /* CPython gave it the ident of this OS thread, whose own state PyThreadState_SetAsyncExc would then miss. */
    ts->thread_id = golib_ident_of_nobody();
#if GOLIB_HAS_C_RECURSION
    c_recursion_limit = ts->c_recursion_remaining;
#endif
    return ts;
}

void golib_ts_set_ident(PyThreadState *ts, unsigned long ident)
{
    ts->thread_id = ident;
}

unsigned long golib_ts_ident(PyThreadState *ts)
{
    return ts->thread_id;
}

/* ---- arming ---- */

#if GOLIB_HAS_STACK_LIMITS

typedef int (*set_stack_protection)(PyThreadState *, void *, size_t);

static void set_limits(PyThreadState *ts, char *lo, char *hi)
{
    /* The first releases of 3.14 lack it; then the fields themselves are set, with CPython's margins. */
    static set_stack_protection set;
    static int looked;
    if (!looked) {
        set = (set_stack_protection)dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_SetStackProtection");
        looked = 1;
    }
    if (set && set(ts, lo, (size_t)(hi - lo)) == 0)
        return;
    _PyThreadStateImpl *impl = golib_private_part(ts);
    impl->c_stack_top = (uintptr_t)hi;
    impl->c_stack_hard_limit = (uintptr_t)lo + _PyOS_STACK_MARGIN_BYTES;
    impl->c_stack_soft_limit = (uintptr_t)lo + _PyOS_STACK_MARGIN_BYTES * 2;
}

#elif GOLIB_HAS_C_RECURSION

static void set_limits(PyThreadState *ts, char *lo, char *hi)
{
    size_t levels = (size_t)(hi - lo) / C_LEVEL_BYTES;
    ts->c_recursion_remaining = levels < (size_t)c_recursion_limit ? (int)levels : c_recursion_limit;
}

#else

/* C calls count together with Python's: on a small stack sys.getrecursionlimit() is not reached. */
static void set_limits(PyThreadState *ts, char *lo, char *hi)
{
    size_t bytes = (size_t)(hi - lo), limit = (size_t)ts->recursion_limit;
    ts->recursion_remaining = (int)(bytes < WHOLE_RECURSION_BYTES ? limit * bytes / WHOLE_RECURSION_BYTES : limit);
}

#endif

char *golib_ts_arm(PyThreadState *ts, char *stack_lo, char *stack_hi)
{
    char *top = stack_hi - CHUNK_BYTES;
    set_limits(ts, stack_lo, stack_hi);
    if (ts->datastack_chunk && !golib_chunk_is_in_stack(ts->datastack_chunk))
        return stack_hi;    /* a root chunk of CPython's own serves as well */
    _PyStackChunk *chunk = (_PyStackChunk *)top;
    chunk->previous = NULL;
    chunk->size = CHUNK_BYTES;
    chunk->top = 0;
    ts->datastack_chunk = chunk;
    ts->datastack_top = &chunk->data[1];    /* CPython leaves the root's first word free, never to pop the root */
    ts->datastack_limit = (PyObject **)stack_hi;
    return (char *)((uintptr_t)top & ~(uintptr_t)15);
}

/* ---- unlinking ---- */

void golib_ts_unlink_chunk(PyThreadState *ts)
{
    _PyStackChunk *chunk = ts->datastack_chunk;
    if (!chunk)
        return;
    if (golib_chunk_is_in_stack(chunk)) {
        ts->datastack_chunk = NULL;
        ts->datastack_top = NULL;
        ts->datastack_limit = NULL;
        return;
    }
    while (chunk->previous && !golib_chunk_is_in_stack(chunk->previous))
        chunk = chunk->previous;
    chunk->previous = NULL;
}

void golib_ts_unlink_all(PyThreadState *except)
{
    PyInterpreterState *interp = PyInterpreterState_Main();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts; ts = ts->next) {
        if (ts != except)
            golib_ts_unlink_chunk(ts);
    }
}

/* fork() runs this in the parent before it forks. */
static void in_forking_parent(void)
{
    if (golib_runtime_table->before_fork)
        golib_runtime_table->before_fork();
}

/* fork() runs this in the child before CPython deletes the other threads' states there, which runs finalizers, and
 * before any hook of os.register_at_fork(). Until CPython has made the GIL anew there, no other thread may ask for it.
 */
static void in_forked_child(void)
{
    if (golib_runtime_table->after_fork)
        golib_runtime_table->after_fork();
    /* A C library may fork without the GIL. On 3.11 the current state is then another thread's. */
    PyThreadState *current = golib_ts_current();
    if (!current || current != golib_bound() || current->interp != PyInterpreterState_Main())
        return;
    golib_ts_unlink_all(current);
    golib_main_after_fork(current);
}

int golib_fork_init(void)
{
    static int registered;
    if (registered)
        return 0;
    if (golib_at_fork(in_forking_parent, in_forked_child) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    registered = 1;
    return 0;
}
