/* Finds where CPython keeps, for each OS thread, the current thread state and the bound one. */
#include "slot.h"

#include "movable.h"

#if GOLIB_BOUND_IN_SLOT

/* Like golib_slot_offset, for the bound state. */
static ptrdiff_t bound_offset;

void golib_set_bound(PyThreadState *ts)
{
    *(PyThreadState **)(golib_tls_base() + bound_offset) = ts;
}

PyThreadState *golib_bound(void)
{
    return *(PyThreadState **)(golib_tls_base() + bound_offset);
}

#else

ptrdiff_t golib_tss_offset;

void golib_set_bound(PyThreadState *ts)
{
    golib_key_set(golib_tss_key(), ts);
}

PyThreadState *golib_bound(void)
{
    return golib_key_get(golib_tss_key());
}

/* Looks for the one word of the C library's record of this thread that follows what the key is set to. */
static void find_tss_slot(void)
{
    golib_tss_offset = golib_key_word(golib_tss_key());
#if defined(__x86_64__) && defined(__GLIBC__)
    enum { RECORD_BYTES = 1536 };   /* the inline table of the first 32 keys lies before that */
    static char marks[2];
    PyThreadState *bound = golib_bound();
    ptrdiff_t found = 0;
    int n = 0;
    for (ptrdiff_t at = 0; at < RECORD_BYTES; at += (ptrdiff_t)sizeof(void *)) {
        void *volatile *word = (void *volatile *)(golib_thread_pointer() + at);
        golib_key_set(golib_tss_key(), &marks[0]);
        int follows = *word == &marks[0];
        golib_key_set(golib_tss_key(), &marks[1]);
        if (follows && *word == &marks[1]) {
            found = at;
            n++;
        }
    }
    golib_set_bound(bound);
    if (n == 1)
        golib_tss_offset = found;
#endif
}

#endif

void golib_bind(PyThreadState *ts)
{
    golib_set_bound(ts);
    if (ts)
        golib_mark_bound(ts, 1);
}

/* ---- the current state ---- */

#if GOLIB_HAS_TLS_SLOT

ptrdiff_t golib_slot_offset;

/* Looks for the word of CPython's TLS block that holds `now`, holds `other` while that one is current, and nothing
 * while none is. The word that keeps `other` then is the bound state. */
static void find_slots(PyThreadState *now, PyThreadState *other)
{
    enum { MOST = 16 };
    PyThreadState **candidates[MOST];
    int n = 0, current = 0, bound = 0;
    ptrdiff_t current_at = 0, bound_at = 0;

    golib_library python;
    if (!golib_library_of((const void *)&PyThreadState_Get, &python) || !golib_tls_is_found(python.tls))
        return;
    char *end = python.tls + python.tls_bytes;
    for (PyThreadState **p = (PyThreadState **)python.tls; (char *)(p + 1) <= end; p++) {
        if (*p == now && n < MOST)
            candidates[n++] = p;
    }
    golib_mark_bound(other, 0);
    PyThreadState_Swap(other);
    for (int i = 0; i < n; i++) {
        if (*candidates[i] != other)
            candidates[i] = NULL;
    }
    PyThreadState_Swap(NULL);
    for (int i = 0; i < n; i++) {
        if (candidates[i] && *candidates[i] == NULL) {
            current_at = (char *)candidates[i] - golib_tls_base();
            current++;
        }
        else if (candidates[i] && *candidates[i] == other) {
            bound_at = (char *)candidates[i] - golib_tls_base();
            bound++;
        }
    }
    golib_mark_bound(now, 0);
    PyThreadState_Swap(now);
    if (current == 1)
        golib_slot_offset = current_at;
#if GOLIB_BOUND_IN_SLOT
    if (bound == 1)
        bound_offset = bound_at;
    else
        golib_slot_offset = 0;
#else
    (void)bound;
    (void)bound_at;
#endif
}

int golib_swap_init(void)
{
    PyThreadState *now = PyThreadState_Get();
    if (golib_slot_offset)
        return 0;
    PyThreadState *probe = PyThreadState_New(PyInterpreterState_Main());
    if (!probe) {
        PyErr_NoMemory();
        return -1;
    }
    find_slots(now, probe);
    golib_ts_delete(probe);
#if !GOLIB_BOUND_IN_SLOT
    find_tss_slot();
#endif
#if GOLIB_BOUND_IN_SLOT
    if (!bound_offset) {
        PyErr_SetString(PyExc_ImportError, "golib cannot find where this CPython keeps a thread's state");
        return -1;
    }
#endif
    return 0;
}

PyThreadState *golib_ts_current(void)
{
    if (GOLIB_LIKELY(golib_slot_offset != 0))
        return *golib_slot();
#if PY_VERSION_HEX >= 0x030d0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

#else /* 3.11 */

int golib_swap_init(void)
{
    find_tss_slot();
    return 0;
}

/* The slot belongs to the GIL's holder, which the caller must be. */
PyThreadState *golib_ts_current(void)
{
    return __atomic_load_n(golib_slot(), __ATOMIC_RELAXED);
}

#endif

int golib_swap_is_direct(void)
{
    return golib_slot_is_known();
}
