/* Where the interpreter calls the C library's functions that return a thread-local address, or that say which thread this
 * is, and where it gets such an address by itself: what its relocations tell of that.
 *
 * It calls them through pointers that the dynamic linker fills: by a call through the pointer, or by one of a stub, a jump
 * through it. Where such calls are in the text, x86_code.c and a64_code.c find.
 */
#include "tls_calls.h"

#include "elf_objects.h"

#include <string.h>

static const char *const getter_names[] = {"__tls_get_addr", "__errno_location", NULL};
static const char *const ident_names[] = {"pthread_self", "PyThread_get_thread_ident", "PyThread_get_thread_ident_ex",
                                          NULL};

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
golib_descriptors golib_described;

struct module_search {
    ElfW(Addr) address;
    int unknown; /* a thread-local address may be had in a way that the scan does not know */
};

static int is_name_of(const golib_callees *these, const char *name)
{
    for (int i = 0; these->names[i]; i++) {
        if (!strcmp(name, these->names[i]))
            return 1;
    }
    return 0;
}

/* 1: there is no room for it. */
static int note_slot(const void **slots, int *n, const void *slot)
{
    if (*n == GOLIB_MOST_SLOTS)
        return 1;
    slots[(*n)++] = slot;
    return 0;
}

/* Notes what the scan has to know about a slot. 1: a thread-local address may be had by it in a way that it does not know. */
static int note_relocation(unsigned type, const char *name, const void *slot)
{
    int is_getter = is_name_of(&golib_getting, name), unknown = 0;
    switch (golib_slot_kind_of(type, is_getter)) {
    case GOLIB_SLOT_IRRELEVANT: return 0;
    case GOLIB_SLOT_UNKNOWN: return 1;
    case GOLIB_SLOT_OF_DESCRIPTOR: return note_slot(golib_described.slots, &golib_described.n, slot);
    case GOLIB_SLOT_OF_FUNCTION:
        if (is_getter)
            unknown |= note_slot(golib_getting.slots, &golib_getting.n, slot);
        if (is_name_of(&golib_asking, name))
            unknown |= note_slot(golib_asking.slots, &golib_asking.n, slot);
    }
    return unknown;
}

/* Fills the slots from the relocations of the module around an address. */
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
            search->unknown |= note_relocation(type, name, slot);
        }
    }
    return 1;
}

int golib_scan_knows(const void *address)
{
    golib_callees were[2] = {golib_getting, golib_asking};
    golib_descriptors described = golib_described;
    struct module_search search = {(ElfW(Addr))address, 0};
    int found_it = dl_iterate_phdr(find_slots, &search);
    golib_getting = were[0];
    golib_asking = were[1];
    golib_described = described;
    return found_it && !search.unknown;
}

int golib_calls_find(const void *interpreter, const golib_range *texts, int n)
{
    struct module_search search = {(ElfW(Addr))interpreter, 0};
    int has_room = 1;
    dl_iterate_phdr(find_slots, &search);
    for (int i = 0; i < n && !search.unknown; i++)
        has_room &= golib_stubs_find(&texts[i]);
    return search.unknown || !has_room ? -1 : 0;
}
