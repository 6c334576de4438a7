/* The descriptors that the poller knows, and the turns to wait for them; the rules are in patch_fds.h. */
#include "patch_fds.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

typedef struct {
    void *pd;               /* NULL: not registered */
    uint64_t serial;        /* no other registration has it */
    int turn[GOLIB_N_TURNS]; /* by 3 */
    const void *tls_emptied;
} entry;

/* The entries, by number; guarded by the main interpreter's GIL. */
static entry *entries;
static int n_entries;
static uint64_t last_serial;

static int grow(int fd)
{
    int n = n_entries ? n_entries : 256;
    while (n <= fd) {
        if (n > INT_MAX / 2)
            return 0;
        n *= 2;
    }
    entry *more = PyMem_RawRealloc(entries, (size_t)n * sizeof *more);
    if (!more)
        return 0;
    memset(more + n_entries, 0, (size_t)(n - n_entries) * sizeof *more);
    entries = more;
    n_entries = n;
    return 1;
}

/* The entry with the registration of `w`; NULL if it has been forgotten. */
static entry *entry_of(const golib_fd_wait *w)
{
    entry *e = w->fd < n_entries ? &entries[w->fd] : NULL;
    return e && e->pd && e->serial == w->serial ? e : NULL;
}

/* The address at which goroutines queue for a turn. */
static const void *line_of(void *pd, int mode)
{
    return (const char *)pd + mode;
}

static void clear(entry *e)
{
    void *pd = e->pd;
    *e = (entry){0};
    for (int turn = 0; turn < GOLIB_N_TURNS; turn++)
        golib_lot_wake(line_of(pd, turn), INT_MAX);
}

void golib_fd_forget(int fd)
{
    if (fd < 0 || fd >= n_entries || !entries[fd].pd || !golib_in_main_interpreter())
        return;
    golib_waits_table->poll_release(entries[fd].pd, fd);
    clear(&entries[fd]);
}

void golib_fds_forget_from(int low, int high)
{
    for (int fd = low; fd < high && fd < n_entries; fd++)
        golib_fd_forget(fd);
}

void golib_fds_in_child(void)
{
    if (entries)
        memset(entries, 0, (size_t)n_entries * sizeof *entries);
}

const void **golib_fd_tls_emptied(int fd)
{
    return fd >= 0 && fd < n_entries && entries[fd].pd ? &entries[fd].tls_emptied : NULL;
}

int golib_fd_find(golib_fd_wait *w)
{
    if (w->fd < 0 || (w->fd >= n_entries && !grow(w->fd)))
        return GOLIB_NOT_POLLABLE;
    entry *e = &entries[w->fd];
    if (e->pd && !w->is_known && !golib_waits_table->poll_rearm(e->pd, w->fd)) {
        golib_waits_table->poll_abandon(e->pd);     /* it was closed behind our back */
        clear(e);
    }
    if (!e->pd) {
        if (golib_waits_table->poll_open(w->fd, &e->pd) < 0) {
            e->pd = NULL;
            return GOLIB_NOT_POLLABLE;
        }
        e->serial = ++last_serial;
    }
    w->pd = e->pd;
    w->serial = e->serial;
    w->is_known = 1;
    return GOLIB_WOKEN;
}

/* If the descriptor was closed while the GIL was away, the registration may already be another's. */
int golib_fd_prepare(golib_fd_wait *w)
{
    return entry_of(w) && golib_waits_table->poll_prepare(w->pd, w->mode);
}

/* Takes the turn, by 3. Sets `*queued` if that took a wait. */
static int take_turn(golib_fd_wait *w, int *queued, const golib_caller *record)
{
    for (;;) {
        entry *e = entry_of(w);
        if (!e)
            return GOLIB_CLOSED;
        if (!e->turn[w->mode]) {
            e->turn[w->mode] = w->has_turn = 1;
            return GOLIB_WOKEN;
        }
        *queued = 1;
        int outcome = golib_waits_table->lot_wait(line_of(w->pd, w->mode), w->until, GOLIB_FOR_IO, 0, record);
        if (outcome != GOLIB_WOKEN)
            return outcome;
    }
}

int golib_fd_take_turn(golib_fd_wait *w, const golib_caller *record)
{
    int queued;
    return take_turn(w, &queued, record);
}

int golib_fd_block(golib_fd_wait *w, const golib_caller *record)
{
    int outcome, queued = 0;
    if (!w->pd && (outcome = golib_fd_find(w)) != GOLIB_WOKEN)
        return outcome;
    if (!w->has_turn && (outcome = take_turn(w, &queued, record)) != GOLIB_WOKEN)
        return outcome;
    if (queued)
        return GOLIB_WOKEN;
    if (!entry_of(w))
        return GOLIB_CLOSED;
    outcome = golib_waits_table->poll_wait(w->pd, w->mode, w->until, record);
    return outcome == GOLIB_WOKEN && !entry_of(w) ? GOLIB_CLOSED : outcome;
}

void golib_fd_done(golib_fd_wait *w)
{
    entry *e = w->has_turn ? entry_of(w) : NULL;
    w->has_turn = 0;
    if (e) {
        e->turn[w->mode] = 0;
        golib_lot_wake(line_of(w->pd, w->mode), 1);
    }
}

__attribute__((noinline)) int golib_fd_is_ready(int fd, int mode)
{
    struct pollfd p = {.fd = fd, .events = mode == GOLIB_READ ? POLLIN | POLLPRI : POLLOUT};
    return poll(&p, 1, 0) != 0;     /* the original reports an error */
}

int golib_fd_wait_ready(golib_fd_wait *w, const golib_caller *record)
{
    int outcome = w->pd ? GOLIB_WOKEN : golib_fd_find(w);
    if (outcome == GOLIB_WOKEN && !w->has_turn)
        outcome = golib_fd_take_turn(w, record);
    while (outcome == GOLIB_WOKEN && !golib_fd_is_ready(w->fd, w->mode))
        outcome = golib_fd_block(w, record);
    return outcome;
}

PyObject *golib_fd_closed(void)
{
    errno = EBADF;
    return PyErr_SetFromErrno(PyExc_OSError);
}
