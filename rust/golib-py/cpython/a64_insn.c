/* Decodes A64 instructions as far as it takes to follow a thread-local address through a function.
 *
 * As x86_insn.c: effects only on "tainted" registers, erring towards taint; what is not understood has length 0. Each error
 * pins a goroutine that could have moved, never the other way round. The numbers are the encodings of ARM's manual, by its
 * groups; register 31 is the stack pointer or zero, which no address of ours is ever in.
 */
#include "internal.h"
#include "code.h"

#include <string.h>

#if defined(__aarch64__)

enum { NONE = 31 };

typedef struct {
    uint32_t w;
    unsigned d, n, m, a;    /* the usual places of registers: bits 0, 5, 16, 10 */
} fields;

static int matches(uint32_t w, uint32_t mask, uint32_t value)
{
    return (w & mask) == value;
}

static int has(uint32_t set, unsigned reg)
{
    return reg != NONE && (set >> reg & 1);
}

static uint32_t with(uint32_t set, unsigned reg, int tainted)
{
    uint32_t bit = reg == NONE ? 0 : 1u << reg;
    return tainted ? set | bit : set & ~bit;
}

/* The signed field of `bits` bits from bit `at` on, times 4. */
static ptrdiff_t branch_offset(uint32_t w, int at, int bits)
{
    return (ptrdiff_t)((int32_t)(w << (32 - at - bits)) >> (32 - bits)) * 4;
}

/* ---- flow ---- */

/* The `br x17` at p is the end of a stub: adrp x16; ldr x17, [x16, #lo]; add x16, x16, #lo; br x17. */
static int ends_stub(const uint8_t *p)
{
    uint32_t before[3];
    memcpy(before, p - sizeof before, sizeof before);
    return matches(before[0], 0x9f00001f, 0x90000010) && matches(before[1], 0xffc003ff, 0xf9400211) &&
           matches(before[2], 0xff8003ff, 0x91000210);
}

/* 1: it was a branch, a call or an end. */
static int decode_flow(const uint8_t *at, const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    if (matches(w, 0x7c000000, 0x14000000)) {           /* b, bl */
        in->flow = w >> 31 ? GOLIB_CALL : GOLIB_JUMP;
        in->target = w >> 31 ? NULL : at + branch_offset(w, 0, 26);
    }
    else if (matches(w, 0xff000000, 0x54000000) || matches(w, 0x7e000000, 0x34000000)) {    /* b.cond, cbz */
        in->flow = GOLIB_BRANCH;
        in->target = at + branch_offset(w, 5, 19);
        in->is_read = w >> 24 != 0x54 && has(t, f->d);
    }
    else if (matches(w, 0x7e000000, 0x36000000)) {      /* tbz */
        in->flow = GOLIB_BRANCH;
        in->target = at + branch_offset(w, 5, 14);
        in->is_read = has(t, f->d);
    }
    else if (matches(w, 0xfedff000, 0xd61f0000)) {      /* br, blr, and those that authenticate */
        in->is_read = has(t, f->n);
        if (w & 0x00200000)
            in->flow = GOLIB_CALL;
        else    /* a stub's jump goes to another function */
            in->flow = w == 0xd61f0220 && ends_stub(at) ? GOLIB_CALL : GOLIB_UNKNOWN_JUMP;
    }
    else if (matches(w, 0xfffff000, 0xd65f0000) || matches(w, 0xffe0001f, 0xd4200000) || w >> 16 == 0)
        in->flow = GOLIB_END;                           /* ret, brk, udf */
    else
        return 0;
    return 1;
}

/* ---- data in general registers; 0: not understood ---- */

static int effects_immediate(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    int from_n = has(t, f->n), merges = 0;
    in->is_read = from_n;
    if (matches(w, 0x1f000000, 0x10000000)) {           /* adr, adrp */
        in->tainted = with(t, f->d, 0);
        in->is_read = 0;
    }
    else if (matches(w, 0x1f800000, 0x11000000)) {      /* add, sub */
        in->tainted = with(t, f->d, from_n);
        in->spilled = f->d == NONE && from_n && !(w >> 29 & 1);
    }
    else if (matches(w, 0x1f800000, 0x12000000)) {      /* and, orr, eor, ands */
        in->tainted = with(t, f->d, from_n);
        in->spilled = f->d == NONE && from_n && (w >> 29 & 3) != 3;
    }
    else if (matches(w, 0x1f800000, 0x12800000)) {      /* movn, movz, movk */
        in->is_read = merges = (w >> 29 & 3) == 3 && has(t, f->d);
        in->tainted = with(t, f->d, merges);
    }
    else if (matches(w, 0x1f800000, 0x13000000)) {      /* sbfm, bfm, ubfm */
        merges = (w >> 29 & 3) == 1 && has(t, f->d);
        in->is_read = from_n || merges;
        in->tainted = with(t, f->d, from_n || merges);
    }
    else if (matches(w, 0x1f800000, 0x13800000)) {      /* extr */
        in->is_read = from_n || has(t, f->m);
        in->tainted = with(t, f->d, in->is_read);
    }
    else
        return 0;
    return 1;
}

static int effects_register(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    int from_two = has(t, f->n) || has(t, f->m);
    in->is_read = from_two;
    if (matches(w, 0x1f000000, 0x0b000000)) {           /* add, sub; the extended ones may write the stack pointer */
        in->tainted = with(t, f->d, from_two);
        in->spilled = f->d == NONE && from_two && !(w >> 29 & 1);
    }
    else if (matches(w, 0x1f000000, 0x0a000000) ||      /* logical */
             matches(w, 0x1fe00000, 0x1a000000) ||      /* with carry */
             matches(w, 0x1fe00000, 0x1a800000) ||      /* csel and the like */
             matches(w, 0x5fe00000, 0x1ac00000))        /* of two sources */
        in->tainted = with(t, f->d, from_two);
    else if (matches(w, 0x5fe00000, 0x5ac00000)) {      /* of one source; a pointer is signed in place */
        in->is_read = has(t, f->n) || has(t, f->d);
        in->tainted = with(t, f->d, in->is_read);
    }
    else if (matches(w, 0x1f000000, 0x1b000000)) {      /* of three sources */
        in->is_read = from_two || has(t, f->a);
        in->tainted = with(t, f->d, in->is_read);
    }
    else if (!matches(w, 0x1fe00000, 0x1a400000))       /* ccmp */
        return 0;
    return 1;
}

/* ---- loads and stores; 0: not understood ---- */

static int effects_single(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    unsigned opc = w >> 22 & 3, kind = w >> 10 & 3, size = w >> 30;
    int is_vector = w >> 26 & 1, is_unscaled = !(w >> 24 & 1);
    if (is_vector)
        return 1;
    if (is_unscaled && (w >> 21 & 1) && kind != 2) {
        if (kind == 0)      /* an atomic operation: m goes to memory, d comes from there */
            in->spilled = has(t, f->m);
        in->tainted = with(t, f->d, 0);
        return 1;
    }
    if (opc == 0)
        in->spilled = has(t, f->d);
    else if (!(size == 3 && opc == 2))                  /* not a prefetch */
        in->tainted = with(t, f->d, 0);
    return 1;
}

static int effects_pair(const fields *f, golib_insn *in, uint32_t t)
{
    if (f->w >> 26 & 1)
        return 1;           /* vector registers */
    if (f->w >> 22 & 1)
        in->tainted = with(with(t, f->d, 0), f->a, 0);
    else
        in->spilled = has(t, f->d) || has(t, f->a);
    return 1;
}

static int effects_memory(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    int is_literal = matches(w, 0x3b000000, 0x18000000);
    /* Its address, or an index, or what is stored (which `spilled` says). */
    in->is_read = !is_literal && (has(t, f->n) || (matches(w, 0x3b200c00, 0x38200800) && has(t, f->m)));
    if (matches(w, 0x3a000000, 0x38000000))
        return effects_single(f, in, t);
    if (matches(w, 0x3a000000, 0x28000000))
        return effects_pair(f, in, t);
    if (is_literal) {
        if (!(w >> 26 & 1) && w >> 30 != 3)
            in->tainted = with(t, f->d, 0);
        return 1;
    }
    if (matches(w, 0x3f000000, 0x08000000)) {           /* exclusive, acquire and release, compare and swap */
        if ((w >> 22 & 1) && !(w >> 21 & 1))
            in->tainted = with(t, f->d, 0);
        else
            in->spilled = has(t, f->d) || has(t, f->m) || has(t, f->a);
        return 1;
    }
    if (matches(w, 0x3f200c00, 0x19000000)) {           /* acquire and release at an offset */
        if (w >> 22 & 3)
            in->tainted = with(t, f->d, 0);
        else
            in->spilled = has(t, f->d);
        return 1;
    }
    return matches(w, 0xbe000000, 0x0c000000);          /* vector structures */
}

/* ---- vector instructions, of which few touch general registers ---- */

static int effects_vector(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    int takes_general = matches(w, 0x5f200000, 0x1e000000) ||      /* conversions by a fixed point */
                        matches(w, 0x5f20fc00, 0x1e200000) ||      /* conversions, fmov */
                        matches(w, 0xbfe0fc00, 0x0e000c00) ||      /* dup */
                        matches(w, 0xffe0fc00, 0x4e001c00);        /* ins */
    in->spilled = takes_general && has(t, f->n);
    return 1;
}

static int effects_system(const fields *f, golib_insn *in, uint32_t t)
{
    uint32_t w = f->w;
    if (matches(w, 0xfffff000, 0xd5032000) || matches(w, 0xfffff000, 0xd5033000))
        return 1;                                       /* hints and barriers */
    if (matches(w, 0xfff00000, 0xd5300000))             /* mrs */
        in->tainted = with(t, f->d, (w & ~0x1fu) == 0xd53bd040);
    else if (matches(w, 0xffc00000, 0xd5000000))        /* msr, sys */
        in->spilled = has(t, f->d);
    else
        return 0;
    return 1;
}

golib_insn golib_decode(const uint8_t *at, const uint8_t *end, uint32_t tainted)
{
    golib_insn in = {.flow = GOLIB_NEXT, .tainted = tainted};
    fields f;
    if (end - at < 4)
        return in;
    memcpy(&f.w, at, 4);
    f.d = f.w & 31;
    f.n = f.w >> 5 & 31;
    f.m = f.w >> 16 & 31;
    f.a = f.w >> 10 & 31;
    int known;
    if (decode_flow(at, &f, &in, tainted))
        known = 1;
    else if (f.w >> 22 == 0x354)
        known = effects_system(&f, &in, tainted);
    else if (matches(f.w, 0x1c000000, 0x10000000))
        known = effects_immediate(&f, &in, tainted);
    else if (matches(f.w, 0x0a000000, 0x08000000))
        known = effects_memory(&f, &in, tainted);
    else if (matches(f.w, 0x0e000000, 0x0a000000))
        known = effects_register(&f, &in, tainted);
    else
        known = matches(f.w, 0x0e000000, 0x0e000000) && effects_vector(&f, &in, tainted);
    in.length = known ? 4 : 0;
    return in;
}

#endif
