/* Loaded objects of ELF: what the files that read them share. */
#ifndef GOLIB_ELF_OBJECTS_H
#define GOLIB_ELF_OBJECTS_H

#include <elf.h>
#include <link.h>

/* Relocations of a pointer to a function: filled when it is first called, or at once. */
#if defined(__x86_64__)
enum { GOLIB_JUMP_SLOT = R_X86_64_JUMP_SLOT, GOLIB_GLOB_DAT = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { GOLIB_JUMP_SLOT = R_AARCH64_JUMP_SLOT, GOLIB_GLOB_DAT = R_AARCH64_GLOB_DAT };
#else
#error "relocations of this CPU"
#endif

/* The address in an entry of a library's dynamic section. glibc has relocated it, but not in the kernel's own library; musl
 * leaves it as it is in the file. */
const void *golib_dynamic_address(const struct dl_phdr_info *info, const ElfW(Dyn) *d);

#endif
