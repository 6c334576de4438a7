/* Builtins that block, replaced in place so that they park on a goroutine: golib.patch() switches them on and off.
 *
 * A group (patch_time.c, patch_socket.c, …) is a table of entries. GOLIB_PARKS writes an entry for each way in which
 * CPython may pass the arguments, since that differs between its versions; each entry leaves its frame record for the
 * movability test, and calls the body:
 *
 *     static PyObject *body(golib_invocation *call, const golib_caller *record)
 *     {
 *         if (golib_on_goroutine() && … it would block …) {
 *             … golib_waits_table->… wait …
 *         }
 *         return golib_original(call);
 *     }
 *
 * # Invariants
 * 1. ml_flags never change, and nothing is ever freed: a goroutine may be inside a body when its entry is taken back. For the
 *    same reason the original stays known.
 * 2. On an ordinary thread, and in another interpreter, a body calls the original and touches nothing of ours.
 * 3. A whole group is found and probed before any part of it changes.
 * 4. A body keeps nothing that belongs to its OS thread across a wait. errno belongs to the thread: the compiler may keep its
 *    address. So a function that is not inlined makes the system call and returns -errno.
 * 5. The identity patches (identity.c) are installed first, so they lie below these and stay when these are taken back.
 */
#ifndef GOLIB_PATCH_GROUPS_H
#define GOLIB_PATCH_GROUPS_H

#include "patch.h"

/* ---- entries ---- */

typedef struct golib_parking {
    golib_patch patch;
    const char *module;
    const char *type;           /* NULL: a function; "name()": of the type of what that function returns */
    const void *detail;         /* the group's own */
    int applied;
} golib_parking;

/* A call, with its arguments as they came. */
typedef struct golib_invocation {
    const golib_parking *p;
    PyObject *self;
    PyObject *packed;           /* METH_O: the argument; METH_VARARGS: the tuple */
    PyObject *const *args;      /* the positional arguments */
    Py_ssize_t n;
    PyObject *kw;               /* a dict, or a tuple of names whose values follow the positional arguments; NULL */
    PyTypeObject *cls;          /* METH_METHOD */
} golib_invocation;

/* Calls the function that the builtin had before, with the arguments as they came. */
PyObject *golib_original(const golib_invocation *call);
/* Calls another builtin's original, or the same with other positional arguments. `like` gives the class for
 * METH_METHOD. */
PyObject *golib_call_original(const golib_parking *p, const golib_invocation *like, PyObject *self,
                              PyObject *const *args, Py_ssize_t n);
/* Positional argument `at`, or the keyword `name` (may be NULL); NULL if it is not given. Borrowed. */
PyObject *golib_argument(const golib_invocation *call, Py_ssize_t at, const char *name);
/* How many keyword arguments there are. */
Py_ssize_t golib_keywords(const golib_invocation *call);

/* An int (or enum) that fits a C int and is not negative, else -1; no exception is set, and no code runs. */
int golib_small_int(PyObject *number);

static inline void golib_came_by_two(golib_invocation *call, const golib_parking *p, PyObject *self, PyObject *arg)
{
    *call = (golib_invocation){.p = p, .self = self, .packed = arg};
    if (p->patch.flags == METH_O) {
        call->args = &call->packed;
        call->n = 1;
    }
    else if (p->patch.flags == METH_VARARGS) {
        call->args = ((PyTupleObject *)arg)->ob_item;
        call->n = PyTuple_GET_SIZE(arg);
    }
}

/* The section in which a file's entries lie; patch_file.c has a reason for another. */
#ifndef GOLIB_ENTRY
#define GOLIB_ENTRY
#endif

/* Writes the entries of the builtin `name_` of `module_` (and `type_`), whose body is `body`. */
#define GOLIB_PARKS(id, module_, type_, name_, body, optional_, detail_)                                               \
    static golib_parking id;                                                                                           \
    GOLIB_ENTRY static PyObject *id##_two(PyObject *self, PyObject *arg)                                               \
    {                                                                                                                  \
        golib_invocation call;                                                                                         \
        golib_came_by_two(&call, &id, self, arg);                                                                      \
        return body(&call, GOLIB_HERE);                                                                                \
    }                                                                                                                  \
    GOLIB_ENTRY static PyObject *id##_three(PyObject *self, PyObject *args, PyObject *kw)                              \
    {                                                                                                                  \
        golib_invocation call = {.p = &id,                                                                             \
                                 .self = self,                                                                         \
                                 .packed = args,                                                                       \
                                 .kw = kw,                                                                             \
                                 .args = ((PyTupleObject *)args)->ob_item,                                             \
                                 .n = PyTuple_GET_SIZE(args)};                                                         \
        return body(&call, GOLIB_HERE);                                                                                \
    }                                                                                                                  \
    GOLIB_ENTRY static PyObject *id##_fast(PyObject *self, PyObject *const *args, Py_ssize_t n)                        \
    {                                                                                                                  \
        golib_invocation call = {.p = &id, .self = self, .args = args, .n = n};                                        \
        return body(&call, GOLIB_HERE);                                                                                \
    }                                                                                                                  \
    GOLIB_ENTRY static PyObject *id##_fast_kw(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw)       \
    {                                                                                                                  \
        golib_invocation call = {.p = &id, .self = self, .args = args, .n = n, .kw = kw};                              \
        return body(&call, GOLIB_HERE);                                                                                \
    }                                                                                                                  \
    GOLIB_ENTRY static PyObject *id##_method(PyObject *self, PyTypeObject *cls, PyObject *const *args, Py_ssize_t n,   \
                                             PyObject *kw)                                                             \
    {                                                                                                                  \
        golib_invocation call = {.p = &id, .self = self, .args = args, .n = n, .kw = kw, .cls = cls};                  \
        return body(&call, GOLIB_HERE);                                                                                \
    }                                                                                                                  \
    static golib_parking id = {.patch = {.name = name_,                                                                \
                                         .optional = optional_,                                                        \
                                         .two = id##_two,                                                              \
                                         .three = id##_three,                                                          \
                                         .fast = id##_fast,                                                            \
                                         .fast_kw = id##_fast_kw,                                                      \
                                         .method = id##_method},                                                       \
                               .module = module_,                                                                      \
                               .type = type_,                                                                          \
                               .detail = detail_}

/* ---- groups ---- */

typedef struct golib_group {
    /* Several tables may have one name. A name with a dot is for golib's own use (patch_groups.c). */
    const char *name;
    const char
        *may_lack; /* a module that CPython may be built without; without it the group patches nothing. Or NULL */
    int uses_fds; /* it waits for descriptors: who closes one has to say so */
    golib_parking *const *calls;
    int n_calls;
    /* Checks layouts; 0, or -1 with a RuntimeError that names the unknown one. May be NULL, like the next two. */
    int (*probe)(void);
    void (*applied)(void); /* the entries have been swapped */
    /* The entries are CPython's again. Not called if the interpreter has ended: its types and thread states went with it,
     * and nothing waits. */
    void (*taken_back)(void);
    /* In a forked child, before CPython has done anything there: no Python object may be touched. */
    void (*in_child)(void);
} golib_group;

#define GOLIB_GROUP_CALLS(table) .calls = table, .n_calls = sizeof(table) / sizeof *(table)

/* Patches these groups (a sequence of str) and those patched before stay; all or nothing. 0, or -1 with an exception
 * set. */
int golib_groups_apply(PyObject *names);
/* Restores every pointer. */
void golib_groups_take_back(void);
/* New tuples of names: of all groups, and of those that are patched. */
PyObject *golib_groups_known(void);
PyObject *golib_groups_patched(void);
void golib_groups_in_child(void);
/* Has the interpreter ended, and with it everything that a group would look at? */
int golib_interpreter_is_gone(void);

/* ---- the runtime's functions for the bodies (src/types/patch); the GIL is held ---- */

enum { GOLIB_READ = 0, GOLIB_WRITE = 1 };
#define GOLIB_FOR_EVER INT64_MAX
/* Outcomes of waits; a negative one means that an exception is set. */
enum { GOLIB_WOKEN = 0, GOLIB_TIMED_OUT = 1, GOLIB_CLOSED = 2 };
/* The wait reason that a dump shows for a goroutine in the lot. */
enum { GOLIB_FOR_LOCK = 0, GOLIB_FOR_SEMAPHORE = 1, GOLIB_FOR_VALUE = 2, GOLIB_FOR_IO = 3 };
/* Ways to wait in the lot: before those that already wait; not to be left by cancellation or a signal. */
enum { GOLIB_AT_FRONT = 1, GOLIB_NOT_LEFT = 2 };

typedef struct golib_waits {
    /* Whether the caller runs on a goroutine's stack. */
    int (*on_goroutine)(void);
    /* The time of the monotonic clock, in which `until` is given, in nanoseconds. */
    int64_t (*now)(void);
    int (*sleep)(int64_t until, const golib_caller *record);
    int (*gosched)(const golib_caller *record);
    /* Makes a registration for a descriptor, whose number may have had one before; 0 or -errno. */
    int (*poll_open)(int fd, void **registration);
    /* Whether the kernel still has this registration under this number. */
    int (*poll_rearm)(void *registration, int fd);
    /* Called when an operation begins; 1 if it would be in vain. */
    int (*poll_prepare)(void *registration, int mode);
    /* Called after a read that has taken everything. */
    void (*poll_drained)(void *registration);
    int (*poll_wait)(void *registration, int mode, int64_t until, const golib_caller *record);
    /* End the registration and wake its waiters: before the number is closed, and after. */
    void (*poll_release)(void *registration, int fd);
    void (*poll_abandon)(void *registration);
    /* The running goroutine's list of the files that it is inside of (patch_file.h). */
    struct golib_held **(*held)(void);
    /* The lot: waits until `lot_wake` is called with the same address. The wait counts towards a deadlock. */
    int (*lot_wait)(const void *address, int64_t until, int reason, int ways, const golib_caller *record);
    /* Wakes the first `n` goroutines that wait there. Only in the main interpreter. */
    void (*lot_wake)(const void *address, int n);
    /* How many goroutines wait in the lot: 0 spares a call of lot_wake. */
    const int64_t *lot_count;
} golib_waits;

extern const golib_waits *golib_waits_table;
void golib_set_waits(const golib_waits *waits);

/* Does the calling thread run the main interpreter, to which everything that the bodies keep belongs? */
static inline int golib_in_main_interpreter(void)
{
    return PyInterpreterState_Get() == PyInterpreterState_Main();
}

/* See 2. */
static inline int golib_on_goroutine(void)
{
    return golib_waits_table->on_goroutine() && golib_in_main_interpreter();
}

static inline void golib_lot_wake(const void *address, int n)
{
    if (GOLIB_UNLIKELY(__atomic_load_n(golib_waits_table->lot_count, __ATOMIC_RELAXED) != 0) &&
        golib_in_main_interpreter())
        golib_waits_table->lot_wake(address, n);
}

/* The time `seconds` from now, rounded up; GOLIB_FOR_EVER if that is out of reach. */
int64_t golib_until(double seconds);

#endif
