/* Which functions of the interpreter must not be left to another OS thread while they run.
 *
 * 1. Those that keep a thread-local address (of the current state, of errno) in a saved register or in memory across a
 *    call: after the call they would use the old thread's variable. Compilers do that where the address is worth keeping:
 *    in shared builds of 3.12+, where it takes a call to find, and on aarch64. Found by following each such address through the
 *    machine code until it is dead; a function in which that cannot be followed counts too.
 * 2. Those that ask which OS thread they run on, found by the calls that ask. The eval loop asks too (3.11), but keeps no
 *    answer. Those of buffered files are listed apart (buffered_scan.c).
 *
 * Found once, at the first go(): two milliseconds for the bytes of the interpreter's text.
 */
#include "internal.h"
#include "tls_calls.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_RANGES = 4096, MOST_STATES = 2048, MOST_TEXTS = 8, MOST_ASKERS = 512, MOST_PARTS = 32 };

typedef struct {
    golib_range ranges[MOST_RANGES];
    int n;
} range_list;

/* Functions; and calls that an address outlives, in functions that may be left at others. */
static range_list found, calls;
/* A list had no room for a range. */
static int is_full;

static void add(range_list *list, golib_range range)
{
    for (int i = list->n; i-- > 0;) {
        if (list->ranges[i].begin == range.begin)
            return;
    }
    if (list->n == MOST_RANGES)
        is_full = 1;
    else
        list->ranges[list->n++] = range;
}

/* Places to follow an address from, with the registers that hold it there. */
typedef struct {
    struct {
        const uint8_t *at;
        uint32_t tainted;
    } all[MOST_STATES];
    int n, done;
} worklist;

/* 0: there is no room. */
static int follow_later(worklist *work, const uint8_t *at, uint32_t tainted)
{
    for (int i = 0; i < work->n; i++) {
        if (work->all[i].at == at && (work->all[i].tainted | tainted) == work->all[i].tainted)
            return 1;
    }
    if (work->n == MOST_STATES)
        return 0;
    work->all[work->n].at = at;
    work->all[work->n++].tainted = tainted;
    return 1;
}

/* Takes the next place that is left. 0: there is none. */
static int follow_next(worklist *work, const uint8_t **at, uint32_t *tainted)
{
    if (work->done == work->n)
        return 0;
    *at = work->all[work->done].at;
    *tainted = work->all[work->done++].tainted;
    return 1;
}

/* The instruction at p; 0: the address cannot be followed past it. */
static int decode_within(const uint8_t *p, uint32_t tainted, const golib_range *text, golib_insn *in)
{
    if (p < text->begin || p + 16 > text->end)
        return 0;
    *in = golib_decode(p, text->end, tainted);
    return in->length && !in->spilled && in->flow != GOLIB_UNKNOWN_JUMP;
}

/* Are these registers read from `at` on? They hold an address across a call. */
static int is_read_after(const uint8_t *at, uint32_t tainted, const golib_range *text)
{
    static worklist work;
    const uint8_t *p;
    golib_insn in;
    work.n = work.done = 0;
    follow_later(&work, at, tainted);
    while (follow_next(&work, &p, &tainted)) {
        while (tainted) {
            if (!decode_within(p, tainted, text, &in) || in.is_read)
                return 1;
            tainted = in.tainted & (in.flow == GOLIB_CALL ? GOLIB_SAVED_BY_CALLEE : ~0u);
            if (in.target && !follow_later(&work, in.target, tainted))
                return 1;
            if (in.flow == GOLIB_JUMP || in.flow == GOLIB_END)
                break;
            p += in.length;
        }
    }
    return 0;
}

/* An address is in these registers at the call at p. What is neither saved nor an argument is dead after it. The callee may
 * keep what it is handed; its frame lies above its caller's while it runs, so pinning the caller pins it.
 *
 * Where most registers are saved ones, compilers compute an address early and leave it in one of them, read or not. There
 * only the calls count after which it is read. And nearly every register is an argument's: an address in any but the first
 * is a leftover, since CPython hands none to a function. 1: the function keeps it. */
static int is_kept_by_call(worklist *work, const uint8_t *p, const golib_insn *in, const golib_range *text)
{
    uint32_t saved = in->tainted & GOLIB_SAVED_BY_CALLEE;
    const uint8_t *next = p + in->length;
    if (!GOLIB_JUDGES_CALLS)
        return saved || (in->tainted & GOLIB_ARGUMENTS);
    if ((in->tainted & GOLIB_FIRST_ARGUMENT) || (saved && is_read_after(next, saved, text)))
        add(&calls, (golib_range){p, next});
    return saved && !follow_later(work, next, saved);
}

/* Follows an address in `reg` from `at` until it is dead. 1: it outlives a call, or cannot be followed. */
static int is_kept(const uint8_t *at, int reg, const golib_range *text)
{
    static worklist work;
    const uint8_t *p;
    uint32_t tainted;
    golib_insn in;
    work.n = work.done = 0;
    follow_later(&work, at, 1u << reg);
    while (follow_next(&work, &p, &tainted)) {
        while (tainted) {
            if (!decode_within(p, tainted, text, &in))
                return 1;
            tainted = in.tainted;
            if (in.flow == GOLIB_CALL && is_kept_by_call(&work, p, &in, text))
                return 1;
            if (in.target && !follow_later(&work, in.target, tainted))
                return 1;
            if (in.flow == GOLIB_CALL || in.flow == GOLIB_JUMP || in.flow == GOLIB_END)
                break;
            p += in.length;
        }
    }
    return 0;
}

/* Where a function asks for the thread. */
static struct {
    const uint8_t *at[MOST_ASKERS];
    int n;
} askers;

/* The function found last. */
static golib_range last_found;

static void look_at(const uint8_t *p, const golib_range *text)
{
    const uint8_t *next;
    int reg;
    if (golib_calls_one(&golib_asking, p, &next)) {
        if (askers.n < MOST_ASKERS)
            askers.at[askers.n++] = p;
        else
            is_full = 1;
        return;
    }
    if ((reg = golib_address_made_at(p, text, &next)) < 0)
        return;
    if (p >= last_found.begin && p < last_found.end)
        return;
    golib_range function;
    /* One that cannot be walked pins anyway. */
    if (is_kept(next, reg, text) && golib_cfi_function(p, &function)) {
        last_found = function;
        add(&found, function);
    }
}

static int is_one_of(const golib_range *range, const golib_range *ranges, int n)
{
    for (int i = 0; i < n; i++) {
        if (ranges[i].begin == range->begin)
            return 1;
    }
    return 0;
}

/* The other parts of the functions that were found from `first` on, less those among `but`. */
static void add_other_parts(int first, const golib_range *but, int n_but)
{
    for (int i = first, whole = found.n; i < whole; i++) {
        golib_range parts[MOST_PARTS];
        int n = golib_parts_of(found.ranges[i].begin, parts, MOST_PARTS);
        for (int k = 0; k < n; k++) {
            if (!is_one_of(&parts[k], but, n_but))
                add(&found, parts[k]);
        }
    }
}

/* 1, and what asks for the thread (2). The eval loop keeps no answer. */
static int scan_code(const void *interpreter)
{
    golib_range texts[MOST_TEXTS], eval[MOST_PARTS], asks;
    int n = golib_text_of(interpreter, texts, MOST_TEXTS);
    int n_eval = golib_parts_of((const void *)&_PyEval_EvalFrameDefault, eval, MOST_PARTS);
    if (n <= 0 || golib_calls_find(interpreter, texts, n) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        golib_calls_each(&texts[i], look_at);
    for (int i = 0; i < golib_described.n; i++) {
        if (!(golib_described.used >> i & 1))
            return -1;      /* used in a way that is not known */
    }
    add_other_parts(0, NULL, 0);
    int first = found.n;
    if (!golib_buffered_add_helpers(askers.at, askers.n))
        is_full = 1;
    for (int i = 0; i < askers.n; i++) {
        if (golib_cfi_function(askers.at[i], &asks) && !is_one_of(&asks, eval, n_eval) &&
            !golib_is_of_buffered(asks.begin))
            add(&found, asks);
    }
    add_other_parts(first, eval, n_eval);
    for (int i = 0; i < calls.n; i++)
        add(&found, calls.ranges[i]);
    return 0;
}

/* Ranges may contain each other (a cluster of buffered functions contains one that keeps errno's address). */
static void merge(void)
{
    int n = 0;
    for (int i = 0; i < found.n; i++) {
        if (n && found.ranges[i].begin < found.ranges[n - 1].end) {
            if (found.ranges[i].end > found.ranges[n - 1].end)
                found.ranges[n - 1].end = found.ranges[i].end;
        }
        else
            found.ranges[n++] = found.ranges[i];
    }
    found.n = n;
}

int golib_scan_immovable(const golib_range **ranges)
{
    static int result = -2;
    if (result == -2) {
        result = -1;
        if (golib_buffered_find() == 0 && scan_code((const void *)&PyEval_EvalCode) == 0 && !is_full) {
            qsort(found.ranges, (size_t)found.n, sizeof *found.ranges, golib_range_compare);
            merge();
            result = found.n;
        }
    }
    *ranges = found.ranges;
    return result;
}
