/* What x86-64 code looks like that gets a thread-local address, or asks which thread it runs on.
 *
 * The text is three megabytes, so 16 bytes of it are looked at together, and the few stubs are found first: looking at each
 * call's target would fetch a cache line for each.
 */
#include "tls_calls.h"
#include "elf_objects.h"

#include <string.h>

#if defined(__x86_64__)

#include <emmintrin.h>

golib_slot_kind golib_slot_kind_of(unsigned relocation, int is_getter)
{
    if (relocation == GOLIB_JUMP_SLOT || relocation == GOLIB_GLOB_DAT)
        return GOLIB_SLOT_OF_FUNCTION;
    /* Descriptors of thread-local variables (-mtls-dialect=gnu2), and the address of a function where it is data. */
    return relocation == R_X86_64_TLSDESC || is_getter ? GOLIB_SLOT_UNKNOWN : GOLIB_SLOT_IRRELEVANT;
}

static int is_slot(const golib_callees *these, const uint8_t *next, const uint8_t *rel)
{
    int32_t off;
    memcpy(&off, rel, 4);
    for (int i = 0; i < these->n; i++) {
        if ((const uint8_t *)these->slots[i] == next + off)
            return 1;
    }
    return 0;
}

/* The bytes among the 16 from p on that are `first` and followed by `second`, bits outside `mask` not counted. */
static inline __m128i pairs(const uint8_t *p, int first, int second, int mask)
{
    __m128i at = _mm_loadu_si128((const __m128i *)p), next = _mm_loadu_si128((const __m128i *)(p + 1));
    next = _mm_and_si128(next, _mm_set1_epi8((char)mask));
    return _mm_and_si128(_mm_cmpeq_epi8(at, _mm_set1_epi8((char)first)),
                         _mm_cmpeq_epi8(next, _mm_set1_epi8((char)second)));
}

/* Calls `look` with each place in the text at which a bit of starts(place) is set. It ends 32 bytes before the text. */
static inline __attribute__((always_inline)) void for_each_start(const golib_range *text,
                                                                 __m128i (*starts)(const uint8_t *),
                                                                 void (*look)(const uint8_t *, const golib_range *))
{
    for (const uint8_t *p = text->begin; p + 32 < text->end; p += 16) {
        unsigned bits = (unsigned)_mm_movemask_epi8(starts(p));
        for (; bits; bits &= bits - 1) {
            const uint8_t *at = p + __builtin_ctz(bits);
            if (at + 32 < text->end)
                look(at, text);
        }
    }
}

/* jmp *slot(%rip) */
static inline __m128i stub_starts(const uint8_t *p)
{
    return pairs(p, 0xff, 0x25, 0xff);
}

/* A stub was left out, for lack of room. */
static int is_full;

static void note_stub(golib_callees *these, const uint8_t *jump)
{
    if (!is_slot(these, jump + 6, jump + 2))
        return;
    if (these->n_stubs == GOLIB_MOST_STUBS)
        is_full = 1;
    else
        these->stubs[these->n_stubs++] = jump;
}

static void look_for_stub(const uint8_t *jump, const golib_range *text)
{
    (void)text;
    note_stub(&golib_getting, jump);
    note_stub(&golib_asking, jump);
}

/* Does a call to `target` go through one of the slots? An endbr64 and a prefix may precede the jump. */
static inline int is_stub(const golib_callees *these, const uint8_t *target)
{
    static const uint8_t endbr[4] = {0xf3, 0x0f, 0x1e, 0xfa};
    for (int i = 0; i < these->n_stubs; i++) {
        const uint8_t *jump = these->stubs[i];
        if (target > jump || jump - target > 5)
            continue;
        if (jump - target >= 4 && !memcmp(target, endbr, 4))
            target += 4;
        if (jump - target == 1 && *target == 0xf2)
            target++;
        if (target == jump)
            return 1;
    }
    return 0;
}

int golib_calls_one(const golib_callees *these, const uint8_t *p, const uint8_t **next)
{
    if (*p == 0xe8) {
        int32_t off;
        memcpy(&off, p + 1, 4);
        *next = p + 5;
        for (int i = 0; i < GOLIB_MOST_OWN && these->own[i]; i++) {
            if (*next + off == (const uint8_t *)these->own[i])
                return 1;
        }
        return is_stub(these, *next + off);
    }
    *next = p + 6;
    return p[0] == 0xff && p[1] == 0x15 && is_slot(these, p + 6, p + 2);
}

/* A call, a call *slot(%rip), or the thread pointer's segment before a 64-bit instruction. */
static inline __m128i starts_of_interest(const uint8_t *p)
{
    __m128i calls = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)0xe8));
    return _mm_or_si128(_mm_or_si128(calls, pairs(p, 0xff, 0x15, 0xff)), pairs(p, 0x64, 0x48, 0xfb));
}

void golib_calls_each(const golib_range *text, void (*look)(const uint8_t *, const golib_range *))
{
    for_each_start(text, starts_of_interest, look);
}

int golib_address_made_at(const uint8_t *p, const golib_range *text, const uint8_t **next)
{
    (void)text;
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

int golib_stubs_find(const golib_range *text)
{
    for_each_start(text, stub_starts, look_for_stub);
    return !is_full;
}

const uint8_t *golib_direct_target(const uint8_t *p)
{
    int32_t off;
    if (*p != 0xe8 && *p != 0xe9)
        return NULL;
    memcpy(&off, p + 1, 4);
    return p + 5 + off;
}

int golib_answer_is_kept_at(const uint8_t *call, size_t offset)
{
    enum { NEAR = 24 };
    const uint8_t *next = call + (*call == 0xe8 ? 5 : 6);
    for (const uint8_t *p = next; p < next + NEAR; p++) {
        /* mov %rax, disp8(%reg); %rsp and %r12 take one byte more */
        if ((p[0] & 0xfe) == 0x48 && p[1] == 0x89 && (p[2] & 0xf8) == 0x40 && p[(p[2] & 7) == 4 ? 4 : 3] == offset)
            return 1;
    }
    return 0;
}

#endif
