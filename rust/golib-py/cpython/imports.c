/* Replaces functions that loaded libraries import by name.
 *
 * A shared library calls a function of another one through a word of its own, which the dynamic linker has filled.
 * Another address in that word replaces the function for this library alone. Only a few libraries import the functions
 * asked for here; finding that out takes a look at all names that a library imports.
 */
#include "internal.h"
#include "elf_objects.h"
#include "imports.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- one library ---- */

typedef struct {
    const struct dl_phdr_info *info;
    const ElfW(Sym) *symbols;
    const char *names;
    size_t n_undefined;     /* its imports are among the first symbols, up to this number */
    struct {
        const ElfW(Rela) *begin;
        size_t bytes;
    } tables[2];
    ElfW(Addr) relro_begin, relro_end;      /* read-only since it was relocated */
} library;

static int read_library(library *lib, const struct dl_phdr_info *info)
{
    const ElfW(Dyn) *dynamic = NULL;
    memset(lib, 0, sizeof *lib);
    lib->info = info;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + ph->p_vaddr);
        if (ph->p_type == PT_GNU_RELRO) {
            lib->relro_begin = info->dlpi_addr + ph->p_vaddr;
            lib->relro_end = lib->relro_begin + ph->p_memsz;
        }
    }
    for (const ElfW(Dyn) *d = dynamic; d && d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_SYMTAB: lib->symbols = golib_dynamic_address(info, d); break;
        case DT_STRTAB: lib->names = golib_dynamic_address(info, d); break;
        case DT_JMPREL: lib->tables[0].begin = golib_dynamic_address(info, d); break;
        case DT_PLTRELSZ: lib->tables[0].bytes = d->d_un.d_val; break;
        case DT_RELA: lib->tables[1].begin = golib_dynamic_address(info, d); break;
        case DT_RELASZ: lib->tables[1].bytes = d->d_un.d_val; break;
        /* The symbols that a library defines come last in its table: from the number in the second word. */
        case DT_GNU_HASH: lib->n_undefined = ((const uint32_t *)golib_dynamic_address(info, d))[1]; break;
        /* An older table knows only how many there are. */
        case DT_HASH:
            if (!lib->n_undefined)
                lib->n_undefined = ((const uint32_t *)golib_dynamic_address(info, d))[1];
            break;
        default: break;
        }
    }
    return lib->symbols && lib->names && lib->n_undefined;
}

static int is_sealed(const library *lib, ElfW(Addr) word)
{
    ElfW(Addr) page_bytes = (ElfW(Addr))sysconf(_SC_PAGESIZE);
    return word >= (lib->relro_begin & ~(page_bytes - 1)) && word < lib->relro_end;
}

static int write_word(ElfW(Addr) word, void *value, int sealed)
{
    ElfW(Addr) page_bytes = (ElfW(Addr))sysconf(_SC_PAGESIZE), page = word & ~(page_bytes - 1);
    if (sealed && mprotect((void *)page, page_bytes, PROT_READ | PROT_WRITE) != 0)
        return 0;
    /* Release: another thread that reads the value calls the code that it points to. */
    __atomic_store_n((void **)word, value, __ATOMIC_RELEASE);
    if (sealed)
        mprotect((void *)page, page_bytes, PROT_READ);
    return 1;
}

/* Calls `act` for each word through which the library calls a function, with the function's symbol. */
static void for_each_word(const library *lib,
                          void (*act)(const library *lib, size_t symbol, ElfW(Addr) word, void *arg), void *arg)
{
    for (int t = 0; t < 2; t++) {
        const ElfW(Rela) *r = lib->tables[t].begin;
        for (size_t i = 0; r && i < lib->tables[t].bytes / sizeof *r; i++) {
            unsigned type = (unsigned)ELF64_R_TYPE(r[i].r_info);
            if (type == GOLIB_JUMP_SLOT || type == GOLIB_GLOB_DAT)
                act(lib, ELF64_R_SYM(r[i].r_info), lib->info->dlpi_addr + r[i].r_offset, arg);
        }
    }
}

struct replacing {
    size_t symbol;
    golib_import *import;
};

static void replace_word(const library *lib, size_t symbol, ElfW(Addr) word, void *arg)
{
    const struct replacing *what = arg;
    if (symbol != what->symbol)
        return;
    what->import->original = *(void **)word;
    what->import->replaced += write_word(word, what->import->replacement, is_sealed(lib, word));
}

static void replace_in(const library *lib, golib_import *imports, int n)
{
    for (size_t s = 1; s < lib->n_undefined; s++) {
        if (lib->symbols[s].st_shndx != SHN_UNDEF)
            continue;
        const char *name = lib->names + lib->symbols[s].st_name;
        for (int i = 0; i < n; i++) {
            if (!strcmp(name, imports[i].symbol) &&
                (!imports[i].only_in || strstr(lib->info->dlpi_name, imports[i].only_in)))
                for_each_word(lib, replace_word, &(struct replacing){s, &imports[i]});
        }
    }
}

/* ---- all of them ---- */

/* The libraries that have been looked at, by address. After one is unloaded, another may lie at the same address. */
static struct {
    ElfW(Addr) *at;
    size_t n, room;
    unsigned long long adds, subs;
} seen;

struct sweep {
    golib_import *imports;
    int n, first;
};

static int has_seen(ElfW(Addr) at)
{
    for (size_t i = 0; i < seen.n; i++) {
        if (seen.at[i] == at)
            return 1;
    }
    return 0;
}

static void note_seen(ElfW(Addr) at)
{
    if (seen.n == seen.room) {
        size_t room = seen.room ? 2 * seen.room : 64;
        ElfW(Addr) *grown = realloc(seen.at, room * sizeof *grown);
        if (!grown)
            return;     /* and is looked at again */
        seen.at = grown;
        seen.room = room;
    }
    seen.at[seen.n++] = at;
}

static int contains(const struct dl_phdr_info *info, const void *address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && (ElfW(Addr))address - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            return 1;
    }
    return 0;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct sweep *sweep = arg;
    library lib;
    (void)size;
    if (sweep->first) {
        sweep->first = 0;
        if (info->dlpi_adds == seen.adds && info->dlpi_subs == seen.subs)
            return 1;
        if (info->dlpi_subs != seen.subs)
            seen.n = 0;
        seen.adds = info->dlpi_adds;
        seen.subs = info->dlpi_subs;
    }
    if (has_seen(info->dlpi_addr))
        return 0;
    note_seen(info->dlpi_addr);
    if (!contains(info, (const void *)&PyEval_EvalCode) && !contains(info, (const void *)&golib_imports_replace) &&
        read_library(&lib, info))
        replace_in(&lib, sweep->imports, sweep->n);
    return 0;
}

void golib_imports_replace(golib_import *imports, int n)
{
    struct sweep sweep = {imports, n, 1};
    dl_iterate_phdr(look_at, &sweep);
}

/* ---- those of one library, to be restored ---- */

struct word_search {
    golib_import_words *words;
    const void *address;
    const char *symbol;
};

static void note_word(const library *lib, size_t symbol, ElfW(Addr) word, void *arg)
{
    const struct word_search *search = arg;
    golib_import_words *words = search->words;
    if (words->n == GOLIB_MOST_WORDS || strcmp(lib->names + lib->symbols[symbol].st_name, search->symbol) != 0)
        return;
    words->at[words->n].word = (void **)word;
    words->at[words->n++].is_sealed = is_sealed(lib, word);
}

static int look_for_words(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct word_search *search = arg;
    library lib;
    (void)size;
    if (!contains(info, search->address))
        return 0;
    read_library(&lib, info);
    if (lib.symbols && lib.names)
        for_each_word(&lib, note_word, search);
    return 1;
}

int golib_import_find(golib_import_words *words, const void *address, const char *symbol)
{
    struct word_search search = {words, address, symbol};
    *words = (golib_import_words){0};
    dl_iterate_phdr(look_for_words, &search);
    return words->n;
}

void golib_import_write(golib_import_words *words, void *replacement)
{
    for (int i = 0; i < words->n; i++) {
        void *before = __atomic_load_n(words->at[i].word, __ATOMIC_RELAXED);
        if (before != replacement && write_word((ElfW(Addr))words->at[i].word, replacement, words->at[i].is_sealed))
            words->at[i].before = before;
    }
}

void golib_import_restore(golib_import_words *words, void *replacement)
{
    for (int i = 0; i < words->n; i++) {
        void *before = words->at[i].before;
        words->at[i].before = NULL;
        if (before && __atomic_load_n(words->at[i].word, __ATOMIC_RELAXED) == replacement)
            write_word((ElfW(Addr))words->at[i].word, before, words->at[i].is_sealed);
    }
}
