/* Decodes x86-64 instructions as far as it takes to follow a thread-local address through a function.
 *
 * Lengths of everything that compilers emit for C; effects only on "tainted" registers, erring towards taint: an
 * instruction that is not known to clear a register leaves it tainted, one that is not known to be harmless with a
 * tainted operand counts as a spill, and a byte that is not understood has length 0. Each error pins a goroutine that
 * could have moved, never the other way round.
 */
#include "internal.h"
#include "code.h"

#include <string.h>

#if defined(__x86_64__)

enum { RAX, RCX, RDX, RBX, RSP, RBP };

/* The operands of an instruction. */
typedef struct {
    int map;            /* 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A */
    uint8_t op;
    int rex, opsize;    /* prefixes */
    int has_modrm, mod, reg, rm;
    int base, index;    /* of a memory operand, -1: none */
    int embedded;       /* register in the opcode's low bits */
    int vex;
} operands;

/* Immediate bytes of a one-byte opcode; -1: not understood. */
static int immediate_1(const operands *o, const uint8_t *modrm)
{
    uint8_t op = o->op;
    int full = o->opsize ? 2 : 4;
    if (op < 0x40)
        return (op & 7) == 4 ? 1 : (op & 7) == 5 ? full : (op & 7) < 4 ? 0 : -1;
    if (op >= 0x50 && op <= 0x5f)
        return 0;
    if (op >= 0x70 && op <= 0x7f)
        return 1;
    if (op >= 0xb0 && op <= 0xb7)
        return 1;
    if (op >= 0xb8 && op <= 0xbf)
        return (o->rex & 8) ? 8 : full;
    if (op >= 0xd8 && op <= 0xdf)
        return 0;
    if (op >= 0x84 && op <= 0x99)
        return 0;
    /* clang-format off */
    switch (op) {
    case 0x63: case 0x9b: case 0x9c: case 0x9d: case 0xa4: case 0xa5: case 0xa6: case 0xa7: case 0xaa: case 0xab:
    case 0xac: case 0xad: case 0xae: case 0xaf: case 0xc3: case 0xc9: case 0xcc: case 0xd0: case 0xd1: case 0xd2:
    case 0xd3: case 0xf4: case 0xfe: case 0xff:
        return 0;
    case 0x6a: case 0x6b: case 0x80: case 0x82: case 0x83: case 0xa8: case 0xc0: case 0xc1: case 0xc6: case 0xeb:
        return 1;
    case 0xc2:
        return 2;
    case 0x68: case 0x69: case 0x81: case 0xa9: case 0xc7:
        return full;
    case 0xe8: case 0xe9:
        return 4;
    case 0xf6:
        return ((*modrm >> 3) & 7) < 2 ? 1 : 0;
    case 0xf7:
        return ((*modrm >> 3) & 7) < 2 ? full : 0;
    default:
        return -1;
    }
    /* clang-format on */
}

static int has_modrm_1(uint8_t op)
{
    if (op < 0x40)
        return (op & 7) < 4;
    return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) || op == 0xc0 || op == 0xc1 ||
           op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 ||
           op == 0xf7 || op == 0xfe || op == 0xff;
}

/* The answers of the two functions above for each one-byte opcode: whether a modrm byte follows, and how many bytes the
 * immediate has without prefixes (ASK if the opcode alone does not tell). Filled at the first use, because the answers are
 * needed for each instruction of the eval loop. */
enum { ASK = -2 };
static struct {
    int8_t has_modrm, immediate;
} one_byte[256];

static void fill_one_byte(void)
{
    for (int op = 0; op < 256; op++) {
        operands o = {.op = (uint8_t)op};
        one_byte[op].immediate = op == 0xf6 || op == 0xf7 ? ASK : (int8_t)immediate_1(&o, NULL);
        one_byte[op].has_modrm = (int8_t)has_modrm_1((uint8_t)op);
    }
}

static int immediate_of(const operands *o, const uint8_t *modrm)
{
    int usual = one_byte[o->op].immediate;
    return usual == ASK || o->opsize || (o->rex & 8) ? immediate_1(o, modrm) : usual;
}

static int immediate_0f(uint8_t op)
{
    if (op >= 0x80 && op <= 0x8f)
        return 4;
    /* clang-format off */
    switch (op) {
    case 0x70: case 0x71: case 0x72: case 0x73: case 0xa4: case 0xac: case 0xba: case 0xc2: case 0xc4: case 0xc5:
    case 0xc6:
        return 1;
    default:
        return 0;
    }
    /* clang-format on */
}

static int has_modrm_0f(uint8_t op)
{
    return !(op == 0x05 || op == 0x0b || op == 0x31 || op == 0x77 || op == 0xa2 || (op >= 0x80 && op <= 0x8f) ||
             (op >= 0xc8 && op <= 0xcf));
}

/* Reads prefixes and the opcode, at most 13 bytes; NULL: not understood. */
static const uint8_t *read_opcode(const uint8_t *at, operands *o)
{
    const uint8_t *p = at;
    for (;; p++) {
        if (*p == 0x66)
            o->opsize = 1;
        else if (*p != 0xf2 && *p != 0xf3 && *p != 0x2e && *p != 0x3e && *p != 0x64 && *p != 0x65 && *p != 0xf0)
            break;
        if (p - at > 8)
            return NULL;
    }
    if ((*p & 0xf0) == 0x40)
        o->rex = *p++;
    if (*p == 0xc5 || *p == 0xc4) {
        o->vex = 1;
        if (*p == 0xc5) {
            o->rex = (p[1] & 0x80) ? 0 : 4;
            o->map = 1;
            p += 2;
        }
        else {
            o->rex =
                ((p[1] & 0x80) ? 0 : 4) | ((p[1] & 0x40) ? 0 : 2) | ((p[1] & 0x20) ? 0 : 1) | ((p[2] & 0x80) ? 8 : 0);
            o->map = p[1] & 0x1f;
            p += 3;
        }
        if (o->map < 1 || o->map > 3)
            return NULL;
        o->op = *p++;
        return p;
    }
    o->op = *p++;
    if (o->op == 0x0f) {
        o->map = 1;
        o->op = *p++;
        if (o->op == 0x38 || o->op == 0x3a) {
            o->map = o->op == 0x38 ? 2 : 3;
            o->op = *p++;
        }
    }
    return p;
}

/* Reads modrm, the bytes that it announces, and the displacement; returns their end. */
static const uint8_t *read_modrm(const uint8_t *p, operands *o)
{
    uint8_t m = *p++;
    o->mod = m >> 6;
    o->reg = ((m >> 3) & 7) | ((o->rex & 4) ? 8 : 0);
    o->rm = (m & 7) | ((o->rex & 1) ? 8 : 0);
    if (o->mod == 3)
        return p;
    o->base = o->rm;
    if ((m & 7) == 4) {
        uint8_t sib = *p++;
        o->base = (sib & 7) | ((o->rex & 1) ? 8 : 0);
        o->index = ((sib >> 3) & 7) | ((o->rex & 2) ? 8 : 0);
        if (o->index == 4)
            o->index = -1;
        if ((sib & 7) == 5 && o->mod == 0) {
            o->base = -1;
            p += 4;
        }
    }
    else if ((m & 7) == 5 && o->mod == 0) {
        o->base = -1;   /* relative to the next instruction */
        p += 4;
    }
    return p + (o->mod == 1 ? 1 : o->mod == 2 ? 4 : 0);
}

/* Reads prefixes, opcode, modrm, displacement and immediate. Returns the length, 0 if not understood; *imm is where
 * the immediate starts. */
static int read_operands(const uint8_t *at, const uint8_t *end, operands *o, const uint8_t **imm)
{
    memset(o, 0, sizeof *o);
    o->base = o->index = o->embedded = -1;
    if (end - at < 16)
        return 0;
    if (!one_byte[0].has_modrm)
        fill_one_byte();
    const uint8_t *p = read_opcode(at, o);
    if (!p)
        return 0;
    o->has_modrm = o->map == 0 ? one_byte[o->op].has_modrm : o->map == 1 ? has_modrm_0f(o->op) : 1;
    const uint8_t *modrm = p;
    if (o->has_modrm)
        p = read_modrm(p, o);
    else if (o->map == 0 &&
             ((o->op >= 0x50 && o->op <= 0x5f) || (o->op >= 0x90 && o->op <= 0x97) || (o->op >= 0xb0 && o->op <= 0xbf)))
        o->embedded = (o->op & 7) | ((o->rex & 1) ? 8 : 0);
    int immediate = o->map == 0 ? immediate_of(o, modrm) : o->map == 1 ? immediate_0f(o->op) : o->map == 3 ? 1 : 0;
    if (immediate < 0)
        return 0;
    *imm = p;
    p += immediate;
    return p <= end ? (int)(p - at) : 0;
}

static uint32_t with(uint32_t set, int reg, int tainted)
{
    uint32_t bit = 1u << reg;
    return tainted ? set | bit : set & ~bit;
}

static int has(uint32_t set, int reg)
{
    return reg >= 0 && (set >> reg & 1);
}

/* Whether the reg operand is a general register (else a vector register or an opcode extension) for map 0F. */
static int reg_is_general_0f(uint8_t op)
{
    return (op >= 0x40 && op <= 0x4f) || (op >= 0xa3 && op <= 0xa5) || (op >= 0xab && op <= 0xad) || op == 0xaf ||
           (op >= 0xb0 && op <= 0xc1 && op != 0xba) || op == 0x2c || op == 0x2d || op == 0x50 || op == 0xd7 ||
           op == 0xc5 || op == 0xc3;
}

/* Whether a register in the rm place is a general one for map 0F. */
static int rm_is_general_0f(uint8_t op)
{
    return (op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f) || op == 0x2a || op == 0x6e || op == 0x7e ||
           op == 0xc4 || (op >= 0xa3 && op <= 0xad) || (op >= 0xaf && op <= 0xc1);
}

static void effects_0f(const operands *o, golib_insn *in, uint32_t t)
{
    int in_rm = o->mod == 3 && rm_is_general_0f(o->op) && has(t, o->rm);
    int in_reg = reg_is_general_0f(o->op) && has(t, o->reg);
    if (o->op >= 0xb6 && o->op <= 0xbf && o->op != 0xb8 && o->op != 0xba && o->op != 0xbb) {
        in->tainted = with(t, o->reg, in_rm);           /* movzx, movsx, bsf, bsr */
        return;
    }
    if (o->op >= 0x40 && o->op <= 0x4f) {               /* cmov */
        in->tainted = with(t, o->reg, in_reg || in_rm);
        return;
    }
    if ((o->op >= 0x90 && o->op <= 0x9f) || o->op == 0x1e || o->op == 0x1f || o->op == 0x18)
        return;                                         /* setcc, nop, prefetch */
    if (o->op == 0x7e && o->mod == 3)
        return;                                         /* from a vector register: no taint ever gets there */
    if (in_rm || in_reg)
        in->spilled = 1;
}

static void effects_1(const operands *o, golib_insn *in, uint32_t t)
{
    uint8_t op = o->op;
    int in_rm = o->has_modrm && o->mod == 3 && has(t, o->rm);
    int in_reg = o->has_modrm && has(t, o->reg);
    int to_memory = o->mod != 3;

    if (op < 0x40 && (op & 7) < 4) {
        if ((op & 0x38) == 0x38)
            return;                                     /* cmp */
        if (((op & 0x38) == 0x30 || (op & 0x38) == 0x28) && o->mod == 3 && o->reg == o->rm) {
            in->tainted = with(t, o->reg, 0);           /* xor r, r */
            return;
        }
        if (op & 2)
            in->tainted = with(t, o->reg, in_reg || in_rm);
        else if (to_memory)
            in->spilled = in_reg;
        else
            in->tainted = with(t, o->rm, in_reg || in_rm);
        return;
    }
    if (op < 0x40 || (op >= 0x70 && op <= 0x7f) || (op >= 0xd8 && op <= 0xdf))
        return;
    if (op >= 0x50 && op <= 0x57) {
        in->spilled = has(t, o->embedded);
        return;
    }
    if ((op >= 0x58 && op <= 0x5f) || (op >= 0xb8 && op <= 0xbf)) {
        in->tainted = with(t, o->embedded, 0);
        return;
    }
    /* clang-format off */
    switch (op) {
    case 0x63: case 0x8a:
        in->tainted = op == 0x63 ? with(t, o->reg, in_rm) : t;
        return;
    case 0x8b:
        in->tainted = with(t, o->reg, in_rm);
        return;
    case 0x88: case 0x89:
        if (to_memory)
            in->spilled = in_reg;
        else if (op == 0x89)
            in->tainted = with(t, o->rm, in_reg);
        return;
    case 0x8d:
        in->tainted = with(t, o->reg, has(t, o->base) || has(t, o->index));
        return;
    case 0xc7:
        if (!to_memory)
            in->tainted = with(t, o->rm, 0);
        return;
    case 0x69: case 0x6b:
        in->tainted = with(t, o->reg, in_rm);
        return;
    case 0x90: case 0x84: case 0x85: case 0x80: case 0x81: case 0x83: case 0x98: case 0x99: case 0xa8: case 0xa9:
    case 0xc0: case 0xc1: case 0xc6: case 0xd0: case 0xd1: case 0xd2: case 0xd3: case 0xf6: case 0xf7: case 0xfe:
    case 0x6a: case 0x68: case 0xff: case 0xa4: case 0xa5: case 0xaa: case 0xab: case 0xa6: case 0xae:
        return;     /* leave taint where it is */
    case 0x8f:
        return;
    default:
        if (in_reg || in_rm || has(t, o->embedded) || has(t, RAX))
            in->spilled = 1;
    }
    /* clang-format on */
}

static const uint8_t *relative(const uint8_t *imm, int size)
{
    int32_t off = (int8_t)*imm;
    if (size == 4)
        memcpy(&off, imm, 4);
    return imm + size + off;
}

golib_insn golib_decode(const uint8_t *at, const uint8_t *end, uint32_t tainted)
{
    golib_insn in = {.flow = GOLIB_NEXT, .tainted = tainted};
    operands o;
    const uint8_t *imm;
    in.length = read_operands(at, end, &o, &imm);
    if (!in.length)
        return in;
    if (o.vex) {
        /* Vector code: a general register among the operands is rare (vmovd, BMI). */
        if (o.map > 1 || (o.has_modrm && ((o.mod == 3 && rm_is_general_0f(o.op) && has(tainted, o.rm)))))
            in.spilled = tainted != 0;
        return in;
    }
    if (o.map == 0) {
        if (o.op == 0xe8)
            in.flow = GOLIB_CALL;
        else if (o.op == 0xe9 || o.op == 0xeb) {
            in.flow = GOLIB_JUMP;
            in.target = relative(imm, o.op == 0xe9 ? 4 : 1);
        }
        else if (o.op >= 0x70 && o.op <= 0x7f) {
            in.flow = GOLIB_BRANCH;
            in.target = relative(imm, 1);
        }
        else if (o.op == 0xc3 || o.op == 0xc2 || o.op == 0xcc || o.op == 0xf4)
            in.flow = GOLIB_END;
        else if (o.op == 0xff && ((o.reg & 7) == 2 || ((o.reg & 7) == 4 && o.mod == 0 && (o.rm & 7) == 5)))
            in.flow = GOLIB_CALL;   /* a jump through a fixed pointer, too: another function's stub */
        else if (o.op == 0xff && (o.reg & 7) == 4)
            in.flow = GOLIB_UNKNOWN_JUMP;
        else if (tainted)
            effects_1(&o, &in, tainted);
        if (o.op == 0xff && (o.reg & 7) == 6 && o.mod == 3 && has(tainted, o.rm))
            in.spilled = 1;
    }
    else if (o.map == 1) {
        if (o.op >= 0x80 && o.op <= 0x8f) {
            in.flow = GOLIB_BRANCH;
            in.target = relative(imm, 4);
        }
        else if (o.op == 0x0b)
            in.flow = GOLIB_END;
        else if (tainted)
            effects_0f(&o, &in, tainted);
    }
    else if (tainted)
        in.spilled = (o.mod == 3 && has(tainted, o.rm)) || has(tainted, o.reg);
    return in;
}

#endif
