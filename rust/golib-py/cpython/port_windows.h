/* port.h for Windows.
 *
 * Thread-local variables of a loaded object lie in a block of their own for each thread. The thread's information block has an
 * array of these blocks, at the same place in each object's array as long as the object is loaded.
 */
#ifndef GOLIB_PORT_WINDOWS_H
#define GOLIB_PORT_WINDOWS_H

#include <windows.h>

static inline unsigned long golib_this_thread(void)
{
    return GetCurrentThreadId();
}

typedef unsigned long golib_key;

static inline void golib_key_set(golib_key key, void *value)
{
    TlsSetValue(key, value);
}

/* The last error is the program's. */
static inline void *golib_key_get(golib_key key)
{
    DWORD error = GetLastError();
    void *value = TlsGetValue(key);
    SetLastError(error);
    return value;
}

/* The first 64 words are part of the thread's information block; the layout is in winternl.h. */
static inline ptrdiff_t golib_key_word(golib_key key)
{
    enum { TLS_SLOTS = 0x1480, INLINE = 64 };
    return key < INLINE ? TLS_SLOTS + (ptrdiff_t)(key * sizeof(void *)) : 0;
}

/* Until 3.12 CPython makes its condition variables itself, of a critical section and a semaphore. */
#define golib_mutex_lock(mutex)                                                                                        \
    _Generic((mutex), CRITICAL_SECTION *: EnterCriticalSection, SRWLOCK *: AcquireSRWLockExclusive)(mutex)
#define golib_mutex_unlock(mutex)                                                                                      \
    _Generic((mutex), CRITICAL_SECTION *: LeaveCriticalSection, SRWLOCK *: ReleaseSRWLockExclusive)(mutex)

static inline char *golib_thread_pointer(void)
{
    char *teb;
    __asm__("movq %%gs:0x30, %0" : "=r"(teb));
    return teb;
}

/* Which block is the interpreter's. */
extern unsigned golib_tls_index;

static inline char **golib_tls_blocks(void)
{
    char **blocks;
    __asm__("movq %%gs:0x58, %0" : "=r"(blocks));
    return blocks;
}

static inline char *golib_tls_base(void)
{
    return golib_tls_blocks()[golib_tls_index];
}

/* `block` is this thread's. */
int golib_tls_is_found(const char *block);

static inline void golib_pause_us(unsigned us)
{
    Sleep(us < 1000 ? 1 : us / 1000);
}

static inline uint64_t golib_monotonic_ns(void)
{
    LARGE_INTEGER frequency, now;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    return (uint64_t)((double)now.QuadPart * (1e9 / (double)frequency.QuadPart));
}

/* Nothing forks. */
static inline int golib_at_fork(void (*before)(void), void (*child)(void))
{
    (void)before;
    (void)child;
    return 0;
}

#endif
