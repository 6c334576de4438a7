/* port.h for POSIX systems. */
#ifndef GOLIB_PORT_POSIX_H
#define GOLIB_PORT_POSIX_H

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static inline unsigned long golib_this_thread(void)
{
    return (unsigned long)pthread_self();
}

typedef pthread_key_t golib_key;

static inline void golib_key_set(golib_key key, void *value)
{
    pthread_setspecific(key, value);
}

static inline void *golib_key_get(golib_key key)
{
    return pthread_getspecific(key);
}

static inline ptrdiff_t golib_key_word(golib_key key)
{
    (void)key;
    return 0;
}

static inline void golib_mutex_lock(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void golib_mutex_unlock(pthread_mutex_t *mutex)
{
    pthread_mutex_unlock(mutex);
}

static inline char *golib_thread_pointer(void)
{
#if defined(__x86_64__)
    char *tp;
    __asm__("movq %%fs:0, %0" : "=r"(tp));
    return tp;
#elif defined(__aarch64__)
    char *tp;
    __asm__("mrs %0, tpidr_el0" : "=r"(tp));
    return tp;
#else
#error "no thread pointer known for this CPU"
#endif
}

static inline char *golib_tls_base(void)
{
    return golib_thread_pointer();
}

/* A block far from the thread pointer is not static TLS: another thread's would be elsewhere. */
static inline int golib_tls_is_found(const char *block)
{
    enum { FARTHEST = 65536 };
    return block && llabs(block - golib_thread_pointer()) <= FARTHEST;
}

static inline void golib_pause_us(unsigned us)
{
    struct timespec pause = {0, (long)us * 1000};
    nanosleep(&pause, NULL);
}

static inline uint64_t golib_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline int golib_at_fork(void (*before)(void), void (*child)(void))
{
    return pthread_atfork(before, NULL, child);
}

#endif
