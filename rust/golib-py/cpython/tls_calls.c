/* Where the interpreter calls the C library's functions that return a thread-local address, or that say which thread this
 * is.
 *
 * It calls them through pointers that the dynamic linker fills: by a call through the pointer, or by one of a stub, a jump
 * through it. The text is three megabytes, so 16 bytes of it are looked at together, and the few stubs are found first:
 * looking at each call's target would fetch a cache line for each.
 */
#include "tls_calls.h"

#if defined(__x86_64__)

#include <elf.h>
#include <emmintrin.h>
#include "elf_objects.h"
#include <string.h>

static const char *const getter_names[] = {"__tls_get_addr", "__errno_location", NULL};
static const char *const ident_names[] = {"pthread_self", "PyThread_get_thread_ident", "PyThread_get_thread_ident_ex",
                                          NULL};

/* Functions that return a thread-local address, and those that say which thread this is. */
golib_callees golib_getting = {.names = getter_names};
golib_callees golib_asking = {
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
    int unknown; /* a thread-local address may be had in a way that the scan does not know */
};

/* 1: it is one of these, and there is no room for it. */
static int note_slot(golib_callees *these, const char *name, const void *slot)
{
    for (int i = 0; these->names[i]; i++) {
        if (strcmp(name, these->names[i]))
            continue;
        if (these->n == GOLIB_MOST_SLOTS)
            return 1;
        these->slots[these->n++] = slot;
    }
    return 0;
}

static int is_name_of(const golib_callees *these, const char *name)
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
        switch (d->d_tag) {
        case DT_SYMTAB: symbols = golib_dynamic_address(module, d); break;
        case DT_STRTAB: names = golib_dynamic_address(module, d); break;
        case DT_JMPREL: tables[0].begin = golib_dynamic_address(module, d); break;
        case DT_PLTRELSZ: tables[0].bytes = d->d_un.d_val; break;
        case DT_RELA: tables[1].begin = golib_dynamic_address(module, d); break;
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
                search->unknown |= note_slot(&golib_getting, name, slot) | note_slot(&golib_asking, name, slot);
            else
                search->unknown |= type == R_X86_64_TLSDESC || is_name_of(&golib_getting, name);
        }
    }
    return 1;
}

int golib_scan_knows(const void *address)
{
    golib_callees were[2] = {golib_getting, golib_asking};
    struct module_search search = {(ElfW(Addr))address, 0};
    int found_it = dl_iterate_phdr(find_slots, &search);
    golib_getting = were[0];
    golib_asking = were[1];
    return found_it && !search.unknown;
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

int golib_calls_find(const void *interpreter, const golib_range *texts, int n)
{
    struct module_search search = {(ElfW(Addr))interpreter, 0};
    dl_iterate_phdr(find_slots, &search);
    for (int i = 0; i < n && !search.unknown; i++)
        for_each_start(&texts[i], stub_starts, look_for_stub);
    return search.unknown || is_full ? -1 : 0;
}

#else

int golib_scan_knows(const void *address)
{
    (void)address;
    return 0;
}

#endif
