/* Which functions of the interpreter must not be left to another OS thread while they run: not known on Windows, so all are. A
 * goroutine that waits keeps its OS thread. */
#include "internal.h"
#include "movable.h"
#include "patch_file.h"

int golib_scan_immovable(const golib_range **ranges)
{
    *ranges = NULL;
    return -1;
}

int golib_scan_buffered(const golib_range **ranges)
{
    *ranges = NULL;
    return -1;
}

/* No file is noted as one that a goroutine is inside of: golib.patch("file") is not there. */
void golib_disown_files(const golib_held *held, unsigned long ident)
{
    (void)held;
    (void)ident;
}
