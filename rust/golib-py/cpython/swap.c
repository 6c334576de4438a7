/* Which thread state is attached: attach, detach, and the cheap swap.
 *
 * PyThreadState_Swap costs 50 ns from 3.12 on, because it releases and retakes the GIL. While an OS thread goes from one
 * goroutine to the next nothing of that is needed: golib_ts_swap writes the same fields that detach and attach would
 * leave behind, and goes the long way only when somebody has asked for something.
 *
 * # What a swap must keep (CPython's detach + attach, less the GIL)
 * 1. the current-state slot, `state`, `active`, `holds_gil`; the binding (PyGILState_Check compares the two).
 * 2. gil->last_holder: a waiter that times out puts its request into last_holder's eval_breaker (3.13+). switch_number
 *    stays: waiters ask only if it has not changed, so bumping it here would starve them.
 * 3. the copy of the instrumentation version in eval_breaker, and pending calls (3.13+); async exceptions (3.11, 3.12).
 *
 * # Requests to drop the GIL (3.13+)
 * A waiter reads last_holder and sets the bit under gil->mutex, while we move last_holder without it. So the request may
 * land in a state that has just been swapped out. `from` is looked at again after last_holder has moved: a bit found
 * there is handed on to `to` (nobody has released the GIL in between, so the waiter still waits). What slips through even
 * that is found when the state comes back: then nobody may be waiting any more, so the GIL is released without CPython's
 * forced switch (which would wait for a taker for ever) and a taker gets a bounded time.
 *
 * # Manners
 * CPython's GIL is unfair to a thread that wants it often and briefly: a waiter that asks goes back to the end of the
 * queue, so beside two threads that never wait for anything a sleeper's 1 ms becomes 10 to 30 ms at the median and 100 ms
 * in the tail (measured with threads alone, all versions). Goroutines are one of the two. So the OS thread that swaps
 * goroutines gives the GIL up by itself shortly before a waiter's patience ends (GIVE_PERCENT of the switch interval), and
 * queues again only after each of those who waited has had it (sit_out); also when the eval loop was asked first and got
 * the GIL back before them (seen_switches), and it lets a waiter pass that it overtook at the holder's release.
 *
 * Rejected: taking gil->mutex at each swap (25 ns); broadcasting gil->cond (the winner is random, the tail stays).
 */
#include "internal.h"

#include <dlfcn.h>
#include <link.h>
#include <time.h>

/* ---- the slot ---- */

static inline char *thread_pointer(void)
{
#if defined(__x86_64__)
    char *tp;
    __asm__("movq %%fs:0, %0" : "=r"(tp));
    return tp;
#elif defined(__aarch64__)
    char *tp;
    __asm__("mrs %0, tpidr_el0" : "=r"(tp));
    return tp;
#else
#error "no thread pointer known for this CPU"
#endif
}

#if !GOLIB_BOUND_IN_SLOT
static void find_tss_slot(void);
#endif

#if GOLIB_HAS_TLS_SLOT

/* Byte offset of CPython's thread-local current-state pointer from the thread pointer; 0: not known. It is the same in
 * every thread because the variable lies in the static TLS block (checked: it is near the thread pointer), and attach
 * checks it again on each OS thread. */
static ptrdiff_t slot_offset;

#if GOLIB_BOUND_IN_SLOT
/* The same for the bound state. */
static ptrdiff_t bound_offset;
#endif

static inline PyThreadState **slot(void)
{
    return (PyThreadState **)(thread_pointer() + slot_offset);
}

struct tls_search {
    ElfW(Addr) code;        /* an address inside the module that holds CPython */
    char *begin, *end;      /* its TLS block on this thread */
};

static int find_tls_block(struct dl_phdr_info *module, size_t size, void *arg)
{
    struct tls_search *search = arg;
    size_t tls_size = 0;
    int ours = 0;
    (void)size;
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &module->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && search->code - (module->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            ours = 1;
        if (ph->p_type == PT_TLS)
            tls_size = ph->p_memsz;
    }
    if (!ours)
        return 0;
    if (module->dlpi_tls_data && tls_size) {
        search->begin = module->dlpi_tls_data;
        search->end = search->begin + tls_size;
    }
    return 1;
}

/* Looks for the word of CPython's TLS block that holds `now`, holds `other` while that one is current, and nothing while
 * none is. The word that keeps `other` then is the bound state. */
static void find_slots(PyThreadState *now, PyThreadState *other)
{
    enum { MOST = 16, FARTHEST = 65536 };
    struct tls_search search = {.code = (ElfW(Addr))&PyThreadState_Get};
    PyThreadState **candidates[MOST];
    int n = 0, current = 0, bound = 0;
    ptrdiff_t current_at = 0, bound_at = 0;

    dl_iterate_phdr(find_tls_block, &search);
    /* A block far from the thread pointer is not static TLS: another thread's would be elsewhere. */
    if (!search.begin || llabs(search.begin - thread_pointer()) > FARTHEST)
        return;
    for (PyThreadState **p = (PyThreadState **)search.begin; (char *)(p + 1) <= search.end; p++) {
        if (*p == now && n < MOST)
            candidates[n++] = p;
    }
    golib_mark_bound(other, 0);
    PyThreadState_Swap(other);
    for (int i = 0; i < n; i++) {
        if (*candidates[i] != other)
            candidates[i] = NULL;
    }
    PyThreadState_Swap(NULL);
    for (int i = 0; i < n; i++) {
        if (candidates[i] && *candidates[i] == NULL) {
            current_at = (char *)candidates[i] - thread_pointer();
            current++;
        }
        else if (candidates[i] && *candidates[i] == other) {
            bound_at = (char *)candidates[i] - thread_pointer();
            bound++;
        }
    }
    golib_mark_bound(now, 0);
    PyThreadState_Swap(now);
    if (current == 1)
        slot_offset = current_at;
#if GOLIB_BOUND_IN_SLOT
    if (bound == 1)
        bound_offset = bound_at;
    else
        slot_offset = 0;
#else
    (void)bound;
    (void)bound_at;
#endif
}

int golib_swap_init(void)
{
    PyThreadState *now = PyThreadState_Get();
    if (slot_offset)
        return 0;
    PyThreadState *probe = PyThreadState_New(PyInterpreterState_Main());
    if (!probe) {
        PyErr_NoMemory();
        return -1;
    }
    find_slots(now, probe);
    golib_ts_delete(probe);
#if !GOLIB_BOUND_IN_SLOT
    find_tss_slot();
#endif
#if GOLIB_BOUND_IN_SLOT
    if (!bound_offset) {
        PyErr_SetString(PyExc_ImportError, "golib cannot find where this CPython keeps a thread's state");
        return -1;
    }
#endif
    return 0;
}

int golib_swap_is_direct(void)
{
    return slot_offset != 0;
}

PyThreadState *golib_ts_current(void)
{
    if (GOLIB_LIKELY(slot_offset != 0))
        return *slot();
#if PY_VERSION_HEX >= 0x030d0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

#else /* 3.11: one slot for the process */

static inline PyThreadState **slot(void)
{
    return (PyThreadState **)&_PyRuntime.gilstate.tstate_current;
}

int golib_swap_init(void)
{
    find_tss_slot();
    return 0;
}

int golib_swap_is_direct(void)
{
    return 1;
}

/* The slot belongs to whoever holds the GIL; the caller must. */
PyThreadState *golib_ts_current(void)
{
    return __atomic_load_n(slot(), __ATOMIC_RELAXED);
}

#endif

/* ---- attach and detach ---- */

#if GOLIB_BOUND_IN_SLOT

static inline void set_bound(PyThreadState *ts)
{
    *(PyThreadState **)(thread_pointer() + bound_offset) = ts;
}

PyThreadState *golib_bound(void)
{
    return *(PyThreadState **)(thread_pointer() + bound_offset);
}

#else

/* Byte offset from the thread pointer of the word in which glibc keeps the value of CPython's key, the same in every thread
 * for the first keys of a process; 0: not known. A swap writes it (pthread_setspecific: 35 instructions and a call through
 * the PLT); the first bind on an OS thread goes through glibc, which notes there that the key is in use. */
static ptrdiff_t tss_offset;

static inline void set_bound(PyThreadState *ts)
{
    pthread_setspecific(golib_tss_key(), ts);
}

PyThreadState *golib_bound(void)
{
    return pthread_getspecific(golib_tss_key());
}

/* Looks for the one word of the C library's record of this thread that follows what the key is set to. */
static void find_tss_slot(void)
{
#if defined(__x86_64__) && defined(__GLIBC__)
    enum { RECORD_BYTES = 1536 };   /* the inline table of the first 32 keys lies before that */
    static char marks[2];
    PyThreadState *bound = golib_bound();
    ptrdiff_t found = 0;
    int n = 0;
    for (ptrdiff_t at = 0; at < RECORD_BYTES; at += (ptrdiff_t)sizeof(void *)) {
        void *volatile *word = (void *volatile *)(thread_pointer() + at);
        pthread_setspecific(golib_tss_key(), &marks[0]);
        int follows = *word == &marks[0];
        pthread_setspecific(golib_tss_key(), &marks[1]);
        if (follows && *word == &marks[1]) {
            found = at;
            n++;
        }
    }
    set_bound(bound);
    if (n == 1)
        tss_offset = found;
#endif
}

#endif

/* Binds `ts` where something is bound already. */
static inline __attribute__((always_inline)) void rebind(PyThreadState *ts)
{
#if !GOLIB_BOUND_IN_SLOT
    if (GOLIB_LIKELY(tss_offset)) {
        *(PyThreadState **)(thread_pointer() + tss_offset) = ts;
        return;
    }
#endif
    set_bound(ts);
}

void golib_bind(PyThreadState *ts)
{
    set_bound(ts);
    if (ts)
        golib_mark_bound(ts, 1);
}

/* What a swap remembers about the others; guarded by the GIL. */
static struct {
    /* gil->switch_number as we left it. A difference: the eval loop has released the GIL and taken it again since. */
    unsigned long seen_switches;
    /* Swaps since such a difference was noticed: whoever has just lost the GIL takes a while to queue again. */
    unsigned looks;
    /* When a waiter was first seen, CLOCK_MONOTONIC; 0: none is. */
    uint64_t waiting_since_ns;
} manners;

enum { MOST_LOOKS = 10000, GIVE_PERCENT = 80 };

void golib_ts_attach(PyThreadState *ts)
{
    golib_mark_bound(ts, 0);    /* CPython binds what is not marked */
    PyEval_RestoreThread(ts);
#if GOLIB_HAS_TLS_SLOT
    if (GOLIB_UNLIKELY(slot_offset && *slot() != ts))
        slot_offset = 0;
#else
    golib_bind(ts);
#endif
#if !GOLIB_BOUND_IN_SLOT
    if (GOLIB_UNLIKELY(tss_offset && *(PyThreadState **)(thread_pointer() + tss_offset) != ts))
        tss_offset = 0;
#endif
    manners.seen_switches = golib_gil(ts->interp)->switch_number;
    manners.looks = 0;
    manners.waiting_since_ns = 0;
    if (GOLIB_UNLIKELY(ts == golib_main.state))
        golib_main_comes();
}

void golib_ts_detach(PyThreadState *ts)
{
    if (GOLIB_UNLIKELY(ts == golib_main.state))
        golib_main_goes();
    /* Before the GIL goes: afterwards the state may be attached elsewhere at any time. */
    golib_mark_bound(ts, 0);
    golib_bind(NULL);
    PyEval_SaveThread();
}

PyThreadState *golib_thread_save(void)
{
    return PyEval_SaveThread();
}

void golib_thread_restore(PyThreadState *ts)
{
    golib_ts_attach(ts);
}

/* ---- the swap, when somebody wants something ---- */

/* How many threads wait for the GIL: glibc counts the users of a condition variable. Elsewhere nobody seems to. */
static unsigned waiters(struct _gil_runtime_state *gil)
{
#if defined(__GLIBC__)
    return __atomic_load_n(&gil->cond.__data.__wrefs, __ATOMIC_RELAXED) >> 3;
#else
    (void)gil;
    return 0;
#endif
}

/* GIL not held: returns when it has changed hands `turns` times since `start`, is free, or they have had their time. */
static void sit_out(struct _gil_runtime_state *gil, unsigned long start, unsigned turns)
{
    enum { POLL_US = 100, SLACK_US = 1000, FREE_POLLS = 2 };
    unsigned long polls = turns * ((gil->interval + SLACK_US) / POLL_US);
    int idle = 0;
    while (polls-- > 0 && idle < FREE_POLLS) {
        if (__atomic_load_n(&gil->switch_number, __ATOMIC_RELAXED) - start >= turns)
            return;
        idle = golib_gil_word(gil) ? 0 : idle + 1;
        struct timespec pause = {0, POLL_US * 1000};
        nanosleep(&pause, NULL);
    }
}

/* Somebody asks for the GIL, and waits until it gets it. */
static inline int is_asked(PyThreadState *from)
{
#if GOLIB_DROP_BIT_IN_STATE
    return (__atomic_load_n(&from->eval_breaker, __ATOMIC_RELAXED) & _PY_GIL_DROP_REQUEST_BIT) != 0;
#else
    return __atomic_load_n((int *)&from->interp->ceval.gil_drop_request, __ATOMIC_RELAXED);
#endif
}

/* A request that was meant for an earlier run of `to`. */
static inline int has_stale_request(PyThreadState *to)
{
#if GOLIB_DROP_BIT_IN_STATE
    return is_asked(to);
#else
    (void)to;
    return 0;
#endif
}

/* What take_gil would tell `to`, and a swap does not. */
static inline int has_news(PyThreadState *to)
{
#if GOLIB_DROP_BIT_IN_STATE
    struct _ceval_state *ceval = &to->interp->ceval;
    uintptr_t version = __atomic_load_n(&ceval->instrumentation_version, __ATOMIC_RELAXED);
    return ((__atomic_load_n(&to->eval_breaker, __ATOMIC_RELAXED) ^ version) & ~(uintptr_t)_PY_EVAL_EVENTS_MASK) ||
           __atomic_load_n(&ceval->pending.npending, __ATOMIC_RELAXED);
#else
    /* Announced by a flag of the interpreter's, which take_gil sets again. */
    return to->async_exc != NULL;
#endif
}

/* Somebody has waited nearly long enough to ask. */
static int is_time_to_give(struct _gil_runtime_state *gil)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (!manners.waiting_since_ns)
        manners.waiting_since_ns = now_ns;
    return now_ns - manners.waiting_since_ns >= (uint64_t)gil->interval * (1000 * GIVE_PERCENT / 100);
}

static void swap_stores(struct _gil_runtime_state *gil, PyThreadState *from, PyThreadState *to);

__attribute__((noinline, cold)) static void swap_slowly(PyThreadState *from, PyThreadState *to)
{
    struct _gil_runtime_state *gil = golib_gil(from->interp);
    unsigned long start = gil->switch_number;
    unsigned others = waiters(gil);
    int asked = is_asked(from), stale = has_stale_request(to);
    int lost = start != manners.seen_switches && others >= 2;
    int give = others && is_time_to_give(gil);

    if (start != manners.seen_switches && ++manners.looks == MOST_LOOKS) {
        manners.seen_switches = start;
        manners.looks = 0;
    }
    if (!others)
        manners.waiting_since_ns = 0;
    if (!asked && !stale && !lost && !give && !has_news(to) && golib_swap_is_direct()) {
        swap_stores(gil, from, to);
        return;
    }
    golib_ts_detach(from);  /* if asked, this returns when somebody has taken the GIL */
    if (others >= 2 && (asked || stale || lost || give))
        sit_out(gil, start, others);
    else if (!asked && (stale || give))
        sit_out(gil, start, 1);
    golib_ts_attach(to);    /* take_gil clears the stale request */
    if (waiters(gil) && gil->switch_number - start > 1) {
        /* Who waits at this instant asked before the last holder let go, and we were faster. */
        start = gil->switch_number;
        golib_ts_detach(to);
        sit_out(gil, start, 1);
        golib_ts_attach(to);
    }
}

/* ---- the swap ---- */

/* What detach and attach would leave behind. `from` first, so that the compiler merges the stores to its bits. */
static inline __attribute__((always_inline)) void swap_stores(struct _gil_runtime_state *gil, PyThreadState *from,
                                                              PyThreadState *to)
{
#if GOLIB_HAS_TLS_SLOT
    from->_status.active = 0;
    from->_status.bound_gilstate = 0;
#endif
#if GOLIB_DROP_BIT_IN_STATE
    GOLIB_SET_HOLDS_GIL(from, 0);
    from->state = _Py_THREAD_DETACHED;
#endif
#if GOLIB_HAS_TLS_SLOT
    to->_status.active = 1;
    to->_status.bound_gilstate = 1;
#endif
#if GOLIB_DROP_BIT_IN_STATE
    GOLIB_SET_HOLDS_GIL(to, 1);
    to->state = _Py_THREAD_ATTACHED;
#endif
    __atomic_store_n(slot(), to, __ATOMIC_RELAXED);
    rebind(to);
    __atomic_store_n((PyThreadState **)&gil->last_holder, to, __ATOMIC_RELAXED);
#if GOLIB_DROP_BIT_IN_STATE
    if (GOLIB_UNLIKELY(is_asked(from))) {
        __atomic_fetch_and(&from->eval_breaker, ~(uintptr_t)_PY_GIL_DROP_REQUEST_BIT, __ATOMIC_RELAXED);
        __atomic_fetch_or(&to->eval_breaker, (uintptr_t)_PY_GIL_DROP_REQUEST_BIT, __ATOMIC_RELAXED);
    }
#endif
    golib_main_swapped(from, to);
}

int golib_ts_swap_at_once(PyThreadState *from, PyThreadState *to)
{
    struct _gil_runtime_state *gil = golib_gil(from->interp);
    unsigned long switches = __atomic_load_n(&gil->switch_number, __ATOMIC_RELAXED);
    /* One sum and one branch: all of it is nearly always 0. */
    uint64_t reasons = (uint64_t)is_asked(from) | (uint64_t)has_stale_request(to) | (uint64_t)has_news(to) |
                       waiters(gil) | manners.waiting_since_ns | (switches ^ manners.seen_switches);
    if (GOLIB_UNLIKELY(reasons || !golib_swap_is_direct()))
        return 0;
    swap_stores(gil, from, to);
    return 1;
}

void golib_ts_swap(PyThreadState *from, PyThreadState *to)
{
    if (!golib_ts_swap_at_once(from, to))
        swap_slowly(from, to);
}
