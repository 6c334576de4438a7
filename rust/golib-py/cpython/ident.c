/* The idents of goroutines: what threading.get_ident() returns in one.
 *
 * An ident must never be an OS thread's, and who takes it for one should not crash. CPython's fault handler asks the C
 * library for the name of every thread that it prints (3.14+), and glibc reads the thread's number from a record at that
 * address. So idents are odd (a pthread_t is an aligned address), and they are addresses in a mapping of zeros that nobody
 * writes: glibc finds a thread without a number there and gives up. It costs address space; memory only where it is read.
 *
 * Idents come round again after as many goroutines as the space has room for, 34 000 million.
 */
#include "internal.h"

#include <sys/mman.h>

enum {
    /* Larger than any C library's record of a thread: what is read behind the last ident. */
    RECORD_BYTES = 64 * 1024,
};

static const size_t SPACE_BYTES = (size_t)1 << 36;
/* Where the address space is limited, a thread more or less does not matter, but this much does. */
static const size_t SMALL_SPACE_BYTES = (size_t)1 << 24;

static char *space;
static size_t space_bytes;

static int reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes + RECORD_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return 0;
    space = p;
    space_bytes = bytes;
    return 1;
}

int golib_ident_init(void)
{
    if (space || reserve(SPACE_BYTES) || reserve(SMALL_SPACE_BYTES))
        return 0;
    PyErr_NoMemory();
    return -1;
}

unsigned long golib_ident_of(uint64_t goid)
{
    return (unsigned long)(uintptr_t)space + (((unsigned long)goid << 1) & (space_bytes - 1)) + 1;
}

int golib_ident_is_goroutine(unsigned long ident)
{
    return (ident & 1) && ident - (unsigned long)(uintptr_t)space < space_bytes;
}
