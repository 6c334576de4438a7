/* The idents of goroutines, which threading.get_ident() returns in them.
 *
 * An ident must never equal an OS thread's, and code that takes it for one should not crash. CPython's fault handler
 * asks the C library for the name of every thread that it prints (3.14+), and glibc reads the thread's number from a
 * record at that address. So idents are odd (a pthread_t is an aligned address), and they are addresses in a mapping
 * of zeros that is never written: glibc finds a thread without a number there and gives up. The mapping costs address
 * space, and memory only where it is read.
 *
 * The mapping comes with the first goroutine and grows with their number: a byte each, doubled in place as long as the
 * addresses behind it are free and the process may have them. Where it cannot grow, and at 64 GiB, idents come round
 * again.
 */
#include "internal.h"

#include <sys/mman.h>

enum {
    /* How many bytes after the last ident may be read: more than any C library's record of a thread. */
    RECORD_BYTES = 64 * 1024,
    /* Used if there is no mapping: some live goroutines may then have equal idents, but none crashes. */
    LEAST_BYTES = 64 * 1024,
};

static const size_t FIRST_BYTES = (size_t)1 << 20;
static const size_t MOST_BYTES = (size_t)1 << 36;
/* Far from where the kernel places mappings by itself, so that there is room to grow. If the CPU has no such address, or if
 * it is taken, the kernel chooses another one. */
static const uintptr_t PLACE = (uintptr_t)0x31 << 40;

static char least[LEAST_BYTES + RECORD_BYTES];
/* A power of two, without the record behind it. 0: no goroutine has had an ident yet. */
static size_t space_bytes;
static char *space;
static int cannot_grow;

static void *map_zeros(uintptr_t at, size_t bytes, int flags)
{
    return mmap((void *)at, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

/* Makes room for the first idents. */
static void begin(void)
{
    void *p = map_zeros(PLACE, FIRST_BYTES + RECORD_BYTES, 0);
    cannot_grow = p == MAP_FAILED;
    space = cannot_grow ? least : p;
    space_bytes = cannot_grow ? LEAST_BYTES : FIRST_BYTES;
}

/* Doubles the room, if possible. */
static void grow(void)
{
#ifdef MAP_FIXED_NOREPLACE
    uintptr_t end = (uintptr_t)space + space_bytes + RECORD_BYTES;
    void *p = space_bytes < MOST_BYTES ? map_zeros(end, space_bytes, MAP_FIXED_NOREPLACE) : MAP_FAILED;
    if (p == (void *)end) {
        space_bytes *= 2;
        return;
    }
    if (p != MAP_FAILED)
        munmap(p, space_bytes);     /* a kernel before 4.17 takes the address for a hint */
#endif
    cannot_grow = 1;
}

__attribute__((noinline, cold)) static void make_room(uint64_t offset)
{
    if (!space_bytes)
        begin();
    while (offset >= space_bytes && !cannot_grow)
        grow();
}

unsigned long golib_ident_of_nobody(void)
{
    return (unsigned long)(uintptr_t)least + 1;
}

unsigned long golib_ident_of(uint64_t goid)
{
    uint64_t offset = goid << 1;
    if (GOLIB_UNLIKELY(offset >= space_bytes && !cannot_grow))
        make_room(offset);
    return (unsigned long)((uintptr_t)space + (offset & (space_bytes - 1)) + 1);
}

int golib_ident_is_goroutine(unsigned long ident)
{
    return (ident & 1) && ident - (unsigned long)(uintptr_t)space < space_bytes;
}
