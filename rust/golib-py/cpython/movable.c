/* May a goroutine resume on another OS thread?
 *
 * Only if every native frame between our entry and golib_call may. The frames are walked by their return addresses:
 * each address leads to a step (how far to the next return address) and a verdict, both found on first sight
 * (.eh_frame, and where the address lies) and kept in a table, so that a known frame costs a hash and two loads.
 *
 * | a frame of | verdict |
 * |---|---|
 * | golib_call | the end: the goroutine may move |
 * | the interpreter | movable, unless the function is on the list of tls_scan.c |
 * | a buffered file | movable if golib.patch("file") has noted all those that the goroutine is inside (patch_file.c) |
 * | what calls those (the section golib_movable) | movable |
 * | this library otherwise (a function that called back, a patched builtin) | pins: Rust may keep state of the thread
 *   |
 * | `-X perf`'s trampolines | movable |
 * | any other library, JIT code, code that cannot be walked | pins |
 *
 * # The short cut
 * golib_call enters its eval loop in one way only (call.c), so the native frames from there to the top of the stack
 * always take the same room. An eval loop's frame that ends exactly there is the outermost one: nothing foreign can be
 * above it. The room is learnt from the first walk that reaches golib_call; the top is known by the in-stack datastack
 * chunk.
 */
#include "internal.h"
#include "movable.h"
#include "patch_file.h"

#include <string.h>

enum { TABLE_BITS = 12, TABLE_SIZE = 1 << TABLE_BITS, MOST_FRAMES = 4096, MOST_TEXTS = 8, MOST_PARTS = 32 };

typedef enum { UNKNOWN, GO_ON, EVAL, INSIDE, END, PIN } verdict;

/* Where the stack of an entry's caller begins. */
static inline const char *cfa_of(const golib_caller *caller)
{
#if defined(__aarch64__)
    return caller->cfa;
#else
    return (const char *)(caller + 1);
#endif
}

/* A return address without the signature that its function may have given it. */
static inline const void *without_signature(const void *ret)
{
#if defined(__aarch64__)
    register const void *x30 __asm__("x30") = ret;
    __asm__("hint #7" : "+r"(x30));     /* xpaclri; nothing on a CPU that knows no signatures */
    return x30;
#else
    return ret;
#endif
}

typedef struct {
    const void *ret;
    golib_step step;
    uint8_t verdict;
} known;

/* Guarded by the GIL. An entry of another address in the same place is overwritten. Code of a verdict other than PIN
 * is never unloaded, so an entry stays true. */
static known table[TABLE_SIZE];

static struct {
    int ready;
    golib_range texts[MOST_TEXTS];
    int n_texts;
    const golib_range *immovable;
    int n_immovable;
    const golib_range *buffered;
    int n_buffered;
    golib_range end;        /* golib_call */
    golib_range eval[MOST_PARTS];   /* the eval loop; rarely used parts lie apart, in some builds nearly all of it */
    int n_eval;
    ptrdiff_t room;         /* from the outermost eval loop's CFA to the top of the stack; 0: not known */
} places;

static inline int is_in(const void *p, const golib_range *range)
{
    return (const uint8_t *)p >= range->begin && (const uint8_t *)p < range->end;
}

int golib_text_of(const void *address, golib_range *out, int most)
{
    golib_library library;
    int n = 0;
    if (!golib_library_of(address, &library))
        return 0;
    while (n < library.texts && n < most) {
        out[n] = library.text[n];
        n++;
    }
    return n;
}

/* At the first go() rather than at import: it looks at every byte of the interpreter's code. And not later: a walk is
 * made in the middle of a park, with the lock of what is waited for held, where no Python code may run. */
void golib_movable_prepare(void)
{
    if (places.ready)
        return;
    places.n_texts = golib_text_of((const void *)&PyEval_EvalCode, places.texts, MOST_TEXTS);
    places.n_immovable = golib_scan_immovable(&places.immovable);
    places.n_buffered = golib_scan_buffered(&places.buffered);
    golib_cfi_function((const void *)&golib_call, &places.end);
    places.n_eval = golib_parts_of((const void *)&_PyEval_EvalFrameDefault, places.eval, MOST_PARTS);
    places.ready = 1;
}

static int is_among(const void *pc, const golib_range *ranges, int n)
{
    int low = 0, high = n;
    while (low < high) {
        int mid = (low + high) / 2;
        if ((const uint8_t *)pc < ranges[mid].begin)
            high = mid;
        else if ((const uint8_t *)pc >= ranges[mid].end)
            low = mid + 1;
        else
            return 1;
    }
    return 0;
}

static int is_immovable(const void *pc)
{
    return places.n_immovable < 0 || is_among(pc, places.immovable, places.n_immovable);
}

/* Those of this library that lie in their own section (patch_file.c), whose ends the linker of ELF names. Other systems
 * patch no files. */
#if defined(__ELF__)
extern const uint8_t __start_golib_movable[], __stop_golib_movable[];
static const golib_range ours = {__start_golib_movable, __stop_golib_movable};
#else
static const golib_range ours;
#endif

static int is_eval(const void *pc)
{
    for (int i = 0; i < places.n_eval; i++) {
        if (is_in(pc, &places.eval[i]))
            return 1;
    }
    return 0;
}

static verdict judge(const void *pc)
{
    if (is_in(pc, &places.end))
        return END;
    if (is_in(pc, &ours))
        return GO_ON;
    for (int i = 0; i < places.n_texts; i++) {
        if (is_in(pc, &places.texts[i])) {
            if (is_immovable(pc))
                return PIN;
            if (is_among(pc, places.buffered, places.n_buffered))
                return INSIDE;
            return is_eval(pc) ? EVAL : GO_ON;
        }
    }
    return PIN;
}

#if GOLIB_HAS_PERF_ARENAS

/* How a frame of `-X perf`'s trampolines is left; they are in no table, but the code around the call shows it. */
static int trampoline_frame(const uint8_t *ret, golib_step *step)
{
#if defined(__x86_64__)
    static const uint8_t add_and_return[] = {0x48, 0x83, 0xc4, 0x08, 0xc3}, pop_and_return[] = {0x5d, 0xc3};
    if (ret[-2] != 0xff || ret[-1] != 0xd1)     /* call *%rcx */
        return 0;
    *step = (golib_step){.cfa_off = 16, .ret_at = -8};
    if (!memcmp(ret, add_and_return, sizeof add_and_return))
        return 1;
    step->fp_saved = 1;
    step->fp_at = -16;
    return !memcmp(ret, pop_and_return, sizeof pop_and_return);
#elif defined(__aarch64__)
    enum { BLR_X3 = 0xd63f0060, LDP_X29_X30 = 0xa8c17bfd };     /* ldp x29, x30, [sp], #16 */
    uint32_t around[2];
    memcpy(around, ret - 4, sizeof around);
    *step = (golib_step){.cfa_off = 16, .ret_at = -8, .fp_saved = 1, .fp_at = -16};
    return around[0] == BLR_X3 && around[1] == LDP_X29_X30;
#endif
}

static int trampoline_step(const uint8_t *ret, golib_step *step)
{
    int ours = 0;
    for (const struct golib_perf_arena *a = golib_perf_arenas(); a && !ours; a = a->previous) {
        if (a->next_free < a->begin || a->next_free > a->begin + a->size)
            return 0;   /* not the record that we know */
        ours = ret > a->begin && ret < a->next_free;
    }
    return ours && trampoline_frame(ret, step);
}

#else

static int trampoline_step(const uint8_t *ret, golib_step *step)
{
    (void)ret;
    (void)step;
    return 0;
}

#endif

__attribute__((noinline, cold)) static void learn(known *k, const void *ret)
{
    const void *pc = (const char *)ret - 1;     /* inside the call, which may be a function's last instruction */
    memset(k, 0, sizeof *k);
    k->ret = ret;
    k->verdict = judge(pc);
    if (k->verdict < END && !golib_cfi_step(pc, &k->step))
        k->verdict = PIN;
    else if (k->verdict == PIN && trampoline_step(ret, &k->step))
        k->verdict = GO_ON;
}

static inline known *place_of(const void *ret)
{
    uint64_t hash = (uint64_t)(uintptr_t)ret * UINT64_C(0x9e3779b97f4a7c15);
    return &table[hash >> (64 - TABLE_BITS)];
}

static inline known *look_up(const void *ret)
{
    known *k = place_of(ret);
    if (GOLIB_UNLIKELY(k->ret != ret))
        learn(k, ret);
    return k;
}

/* The in-stack chunk, which marks the top of the stack; NULL if it is not near. */
static inline const char *stack_top(const PyThreadState *ts)
{
    const _PyStackChunk *chunk = ts->datastack_chunk;
    for (int i = 0; chunk && i < 4; i++, chunk = chunk->previous) {
        if (golib_chunk_is_in_stack(chunk))
            return (const char *)chunk;
    }
    return NULL;
}

typedef enum { PINNED, WALKED, SHORT_CUT } outcome;

/* The outcome of a walk that found no reason to pin. Files that the goroutine is inside of are its own from here on, or, if
 * they are not known, those of its OS thread. */
static outcome end_walk(const PyThreadState *ts, outcome way, int inside)
{
    if (!inside)
        return way;
    golib_held **held = golib_waits_table ? golib_waits_table->held() : NULL;
    if (!held || !*held)
        return PINNED;
    golib_disown_files(*held, ts->thread_id);
    return way;
}

static outcome walk(const PyThreadState *ts, const golib_caller *caller, const void *ret, const char *top)
{
    const char *cfa = cfa_of(caller), *fp = caller->frame;
    const char *outermost = top - places.room, *last_eval = NULL;
    int inside = 0;
    for (int n = 0; n < MOST_FRAMES; n++) {
        const known *k = look_up(ret);
        if (k->verdict == END) {
            if (top && last_eval)
                places.room = top - last_eval;
            return end_walk(ts, WALKED, inside);
        }
        if (k->verdict == PIN)
            return PINNED;
        inside |= k->verdict == INSIDE;
        const char *next = (k->step.from_fp ? fp : cfa) + k->step.cfa_off;
        if (next <= cfa)
            return PINNED;
        if (k->verdict == EVAL) {
            if (next == outermost && top)
                return end_walk(ts, SHORT_CUT, inside);
            last_eval = next;
        }
        if (k->step.fp_saved)
            fp = *(const char *const *)(next + k->step.fp_at);
        ret = without_signature(*(const void *const *)(next + k->step.ret_at));
        cfa = next;
    }
    return PINNED;
}

static uint64_t counts[3];

void golib_movable_counts(uint64_t out[3])
{
    out[0] = counts[SHORT_CUT];
    out[1] = counts[WALKED];
    out[2] = counts[PINNED];
}

__attribute__((noinline)) static int walk_all(PyThreadState *ts, const golib_caller *caller, const void *ret)
{
    outcome way = GOLIB_LIKELY(places.ready) ? walk(ts, caller, ret, stack_top(ts)) : PINNED;
    counts[way]++;
    return way != PINNED;
}

int golib_may_migrate(PyThreadState *ts, void *frame_address, void *return_address)
{
    const golib_caller *caller = frame_address;
    return_address = (void *)without_signature(return_address);
    if (GOLIB_UNLIKELY(!caller || golib_owns_warnings(ts))) {
        counts[PINNED]++;   /* the caller is unknown, or the thread's lock is held */
        return 0;
    }
    const known *k = place_of(return_address);
    const _PyStackChunk *chunk = ts->datastack_chunk;
    /* The common case, without a walk: called by the outermost eval loop. */
    if (GOLIB_LIKELY(k->ret == return_address && k->verdict == EVAL && golib_chunk_is_in_stack(chunk))) {
        const char *cfa = (k->step.from_fp ? (const char *)caller->frame : cfa_of(caller)) + k->step.cfa_off;
        if (GOLIB_LIKELY(cfa == (const char *)chunk - places.room)) {
            counts[SHORT_CUT]++;
            return 1;
        }
    }
    return walk_all(ts, caller, return_address);
}
