/* Which functions of the interpreter must not be left to another OS thread while they run.
 *
 * 1. Those that keep a thread-local address (of the current state, of errno) in a saved register or in memory across a
 *    call: after the call they would use the old thread's variable. Compilers do that where the address is worth keeping:
 *    in shared builds of 3.12+, where it takes a call to find. Found by following each such address through the machine
 *    code until it is dead; a function in which that cannot be followed counts too.
 * 2. Those that ask which OS thread they run on, found by the calls that ask. The eval loop asks too (3.11), but keeps no
 *    answer. Those of buffered files are listed apart (buffered_scan.c).
 *
 * Found once, at the first go(): a few milliseconds for the bytes of the interpreter's text.
 */
#include "internal.h"
#include "movable.h"

#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_RANGES = 4096,
    MOST_STATES = 2048,
    MOST_TEXTS = 8,
    MOST_SLOTS = 16,
    MOST_OWN = 2,
    MOST_ASKERS = 512,
    MOST_PARTS = 32
};

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

/* Functions of one kind that the interpreter calls. */
typedef struct {
    const char *const *names;
    const void *slots[MOST_SLOTS];  /* pointers through which it calls them */
    int n;
    const void *own[MOST_OWN];      /* those of its own: called directly */
} callees;

static const char *const getter_names[] = {"__tls_get_addr", "__errno_location", NULL};
static const char *const ident_names[] = {"pthread_self", "PyThread_get_thread_ident", "PyThread_get_thread_ident_ex",
                                          NULL};

/* Functions that return a thread-local address, and those that say which thread this is. */
static callees getters = {.names = getter_names};
static callees idents = {
    .names = ident_names,
    .own =
        {
            (const void *)PyThread_get_thread_ident,
#if PY_VERSION_HEX >= 0x030d0000
            (const void *)PyThread_get_thread_ident_ex,
#endif
        },
};

struct module_search {
    ElfW(Addr) address;
    int unknown;            /* a thread-local address may be had in a way that the scan does not know */
};

/* 1: it is one of these, and there is no room for it. */
static int note_slot(callees *these, const char *name, const void *slot)
{
    for (int i = 0; these->names[i]; i++) {
        if (strcmp(name, these->names[i]))
            continue;
        if (these->n == MOST_SLOTS)
            return 1;
        these->slots[these->n++] = slot;
    }
    return 0;
}

static int is_name_of(const callees *these, const char *name)
{
    for (int i = 0; these->names[i]; i++) {
        if (!strcmp(name, these->names[i]))
            return 1;
    }
    return 0;
}

/* Fills the slots from the relocations of the module around an address. Not known are descriptors of thread-local
 * variables (-mtls-dialect=gnu2), and the address of a function that returns one where it is data. */
static int find_slots(struct dl_phdr_info *module, size_t size, void *arg)
{
    struct module_search *search = arg;
    const ElfW(Dyn) *dynamic = NULL;
    int ours = 0;
    (void)size;
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &module->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && search->address - (module->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            ours = 1;
        if (ph->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)(module->dlpi_addr + ph->p_vaddr);
    }
    if (!ours || !dynamic)
        return 0;
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    struct {
        const ElfW(Rela) *begin;
        size_t bytes;
    } tables[2] = {{NULL, 0}, {NULL, 0}};
    for (const ElfW(Dyn) *d = dynamic; d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {     /* glibc has relocated the addresses in here */
        case DT_SYMTAB: symbols = (const ElfW(Sym) *)d->d_un.d_ptr; break;
        case DT_STRTAB: names = (const char *)d->d_un.d_ptr; break;
        case DT_JMPREL: tables[0].begin = (const ElfW(Rela) *)d->d_un.d_ptr; break;
        case DT_PLTRELSZ: tables[0].bytes = d->d_un.d_val; break;
        case DT_RELA: tables[1].begin = (const ElfW(Rela) *)d->d_un.d_ptr; break;
        case DT_RELASZ: tables[1].bytes = d->d_un.d_val; break;
        default: break;
        }
    }
    for (int t = 0; t < 2 && symbols && names; t++) {
        const ElfW(Rela) *r = tables[t].begin;
        for (size_t i = 0; r && i < tables[t].bytes / sizeof *r; i++) {
            unsigned type = ELF64_R_TYPE(r[i].r_info);
            const char *name = names + symbols[ELF64_R_SYM(r[i].r_info)].st_name;
            const void *slot = (const void *)(module->dlpi_addr + r[i].r_offset);
            if (type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT)
                search->unknown |= note_slot(&getters, name, slot) | note_slot(&idents, name, slot);
            else
                search->unknown |= type == R_X86_64_TLSDESC || is_name_of(&getters, name);
        }
    }
    return 1;
}

int golib_scan_knows(const void *address)
{
    callees were[2] = {getters, idents};
    struct module_search search = {(ElfW(Addr))address, 0};
    int found_it = dl_iterate_phdr(find_slots, &search);
    getters = were[0];
    idents = were[1];
    return found_it && !search.unknown;
}

static int is_slot(const callees *these, const uint8_t *next, const uint8_t *rel)
{
    int32_t off;
    memcpy(&off, rel, 4);
    for (int i = 0; i < these->n; i++) {
        if ((const uint8_t *)these->slots[i] == next + off)
            return 1;
    }
    return 0;
}

/* Does a call to `target` go through one of the slots? */
static int is_stub(const callees *these, const uint8_t *target, const golib_range *text)
{
    static const uint8_t endbr[4] = {0xf3, 0x0f, 0x1e, 0xfa};
    if (target < text->begin || target + 16 > text->end)
        return 0;
    if (!memcmp(target, endbr, 4))
        target += 4;
    if (*target == 0xf2)
        target++;
    return target[0] == 0xff && target[1] == 0x25 && is_slot(these, target + 6, target + 2);
}

/* Is the instruction at p a call of one of these? *next is what follows. */
static inline int calls_one(const callees *these, const uint8_t *p, const golib_range *text, const uint8_t **next)
{
    if (*p == 0xe8) {
        int32_t off;
        memcpy(&off, p + 1, 4);
        *next = p + 5;
        for (int i = 0; i < MOST_OWN && these->own[i]; i++) {
            if (*next + off == (const uint8_t *)these->own[i])
                return 1;
        }
        return is_stub(these, *next + off, text);
    }
    *next = p + 6;
    return p[0] == 0xff && p[1] == 0x15 && is_slot(these, p + 6, p + 2);
}

/* Is a thread-local address in a register after the instruction at p? Its register, or -1; *next is what follows. */
static int address_made_at(const uint8_t *p, const golib_range *text, const uint8_t **next)
{
    if (*p == 0xe8 || (p[0] == 0xff && p[1] == 0x15))
        return calls_one(&getters, p, text, next) ? 0 : -1;
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

static void scan_text(const golib_range *text)
{
    golib_range seen = {NULL, NULL};
    int seen_kept = 0;
    for (const uint8_t *p = text->begin; p + 32 < text->end; p++) {
        const uint8_t *next;
        int reg;
        if (*p != 0xe8 && *p != 0xff && *p != 0x64)
            continue;
        if (*p != 0x64 && calls_one(&idents, p, text, &next)) {
            if (askers.n < MOST_ASKERS)
                askers.at[askers.n++] = p;
            else
                found.full = 1;
            continue;
        }
        if ((reg = address_made_at(p, text, &next)) < 0)
            continue;
        if (seen_kept && p >= seen.begin && p < seen.end)
            continue;
        if (!is_kept(next, reg, text))
            continue;
        if (!golib_cfi_function(p, &seen))
            continue;   /* cannot be walked, so it pins anyway */
        seen_kept = 1;
        add(seen);
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
    struct module_search search = {(ElfW(Addr))interpreter, 0};
    int n = golib_text_of(interpreter, texts, MOST_TEXTS);
    int n_eval = golib_parts_of((const void *)&_PyEval_EvalFrameDefault, eval, MOST_PARTS);
    if (n <= 0)
        return -1;
    dl_iterate_phdr(find_slots, &search);
    if (search.unknown)
        return -1;
    for (int i = 0; i < n; i++)
        scan_text(&texts[i]);
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

int golib_scan_knows(const void *address)
{
    (void)address;
    return 0;
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
