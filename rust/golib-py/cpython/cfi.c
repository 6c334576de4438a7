/* Reads .eh_frame, which tells where a function begins and ends and how to step from its frame to its caller's.
 *
 * It does a small part of an unwinder's work: it follows two registers (the frame pointer and the return address) and a
 * CFA that is a register plus a constant. It does not understand anything else (expressions, signal frames, other
 * registers), and such a frame pins. libgcc, which keeps the index of every loaded object, finds the entry.
 */
#include "internal.h"
#include "movable.h"

#include <string.h>

/* BARE_CFA: how far the CFA is from the stack pointer at a function's first instruction. */
#if defined(__x86_64__)
enum { REG_FP = 6, REG_SP = 7, REG_RET = 16, BARE_CFA = 8 };
#elif defined(__aarch64__)
enum { REG_FP = 29, REG_SP = 31, REG_RET = 30, BARE_CFA = 0 };
#else
#error "DWARF register numbers of this CPU"
#endif

/* ---- finding the entry ---- */

struct dwarf_eh_bases {
    void *tbase, *dbase, *func;
};
extern const void *_Unwind_Find_FDE(void *pc, struct dwarf_eh_bases *bases);

typedef struct {
    const uint8_t *initial, *initial_end;   /* the CIE's instructions */
    const uint8_t *code, *code_end;         /* the FDE's */
    uint64_t code_align;
    int64_t data_align;
    golib_range function;
} entry;

/* A LEB128 number, sign-extended if `is_signed`. */
static uint64_t leb(const uint8_t **p, int is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*p)++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && shift < 64 && (byte & 0x40))
        value |= ~(uint64_t)0 << shift;
    return value;
}

static uint64_t uleb(const uint8_t **p)
{
    return leb(p, 0);
}

static int64_t sleb(const uint8_t **p)
{
    return (int64_t)leb(p, 1);
}

/* Size of a pointer in encoding `enc`; 0: variable or unknown. */
static int encoded_size(uint8_t enc)
{
    /* clang-format off */
    switch (enc & 0x0f) {
    case 0x00: return (int)sizeof(void *);
    case 0x02: case 0x0a: return 2;
    case 0x03: case 0x0b: return 4;
    case 0x04: case 0x0c: return 8;
    default: return 0;
    }
    /* clang-format on */
}

static uint64_t read_sized(const uint8_t *p, int size)
{
    uint64_t value = 0;
    memcpy(&value, p, (size_t)size);    /* little-endian, as both CPUs are */
    return value;
}

static int find_entry(const void *pc, entry *out)
{
    struct dwarf_eh_bases bases;
    const uint8_t *fde = _Unwind_Find_FDE((void *)pc, &bases);
    if (!fde)
        return 0;
    uint32_t fde_length, cie_length;
    int32_t cie_delta;
    memcpy(&fde_length, fde, 4);
    memcpy(&cie_delta, fde + 4, 4);
    const uint8_t *cie = fde + 4 - cie_delta;
    memcpy(&cie_length, cie, 4);
    if (fde_length == 0xffffffff || cie_length == 0xffffffff)
        return 0;   /* 64-bit DWARF */

    const uint8_t *p = cie + 8;
    uint8_t version = *p++, enc = 0;
    const char *augmentation = (const char *)p;
    p += strlen(augmentation) + 1;
    if ((version != 1 && version != 3) || (augmentation[0] && augmentation[0] != 'z'))
        return 0;
    out->code_align = uleb(&p);
    out->data_align = sleb(&p);
    if ((version == 1 ? *p++ : uleb(&p)) != REG_RET)
        return 0;
    if (augmentation[0] == 'z') {
        uint64_t size = uleb(&p);
        const uint8_t *after = p + size;
        for (const char *a = augmentation + 1; *a; a++) {
            if (*a == 'R')
                enc = *p++;
            else if (*a == 'L')
                p++;
            else if (*a == 'P') {
                int personality = encoded_size(*p++);
                if (!personality)
                    return 0;
                p += personality;
            }
            else if (*a != 'B')     /* 'B': aarch64's second return-address key */
                return 0;           /* 'S', a signal frame, among others */
        }
        p = after;
    }
    out->initial = p;
    out->initial_end = cie + 4 + cie_length;

    int size = encoded_size(enc);
    if (!size)
        return 0;
    p = fde + 8 + size;
    out->function.begin = bases.func;
    out->function.end = out->function.begin + read_sized(p, size);
    p += size;
    if (augmentation[0] == 'z') {
        uint64_t skip = uleb(&p);
        p += skip;
    }
    out->code = p;
    out->code_end = fde + 4 + fde_length;
    return (const uint8_t *)pc >= out->function.begin && (const uint8_t *)pc < out->function.end;
}

int golib_cfi_function(const void *pc, golib_range *out)
{
    entry e;
    if (!find_entry(pc, &e))
        return 0;
    *out = e.function;
    return 1;
}

/* ---- running it ---- */

enum { SAME, AT_CFA, LOST };

typedef struct {
    uint8_t fp_rule, ret_rule;
    int64_t fp_at, ret_at;
    uint64_t cfa_reg;
    int64_t cfa_off;
    int cfa_lost;
} row;

typedef struct {
    row now, initial, saved[8];
    int depth;
} machine;

static void set_rule(row *r, uint64_t reg, uint8_t rule, int64_t at)
{
    if (reg == REG_FP) {
        r->fp_rule = rule;
        r->fp_at = at;
    }
    else if (reg == REG_RET) {
        r->ret_rule = rule;
        r->ret_at = at;
    }
}

static void restore_rule(machine *m, uint64_t reg)
{
    if (reg == REG_FP)
        set_rule(&m->now, reg, m->initial.fp_rule, m->initial.fp_at);
    else if (reg == REG_RET)
        set_rule(&m->now, reg, m->initial.ret_rule, m->initial.ret_at);
}

/* Runs instructions until they describe a place after pc. 0 if it meets an unknown one. */
static int run(machine *m, const entry *e, const uint8_t *p, const uint8_t *end, const uint8_t *pc)
{
    const uint8_t *loc = e->function.begin;
    row *r = &m->now;
    while (p < end) {
        uint8_t op = *p++;
        uint64_t low = op & 0x3f, reg, advance = 0;
        /* clang-format off */
        switch (op >> 6) {
        case 1: advance = low; goto moved;
        case 2: set_rule(r, low, AT_CFA, (int64_t)uleb(&p) * e->data_align); continue;
        case 3: restore_rule(m, low); continue;
        }
        /* clang-format on */
        /* clang-format off */
        switch (op) {
        case 0x00: break;                                                           /* nop */
        case 0x02: advance = read_sized(p, 1); p += 1; goto moved;
        case 0x03: advance = read_sized(p, 2); p += 2; goto moved;
        case 0x04: advance = read_sized(p, 4); p += 4; goto moved;
        case 0x05: reg = uleb(&p); set_rule(r, reg, AT_CFA, (int64_t)uleb(&p) * e->data_align); break;
        case 0x06: restore_rule(m, uleb(&p)); break;
        case 0x07: set_rule(r, uleb(&p), LOST, 0); break;                           /* undefined */
        case 0x08: set_rule(r, uleb(&p), SAME, 0); break;
        case 0x09: reg = uleb(&p); uleb(&p); set_rule(r, reg, LOST, 0); break;      /* in another register */
        case 0x0a:
            if (m->depth == 8)
                return 0;
            m->saved[m->depth++] = *r;
            break;
        case 0x0b:
            if (m->depth == 0)
                return 0;
            *r = m->saved[--m->depth];
            break;
        case 0x0c: r->cfa_reg = uleb(&p); r->cfa_off = (int64_t)uleb(&p); r->cfa_lost = 0; break;
        case 0x0d: r->cfa_reg = uleb(&p); break;
        case 0x0e: r->cfa_off = (int64_t)uleb(&p); break;
        case 0x0f: { uint64_t n = uleb(&p); p += n; r->cfa_lost = 1; break; }       /* an expression */
        case 0x10: case 0x16: { reg = uleb(&p); uint64_t n = uleb(&p); p += n; set_rule(r, reg, LOST, 0); break; }
        case 0x11: reg = uleb(&p); set_rule(r, reg, AT_CFA, sleb(&p) * e->data_align); break;
        case 0x12: r->cfa_reg = uleb(&p); r->cfa_off = sleb(&p) * e->data_align; r->cfa_lost = 0; break;
        case 0x13: r->cfa_off = sleb(&p) * e->data_align; break;
        case 0x14: reg = uleb(&p); uleb(&p); set_rule(r, reg, LOST, 0); break;
        case 0x15: reg = uleb(&p); sleb(&p); set_rule(r, reg, LOST, 0); break;
#if defined(__aarch64__)
        case 0x2d: break;       /* the return address is signed from here on, or no longer; the walk strips either */
#endif
        case 0x2e: uleb(&p); break;                                                 /* size of pushed arguments */
        default: return 0;
        }
        /* clang-format on */
        continue;
    moved:
        loc += advance * e->code_align;
        if (loc > pc)
            return 1;
    }
    return 1;
}

/* The rules at pc. 0: not understood. */
static int row_at(const void *pc, machine *m)
{
    entry e;
    memset(m, 0, sizeof *m);
    m->now.cfa_lost = 1;
    if (!find_entry(pc, &e))
        return 0;
    if (!run(m, &e, e.initial, e.initial_end, (const uint8_t *)UINTPTR_MAX))
        return 0;
    m->initial = m->now;
    return run(m, &e, e.code, e.code_end, pc);
}

int golib_cfi_is_bare(const void *pc)
{
    machine m;
    return row_at(pc, &m) && !m.now.cfa_lost && m.now.cfa_reg == REG_SP && m.now.cfa_off == BARE_CFA;
}

int golib_cfi_step(const void *pc, golib_step *out)
{
    machine m;
    if (!row_at(pc, &m))
        return 0;
    const row *r = &m.now;
    if (r->cfa_lost || (r->cfa_reg != REG_SP && r->cfa_reg != REG_FP) || r->ret_rule != AT_CFA || r->fp_rule == LOST)
        return 0;
    if (r->cfa_off < 0 || r->cfa_off > 1 << 20)
        return 0;
    out->from_fp = r->cfa_reg == REG_FP;
    out->fp_saved = r->fp_rule == AT_CFA;
    out->cfa_off = (int32_t)r->cfa_off;
    out->fp_at = (int32_t)r->fp_at;
    out->ret_at = (int32_t)r->ret_at;
    return 1;
}
