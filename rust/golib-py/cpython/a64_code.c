/* What A64 code looks like that gets a thread-local address, or asks which thread it runs on. */
#include "tls_calls.h"
#include "elf_objects.h"

#include <string.h>

#if defined(__aarch64__)

static uint32_t word(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

golib_slot_kind golib_slot_kind_of(unsigned relocation, int is_getter)
{
    if (relocation == R_AARCH64_TLSDESC)
        return GOLIB_SLOT_OF_DESCRIPTOR;
    /* A function is called by way of a stub, which has such a slot. A slot of another type may be read by any code. */
    if (relocation == GOLIB_JUMP_SLOT)
        return GOLIB_SLOT_OF_FUNCTION;
    return is_getter ? GOLIB_SLOT_UNKNOWN : GOLIB_SLOT_IRRELEVANT;
}

static int slot_index(const void *const *slots, int n, const uint8_t *slot)
{
    for (int i = 0; i < n; i++) {
        if (slots[i] == slot)
            return i;
    }
    return -1;
}

/* ---- two instructions that name an address ---- */

static int is_adrp(uint32_t w, unsigned reg)
{
    return (w & 0x9f00001f) == (0x90000000 | reg);
}

/* The page that the adrp at p names. */
static const uint8_t *page_of(const uint8_t *p)
{
    uint32_t w = word(p);
    int64_t pages = (int32_t)((w >> 5 & 0x7ffff) << 13) >> 11 | (int32_t)(w >> 29 & 3);
    return (const uint8_t *)(((uintptr_t)p & ~(uintptr_t)0xfff) + (uintptr_t)(pages * 4096));
}

/* The slot that `adrp from; ldr to, [from, #offset]` at p reads; NULL: it is something else. */
static const uint8_t *slot_read(const uint8_t *p, unsigned to, unsigned from)
{
    uint32_t load = word(p + 4);
    if (!is_adrp(word(p), from) || (load & 0xffc003ff) != (0xf9400000 | from << 5 | to))
        return NULL;
    return page_of(p) + (load >> 10 & 0xfff) * 8;
}

/* ---- stubs ---- */

static int note_stub(golib_callees *these, const uint8_t *stub, const uint8_t *slot)
{
    if (slot_index(these->slots, these->n, slot) < 0)
        return 1;
    if (these->n_stubs == GOLIB_MOST_STUBS)
        return 0;
    these->stubs[these->n_stubs++] = stub;
    return 1;
}

int golib_stubs_find(const golib_range *text)
{
    int has_room = 1;
    for (const uint8_t *p = text->begin; p + 8 <= text->end; p += 4) {
        const uint8_t *slot = is_adrp(word(p), 16) ? slot_read(p, 17, 16) : NULL;
        if (slot)
            has_room &= note_stub(&golib_getting, p, slot) & note_stub(&golib_asking, p, slot);
    }
    return has_room;
}

/* A landing pad may precede the stub. */
static int is_stub(const golib_callees *these, const uint8_t *target)
{
    enum { BTI_C = 0xd503245f };
    for (int i = 0; i < these->n_stubs; i++) {
        if (target == these->stubs[i] || (target + 4 == these->stubs[i] && word(target) == BTI_C))
            return 1;
    }
    return 0;
}

/* ---- calls ---- */

enum { BLR_X1 = 0xd63f0020, MRS_TPIDR = 0xd53bd040 };

static int is_bl(uint32_t w)
{
    return w >> 26 == 0x25;
}

int golib_calls_one(const golib_callees *these, const uint8_t *p, const uint8_t **next)
{
    *next = p + 4;
    if (!is_bl(word(p)))
        return 0;
    const uint8_t *target = golib_direct_target(p);
    for (int i = 0; i < GOLIB_MOST_OWN && these->own[i]; i++) {
        if (target == (const uint8_t *)these->own[i])
            return 1;
    }
    return is_stub(these, target);
}

/* The descriptor whose function the `blr x1` at p calls; -1: none. The linker may rewrite the sequence, so all compilers emit
 * it in one piece: adrp x0; ldr x1, [x0, #lo]; add x0, x0, #lo; blr x1. */
static int descriptor_called(const uint8_t *p, const golib_range *text)
{
    const uint8_t *slot = p - 12 < text->begin ? NULL : slot_read(p - 12, 1, 0);
    return slot ? slot_index(golib_described.slots, golib_described.n, slot) : -1;
}

int golib_address_made_at(const uint8_t *p, const golib_range *text, const uint8_t **next)
{
    uint32_t w = word(p);
    *next = p + 4;
    if ((w & ~0x1fu) == MRS_TPIDR)
        return (int)(w & 0x1f);
    if (w == BLR_X1) {
        /* It returns an offset from the thread pointer, which differs between threads. */
        int i = descriptor_called(p, text);
        if (i >= 0)
            golib_described.used |= 1u << i;
        return i >= 0 ? 0 : -1;
    }
    return golib_calls_one(&golib_getting, p, next) ? 0 : -1;
}

void golib_calls_each(const golib_range *text, void (*look)(const uint8_t *, const golib_range *))
{
    for (const uint8_t *p = text->begin; p + 32 < text->end; p += 4) {
        uint32_t w = word(p);
        if (is_bl(w) || w == BLR_X1 || (w & ~0x1fu) == MRS_TPIDR)
            look(p, text);
    }
}

const uint8_t *golib_direct_target(const uint8_t *p)
{
    uint32_t w = word(p);
    if ((w & 0x7c000000) != 0x14000000)
        return NULL;
    return p + ((int32_t)(w << 6) >> 6) * (ptrdiff_t)4;
}

int golib_answer_is_kept_at(const uint8_t *call, size_t offset)
{
    enum { NEAR = 40, TO_X0 = 0x1f };
    for (const uint8_t *p = call + 4; p < call + NEAR; p += 4) {
        uint32_t w = word(p);
        /* str x0, [x…, #offset] */
        if ((w & 0xffc00000) == 0xf9000000 && !(w & TO_X0) && (w >> 10 & 0xfff) * 8 == offset)
            return 1;
    }
    return 0;
}

#endif
