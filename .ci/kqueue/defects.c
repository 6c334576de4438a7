/* Prints what a library for Linux does otherwise than a kernel's kqueue, one word a line, for `.ci/test-kqueue`:
 *
 * end-forgotten  the write filter, added after the read filter, takes EV_EOF from a peer's shutdown
 * events-lost    events with EV_CLEAR that found no room in a list are not in the next one either
 * error-taken    to report a socket's error is to take it: the next read tells of an end instead
 *
 * libkqueue has all three, in 2.6.4 as in 2.7.0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "event.h"

static void must(int done)
{
    if (!done) {
        perror("defects");
        exit(1);
    }
}

static void add(int kq, int fd, int filter)
{
    struct kevent change = {.ident = (uintptr_t)fd, .filter = (short)filter, .flags = EV_ADD | EV_CLEAR};
    must(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
}

/* Waits for a moment at most. */
static int get(int kq, struct kevent *events, int room)
{
    struct timespec moment = {.tv_nsec = 100000000};
    int n = kevent(kq, NULL, 0, events, room, &moment);
    must(n >= 0);
    return n;
}

static int end_forgotten(void)
{
    int kq = kqueue(), pair[2], ends = 0, n;
    struct kevent events[4];
    must(kq >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    add(kq, pair[0], EVFILT_READ);
    add(kq, pair[0], EVFILT_WRITE);
    /* What arrived before the end is still there to be read. */
    must(write(pair[1], "x", 1) == 1 && shutdown(pair[1], SHUT_WR) == 0);
    while ((n = get(kq, events, 4)) > 0) {
        for (int i = 0; i < n; i++)
            ends += events[i].filter == EVFILT_READ && events[i].flags & EV_EOF;
    }
    return ends == 0;
}

static int events_lost(void)
{
    enum { PAIRS = 3, ROOM = 4 };
    int kq = kqueue(), seen = 0, n;
    struct kevent events[ROOM];
    must(kq >= 0);
    for (int i = 0; i < PAIRS; i++) {
        int pair[2];
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && write(pair[1], "x", 1) == 1);
        add(kq, pair[0], EVFILT_WRITE);
        add(kq, pair[0], EVFILT_READ);
    }
    while ((n = get(kq, events, ROOM)) > 0)
        seen += n;
    return seen < 2 * PAIRS;
}

static int error_taken(void)
{
    int kq = kqueue(), listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    must(kq >= 0 && bind(listener, (struct sockaddr *)&addr, len) == 0 && listen(listener, 1) == 0);
    must(getsockname(listener, (struct sockaddr *)&addr, &len) == 0);
    must(connect(client, (struct sockaddr *)&addr, len) == 0);
    int server = accept(listener, NULL, NULL);
    add(kq, server, EVFILT_WRITE);
    add(kq, server, EVFILT_READ);
    /* A close that resets the connection. */
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    must(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0 && close(client) == 0);
    struct kevent events[4];
    while (get(kq, events, 4) > 0)
        continue;
    char byte;
    return !(recv(server, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET);
}

int main(void)
{
    if (end_forgotten())
        puts("end-forgotten");
    if (events_lost())
        puts("events-lost");
    if (error_taken())
        puts("error-taken");
    return 0;
}
