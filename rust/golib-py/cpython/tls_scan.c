/* Which functions of the interpreter must not be left to another OS thread while they run.
 *
 * 1. Those that keep a thread-local address (of the current state, of errno) in a saved register or in memory across a
 *    call: after the call they would use the old thread's variable. Compilers do that where the address is worth keeping:
 *    in shared builds of 3.12+, where it takes a call to find. Found by following each such address through the machine
 *    code until it is dead; a function in which that cannot be followed counts too.
 * 2. Those that ask which OS thread they run on, found by the calls that ask. The eval loop asks too (3.11), but keeps no
 *    answer. Those of buffered files are listed apart (buffered_scan.c).
 *
 * Found once, at the first go(): two milliseconds for the bytes of the interpreter's text, of which sixteen are looked at
 * together.
 */
#include "internal.h"
#include "movable.h"
#include "tls_calls.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_RANGES = 4096, MOST_STATES = 2048, MOST_TEXTS = 8, MOST_ASKERS = 512, MOST_PARTS = 32 };

static struct {
    golib_range ranges[MOST_RANGES];
    int n;
    int full;
} found;

static void add(golib_range range)
{
    for (int i = 0; i < found.n; i++) {
        if (found.ranges[i].begin == range.begin)
            return;
    }
    if (found.n == MOST_RANGES)
        found.full = 1;
    else
        found.ranges[found.n++] = range;
}

#if defined(__x86_64__)

/* Is a thread-local address in a register after the instruction at p? Its register, or -1; *next is what follows. */
static int address_made_at(const uint8_t *p, const uint8_t **next)
{
    if (*p == 0xe8 || (p[0] == 0xff && p[1] == 0x15))
        return golib_calls_one(&golib_getting, p, next) ? 0 : -1;
    /* mov %fs:0, %reg and add %fs:0, %reg */
    if (p[0] == 0x64 && (p[1] & 0xfb) == 0x48 && (p[2] == 0x8b || p[2] == 0x03) && (p[3] & 0xc7) == 0x04 &&
        p[4] == 0x25 && !p[5] && !p[6] && !p[7] && !p[8]) {
        *next = p + 9;
        return ((p[3] >> 3) & 7) | ((p[1] & 4) ? 8 : 0);
    }
    return -1;
}

/* rbx, rbp, r12 to r15: they outlive a call. rdi, rsi, rdx, rcx, r8, r9: they hand the address on, and the callee may
 * keep it; its frame lies above ours as long as it runs, so pinning us pins it. */
#define LIVE_ACROSS_CALL (0xf028u | 0x03c6u)

/* Follows an address in `reg` from `at` until it is dead. 1: it outlives a call, or cannot be followed. */
static int is_kept(const uint8_t *at, int reg, const golib_range *text)
{
    static struct {
        const uint8_t *at;
        uint16_t tainted;
    } states[MOST_STATES];
    int n = 0, done = 0;
    states[n].at = at;
    states[n++].tainted = (uint16_t)(1u << reg);
    while (done < n) {
        const uint8_t *p = states[done].at;
        uint16_t tainted = states[done++].tainted;
        while (tainted) {
            if (p < text->begin || p + 16 > text->end)
                return 1;
            golib_insn in = golib_x86_decode(p, text->end, tainted);
            if (!in.length || in.spilled)
                return 1;
            tainted = in.tainted;
            if (in.flow == GOLIB_CALL) {
                if (tainted & LIVE_ACROSS_CALL)
                    return 1;
                break;  /* the others are dead after a call */
            }
            if (in.flow == GOLIB_END)
                break;
            if (in.flow == GOLIB_UNKNOWN_JUMP)
                return 1;
            if (in.flow == GOLIB_NEXT) {
                p += in.length;
                continue;
            }
            for (int i = 0; i < n; i++) {
                if (states[i].at == in.target && (states[i].tainted | tainted) == states[i].tainted)
                    goto known;
            }
            if (n == MOST_STATES)
                return 1;
            states[n].at = in.target;
            states[n++].tainted = tainted;
        known:
            if (in.flow == GOLIB_JUMP)
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
    if (*p != 0x64 && golib_calls_one(&golib_asking, p, &next)) {
        if (askers.n < MOST_ASKERS)
            askers.at[askers.n++] = p;
        else
            found.full = 1;
        return;
    }
    if ((reg = address_made_at(p, &next)) < 0)
        return;
    if (p >= last_found.begin && p < last_found.end)
        return;
    golib_range function;
    /* One that cannot be walked pins anyway. */
    if (is_kept(next, reg, text) && golib_cfi_function(p, &function)) {
        last_found = function;
        add(function);
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
                add(parts[k]);
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
    add_other_parts(0, NULL, 0);
    int first = found.n;
    if (!golib_buffered_add_helpers(askers.at, askers.n))
        found.full = 1;
    for (int i = 0; i < askers.n; i++) {
        if (golib_cfi_function(askers.at[i], &asks) && !is_one_of(&asks, eval, n_eval) &&
            !golib_is_of_buffered(asks.begin))
            add(asks);
    }
    add_other_parts(first, eval, n_eval);
    return 0;
}

#else

/* No decoder for this CPU: the eval loop too may keep a thread-local address, so every wait pins. */
static int scan_code(const void *interpreter)
{
    (void)interpreter;
    return -1;
}

#endif

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
        if (golib_buffered_find() == 0 && scan_code((const void *)&PyEval_EvalCode) == 0 && !found.full) {
            qsort(found.ranges, (size_t)found.n, sizeof *found.ranges, golib_range_compare);
            merge();
            result = found.n;
        }
    }
    *ranges = found.ranges;
    return result;
}
