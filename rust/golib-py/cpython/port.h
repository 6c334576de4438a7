/* What the shim asks of the operating system about threads. A file for each kind of system defines:
 *
 * | name | what it is |
 * |---|---|
 * | golib_this_thread() | the calling OS thread by the ident that CPython gives it |
 * | golib_key, golib_key_set, golib_key_get | CPython's key of a word for each OS thread, and that word |
 * | golib_mutex_lock, golib_mutex_unlock | of the mutex beside the GIL |
 * | golib_thread_pointer() | where the system keeps its record of the calling OS thread |
 * | golib_tls_base() | from where thread-local variables of the interpreter are at the same distance in each OS thread |
 * | golib_tls_is_found(lib) | whether there is such a place for this loaded object; from then on it is known |
 * | golib_key_word(key) | how far from the thread pointer a key's word lies, where that is documented; 0: search, or do not |
 * | golib_pause_us, golib_monotonic_ns | as their names say |
 * | golib_at_fork(before, child) | has these called around a fork; 0 or an error's number |
 */
#ifndef GOLIB_PORT_H
#define GOLIB_PORT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#include "port_windows.h"
#else
#include "port_posix.h"
#endif

#endif
