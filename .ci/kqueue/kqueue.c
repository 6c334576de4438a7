/* kqueue's calls on Linux, as far as go-lib uses them, so that its kqueue backend can be run here: `libkqueue.so` of
 * `.ci/test-kqueue`. The types and numbers are those of libkqueue and FreeBSD 11.
 *
 * It does what a kernel does where that matters to a user of several threads:
 * - each filter of a descriptor is a watch of its own, and its event a place of its own in the list;
 * - an event is given to one caller; those for which a list has no room are left for the next call;
 * - the event of EVFILT_USER goes to whoever calls, whether it waits or not;
 * - nothing is reported of a watch after the call that deletes it has returned;
 * - a socket's error is left for its user;
 * - a forked child has no kqueue.
 * Unlike a kernel it does not see a descriptor closed: the watches must be deleted before. All watches have EV_CLEAR.
 *
 * Invariants:
 * 1. `lock` guards everything but waiting in epoll.
 * 2. A descriptor has one entry in the epoll instance, edge-triggered, for the filters that it has. The entry's data
 *    are its number and `generation`, which grows when the last filter is deleted: an event of an older one is
 *    dropped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "event.h"

enum { MOST = 65536 };
enum { READS = 1, WRITES = 2 };

struct watch {
    uint32_t generation;
    unsigned filters; /* READS, WRITES */
    void *udata[3];   /* by those */
};

struct queue {
    int user;          /* an eventfd, level-triggered */
    int user_added;
    void *user_data;
    struct watch *watches; /* by descriptor */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue *queues[MOST]; /* by the kqueue's descriptor, which is the epoll instance's */

static int fail(int error)
{
    errno = error;
    return -1;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
    for (int kq = 0; kq < MOST; kq++) {
        struct queue *q = queues[kq];
        queues[kq] = NULL;
        /* Not if it was closed and its number is another's. */
        struct epoll_event event = {0};
        if (q && epoll_ctl(kq, EPOLL_CTL_ADD, q->user, &event) < 0 && errno == EEXIST) {
            close(kq);
            close(q->user);
        }
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void init(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

int kqueue(void)
{
    int kq = epoll_create1(EPOLL_CLOEXEC), user = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct queue *q = calloc(1, sizeof *q);
    struct watch *watches = calloc(MOST, sizeof *watches); /* touched page by page */
    if (kq < 0 || user < 0 || kq >= MOST || !q || !watches) {
        if (kq >= 0)
            close(kq);
        if (user >= 0)
            close(user);
        free(q);
        free(watches);
        return fail(EMFILE);
    }
    *q = (struct queue){.user = user, .watches = watches};
    pthread_mutex_lock(&lock);
    if (queues[kq]) { /* of a kqueue that was closed */
        close(queues[kq]->user);
        free(queues[kq]->watches);
        free(queues[kq]);
    }
    queues[kq] = q;
    pthread_mutex_unlock(&lock);
    return kq;
}

static int change_user(int kq, struct queue *q, const struct kevent *c)
{
    if (c->flags & EV_ADD && !q->user_added) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
        if (epoll_ctl(kq, EPOLL_CTL_ADD, q->user, &event) < 0)
            return -1;
        q->user_added = 1;
    }
    if (!q->user_added)
        return fail(ENOENT);
    q->user_data = c->udata;
    return c->fflags & NOTE_TRIGGER ? eventfd_write(q->user, 1) : 0;
}

/* The lock is held. */
static int change(int kq, struct queue *q, const struct kevent *c)
{
    if (c->filter == EVFILT_USER)
        return change_user(kq, q, c);
    int fd = (int)c->ident;
    unsigned filter = c->filter == EVFILT_READ ? READS : WRITES;
    if (fd < 0 || fd >= MOST)
        return fail(EBADF);
    struct watch *w = &q->watches[fd];
    if (c->flags & EV_DELETE && !(w->filters & filter))
        return fail(ENOENT);
    if (c->flags & EV_ADD && !(c->flags & EV_CLEAR))
        return fail(EINVAL);
    unsigned filters = c->flags & EV_DELETE ? w->filters & ~filter : w->filters | filter;
    struct epoll_event event = {.events = EPOLLET, .data.u64 = (uint64_t)w->generation << 32 | (uint32_t)fd};
    if (filters & READS)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (filters & WRITES)
        event.events |= EPOLLOUT;
    int op = !w->filters ? EPOLL_CTL_ADD : !filters ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (epoll_ctl(kq, op, fd, &event) < 0)
        return -1;
    w->filters = filters;
    w->udata[filter] = c->udata;
    w->generation += !filters; /* by 2 */
    return 0;
}

/* Up to two events in `out` for one of epoll's. The lock is held. */
static int report(struct queue *q, struct epoll_event event, struct kevent *out)
{
    if (event.data.u64 == UINT64_MAX) {
        eventfd_t count;
        if (eventfd_read(q->user, &count) < 0) /* another caller has it */
            return 0;
        *out = (struct kevent){.filter = EVFILT_USER, .flags = EV_CLEAR, .udata = q->user_data};
        return 1;
    }
    uint32_t fd = (uint32_t)event.data.u64, bits = event.events;
    struct watch *w = &q->watches[fd];
    if (w->generation != event.data.u64 >> 32)
        return 0;
    unsigned short broken = bits & (EPOLLHUP | EPOLLERR) ? EV_EOF : 0, flags = EV_CLEAR | broken;
    int n = 0;
    if (w->filters & READS && (broken || bits & (EPOLLIN | EPOLLRDHUP))) {
        unsigned short end = bits & EPOLLRDHUP ? EV_EOF : 0;
        out[n++] = (struct kevent){fd, EVFILT_READ, flags | end, 0, 1, w->udata[READS]};
    }
    if (w->filters & WRITES && (broken || bits & EPOLLOUT)) {
        out[n++] = (struct kevent){fd, EVFILT_WRITE, flags, 0, 1, w->udata[WRITES]};
    }
    return n;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int kevent(int kq, const struct kevent *changes, int nchanges, struct kevent *events, int nevents,
           const struct timespec *timeout)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    struct queue *q = kq >= 0 && kq < MOST ? queues[kq] : NULL;
    int failed = q ? 0 : fail(EBADF);
    for (int i = 0; i < nchanges && !failed; i++)
        failed = change(kq, q, &changes[i]);
    pthread_mutex_unlock(&lock);
    if (failed || nevents == 0)
        return failed;
    if (nevents == 1) /* an event of epoll's may be two */
        return fail(EINVAL);

    int64_t until = timeout ? now() + timeout->tv_sec * 1000000000LL + timeout->tv_nsec : 0;
    struct epoll_event list[64];
    int room = nevents / 2 < 64 ? nevents / 2 : 64;
    for (;;) {
        int got = epoll_wait(kq, list, room, 0);
        if (got < 0)
            return -1;
        pthread_mutex_lock(&lock);
        for (int i = 0; i < got; i++)
            n += report(q, list[i], &events[n]);
        pthread_mutex_unlock(&lock);
        if (n > 0)
            return n;
        int64_t left = timeout ? until - now() : 0;
        if (timeout && left <= 0)
            return 0;
        /* Not epoll_wait: it counts milliseconds. */
        struct timespec rest = {left / 1000000000, left % 1000000000};
        struct pollfd one = {.fd = kq, .events = POLLIN};
        if (ppoll(&one, 1, timeout ? &rest : NULL, NULL) < 0)
            return -1;
    }
}
