/* The idents of goroutines, which threading.get_ident() returns in them.
 *
 * An ident has 32 bits on Windows, and is only a number: nobody takes it for an address. The system's own are multiples of four,
 * so those of goroutines leave 1 when they are divided by four. After 2^30 goroutines they come round again.
 */
#include "internal.h"

enum { OF_GOROUTINE = 1, OF_NOBODY = 3, KIND = 3 };

unsigned long golib_ident_of_nobody(void)
{
    return OF_NOBODY;
}

unsigned long golib_ident_of(uint64_t goid)
{
    return (unsigned long)(goid << 2) | OF_GOROUTINE;
}

int golib_ident_is_goroutine(unsigned long ident)
{
    return (ident & KIND) == OF_GOROUTINE;
}
