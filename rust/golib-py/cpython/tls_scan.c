/* Which functions of the interpreter must not be left to another OS thread while they run.
 *
 * 1. Those that keep a thread-local address (of the current state, of errno) in a saved register or in memory across a
 *    call: after the call they would use the old thread's variable. Compilers do that where the address is worth keeping:
 *    in shared builds of 3.12+, where it takes a call to find. Found by following each such address through the machine
 *    code until it is dead; a function in which that cannot be followed counts too.
 * 2. Those that ask which OS thread they run on, found by the calls that ask. The eval loop asks too (3.11), but keeps no
 *    answer. _io's buffered objects hold a lock that remembers it while they call the raw object; found by their types, or
 *    by who calls them and where they keep the answer, and listed apart: they may be left once the answer has been
 *    corrected (patch_file.c).
 *
 * Found once, at the first go(): a few milliseconds for the bytes of the interpreter's text.
 */
#include "internal.h"
#include "movable.h"
#include "patch_file.h"

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

/* Functions of buffered files, sorted; those of `found` among them count as such first. */
enum { MOST_BUFFERED = 128 };
static struct {
    golib_range ranges[MOST_BUFFERED];
    int n;
} buffered_ranges;

static int is_of_buffered(const uint8_t *p)
{
    for (int i = 0; i < buffered_ranges.n; i++) {
        if (p >= buffered_ranges.ranges[i].begin && p < buffered_ranges.ranges[i].end)
            return 1;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    const golib_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* ---- 1. thread-local addresses ---- */

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

/* Does what follows a call that asks put the answer where a buffered file keeps its owner? */
static int notes_owner(const uint8_t *call)
{
    enum { NEAR = 24 };
    const uint8_t *next = call + (*call == 0xe8 ? 5 : 6);
    for (const uint8_t *p = next; p < next + NEAR; p++) {
        /* mov %rax, disp8(%reg); %rsp and %r12 take one byte more */
        if ((p[0] & 0xfe) == 0x48 && p[1] == 0x89 && (p[2] & 0xf8) == 0x40 &&
            p[(p[2] & 7) == 4 ? 4 : 3] == golib_buffered_owner)
            return 1;
    }
    return 0;
}

/* Does a function of buffered files call (or end with) the one that begins here? */
static int is_called_by_buffered(const uint8_t *function)
{
    for (int i = 0; i < buffered_ranges.n; i++) {
        for (const uint8_t *p = buffered_ranges.ranges[i].begin; p + 5 <= buffered_ranges.ranges[i].end; p++) {
            int32_t off;
            if (*p != 0xe8 && *p != 0xe9)
                continue;
            memcpy(&off, p + 1, 4);
            if (p + 5 + off == function)
                return 1;
        }
    }
    return 0;
}

/* A link-time optimiser that sorts functions by heat puts a helper of bufferedio.c anywhere. One that takes a file's lock
 * is known by who calls it and by what it does with the answer. 1: this one is, and is among the buffered now. */
static int add_helper(const uint8_t *asker)
{
    golib_range parts[MOST_PARTS];
    int n = notes_owner(asker) ? golib_parts_of(asker, parts, MOST_PARTS) : 0, is_helper = 0;
    for (int i = 0; i < n; i++)
        is_helper |= is_called_by_buffered(parts[i].begin);
    for (int i = 0; i < n && is_helper; i++) {
        if (is_of_buffered(parts[i].begin))
            continue;
        if (buffered_ranges.n == MOST_BUFFERED) {
            found.full = 1;
            break;
        }
        buffered_ranges.ranges[buffered_ranges.n++] = parts[i];
    }
    return is_helper;
}

/* Helpers may call each other. */
static void add_helpers(void)
{
    golib_range asks;
    for (int more = 1; more && !found.full;) {
        more = 0;
        for (int i = 0; i < askers.n; i++) {
            if (golib_cfi_function(askers.at[i], &asks) && !is_of_buffered(asks.begin))
                more |= add_helper(askers.at[i]);
        }
    }
    qsort(buffered_ranges.ranges, (size_t)buffered_ranges.n, sizeof *buffered_ranges.ranges, compare);
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
    add_helpers();
    for (int i = 0; i < askers.n; i++) {
        if (golib_cfi_function(askers.at[i], &asks) && !is_one_of(&asks, eval, n_eval) && !is_of_buffered(asks.begin))
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

/* ---- 2. buffered files, by their types ---- */

static void add_function(const void *function, golib_range *into, int *n, int most)
{
    if (function && *n < most && golib_cfi_function(function, &into[*n]))
        (*n)++;
}

/* The functions of bufferedio.c: those that its types name, and what lies between them where they lie close together
 * (the helpers that the named ones call; the compiler keeps a file's functions together). */
static int scan_buffered(void)
{
    enum { MOST = 512, CLOSE = 4096 };
    static golib_range functions[MOST];
    static const char *const names[] = {"BufferedReader", "BufferedWriter", "BufferedRandom", "BufferedRWPair"};
    int n = 0;
    /* Not by way of builtins.__import__, which a program may have replaced. */
    PyObject *io = PyImport_ImportModuleLevel("_io", NULL, NULL, NULL, 0);
    for (size_t i = 0; io && i < sizeof names / sizeof *names; i++) {
        PyTypeObject *type = (PyTypeObject *)PyObject_GetAttrString(io, names[i]);
        if (!type || !PyType_Check(type))
            break;
        for (const PyMethodDef *m = type->tp_methods; m && m->ml_name; m++)
            add_function((const void *)m->ml_meth, functions, &n, MOST);
        for (const PyGetSetDef *g = type->tp_getset; g && g->name; g++)
            add_function((const void *)g->get, functions, &n, MOST);
        add_function((const void *)type->tp_init, functions, &n, MOST);
        add_function((const void *)type->tp_iternext, functions, &n, MOST);
        add_function((const void *)type->tp_dealloc, functions, &n, MOST);
        Py_DECREF(type);
    }
    Py_XDECREF(io);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    qsort(functions, (size_t)n, sizeof *functions, compare);
    for (int i = 0; i < n;) {
        golib_range cluster = functions[i++];
        const void *generic[] = {(const void *)PyObject_GenericGetAttr, (const void *)PyType_GenericNew};
        for (; i < n && functions[i].begin - cluster.end < CLOSE; i++)
            cluster.end = functions[i].end > cluster.end ? functions[i].end : cluster.end;
        int shared = 0;     /* a slot that is not bufferedio.c's own */
        for (size_t g = 0; g < sizeof generic / sizeof *generic; g++)
            shared |= cluster.begin == generic[g];
        if (shared)
            continue;
        if (buffered_ranges.n == MOST_BUFFERED)
            return -1;
        buffered_ranges.ranges[buffered_ranges.n++] = cluster;
    }
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
        if (scan_buffered() == 0 && scan_code((const void *)&PyEval_EvalCode) == 0 && !found.full) {
            qsort(found.ranges, (size_t)found.n, sizeof *found.ranges, compare);
            merge();
            result = found.n;
        }
    }
    *ranges = found.ranges;
    return result;
}

int golib_scan_buffered(const golib_range **ranges)
{
    *ranges = buffered_ranges.ranges;
    return buffered_ranges.n;
}
