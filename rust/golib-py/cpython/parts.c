/* Finds the parts of a function. Compilers split a function into often and rarely used parts and lay them far from each
 * other. Each part has its own entry in .eh_frame, and the parts jump into each other.
 *
 * A jump out of a part that lands in the middle of code, where a frame already exists, leads to another part. A jump to a
 * function's start is a call whose own frame is gone.
 */
#include "internal.h"
#include "code.h"

static int add_part(golib_range part, golib_range *parts, int n, int most)
{
    for (int i = 0; i < n; i++) {
        if (parts[i].begin == part.begin)
            return n;
    }
    if (n < most)
        parts[n++] = part;
    return n;
}

static int is_in_some(const uint8_t *p, const golib_range *ranges, int n)
{
    for (int i = 0; i < n; i++) {
        if (p >= ranges[i].begin && p < ranges[i].end)
            return 1;
    }
    return 0;
}

/* Adds the parts into which `parts[at]` jumps, and returns how many there are then. */
static int add_targets(int at, golib_range *parts, int n, int most, const golib_range *texts, int n_texts)
{
    golib_range part = parts[at], other;
    for (const uint8_t *p = part.begin; p < part.end;) {
        golib_insn in = golib_decode(p, part.end, 0);
        p += in.length ? in.length : GOLIB_CODE_ALIGN;
        if (!in.target || is_in_some(in.target, parts, n) || !is_in_some(in.target, texts, n_texts))
            continue;
        if (!golib_cfi_function(in.target, &other))
            continue;
        if (golib_cfi_is_bare(in.target))
            continue;
        n = add_part(other, parts, n, most);
    }
    return n;
}

int golib_parts_of(const void *pc, golib_range *out, int most)
{
    enum { MOST_TEXTS = 8 };
    golib_range texts[MOST_TEXTS], whole;
    int n_texts = golib_text_of(pc, texts, MOST_TEXTS), n = 0;
    if (!golib_cfi_function(pc, &whole))
        return 0;
    n = add_part(whole, out, n, most);
    for (int i = 0; i < n; i++) /* grows while it is walked */
        n = add_targets(i, out, n, most, texts, n_texts);
    return n;
}
