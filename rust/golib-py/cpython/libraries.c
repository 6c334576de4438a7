/* The loaded objects, found by an address. */
#include "internal.h"
#include "movable.h"

#include "elf_objects.h"

const void *golib_dynamic_address(const struct dl_phdr_info *info, const ElfW(Dyn) *d)
{
    return (const void *)(d->d_un.d_ptr < info->dlpi_addr ? info->dlpi_addr + d->d_un.d_ptr : d->d_un.d_ptr);
}

struct search {
    ElfW(Addr) address;
    golib_library *out;
};

static int look(struct dl_phdr_info *module, size_t size, void *arg)
{
    struct search *search = arg;
    golib_library *out = search->out;
    int is_it = 0;
    (void)size;
    *out = (golib_library){.tls = module->dlpi_tls_data};
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &module->dlpi_phdr[i];
        const uint8_t *begin = (const uint8_t *)(module->dlpi_addr + ph->p_vaddr);
        if (ph->p_type == PT_TLS)
            out->tls_bytes = ph->p_memsz;
        if (ph->p_type != PT_LOAD)
            continue;
        if (search->address - (ElfW(Addr))begin < ph->p_memsz)
            is_it = 1;
        if ((ph->p_flags & PF_X) && out->texts < GOLIB_MOST_TEXTS)
            out->text[out->texts++] = (golib_range){begin, begin + ph->p_memsz};
    }
    if (!out->tls_bytes)
        out->tls = NULL;
    return is_it;
}

int golib_library_of(const void *address, golib_library *out)
{
    struct search search = {(ElfW(Addr))address, out};
    return dl_iterate_phdr(look, &search);
}
