/* Loaded objects of ELF: what the files that read them share. */
#ifndef GOLIB_ELF_OBJECTS_H
#define GOLIB_ELF_OBJECTS_H

#include <link.h>

/* The address in an entry of a library's dynamic section. glibc has relocated it, but not in the kernel's own library; musl
 * leaves it as it is in the file. */
const void *golib_dynamic_address(const struct dl_phdr_info *info, const ElfW(Dyn) *d);

#endif
