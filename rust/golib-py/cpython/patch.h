/* Replaces a builtin in place: the PyMethodDef that a builtin function or method descriptor points to gets another
 * function with the same flags. Code that has imported the builtin, or specialised a call to it, calls the new one.
 *
 * A PyMethodDef carries no data, so every patched builtin needs functions of its own, one per way of passing
 * arguments, because that differs between CPython's versions. GOLIB_WRAP writes them for the common case: call the
 * original, then look at the result. */
#ifndef GOLIB_PATCH_H
#define GOLIB_PATCH_H

#include "internal.h"

/* The section of functions of ours that goroutines may be moved away from (movable.c). */
#if defined(__ELF__)
#define GOLIB_MOVABLE_TEXT __attribute__((section("golib_movable"), noinline))
#else
#define GOLIB_MOVABLE_TEXT __attribute__((noinline))
#endif

typedef PyObject *(*golib_fast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*golib_fast_kw)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *(*golib_method)(PyObject *, PyTypeObject *, PyObject *const *, Py_ssize_t, PyObject *);

typedef struct golib_patch {
    const char *name;
    int optional;               /* not in every version */
    PyCFunction two;            /* METH_NOARGS, METH_O, METH_VARARGS */
    PyCFunctionWithKeywords three;  /* METH_VARARGS | METH_KEYWORDS */
    golib_fast fast;            /* METH_FASTCALL */
    golib_fast_kw fast_kw;      /* METH_FASTCALL | METH_KEYWORDS */
    golib_method method;        /* METH_FASTCALL | METH_KEYWORDS | METH_METHOD */
    /* found by golib_patch_find: */
    PyMethodDef *def;
    PyCFunction original;
    int flags;
    /* set by golib_patch_apply: the one that was applied before */
    struct golib_patch *next;
} golib_patch;

/* Looks the builtin up in a module or type, and chooses the wrapper. 0, or -1 with an exception set if it is missing, is
 * not a builtin, or takes its arguments in a way for which there is no wrapper. */
int golib_patch_find(golib_patch *patch, PyObject *holder);
/* Swaps the function, for as long as the interpreter lives. */
void golib_patch_apply(golib_patch *patch);
/* Swaps the function and, on the next call, swaps it back, for golib.patch() (patch_groups.c). */
void golib_patch_swap(golib_patch *patch);
void golib_patch_swap_back(golib_patch *patch);
/* Undoes all of them: static tables outlive the interpreter, and another one would call us. */
void golib_patches_take_back(void);

/* Calls a two-argument original. */
static inline PyObject *golib_call_two(const golib_patch *p, PyObject *self, PyObject *arg)
{
    return p->original(self, arg);
}
static inline PyObject *golib_call_three(const golib_patch *p, PyObject *self, PyObject *args, PyObject *kw)
{
    return ((PyCFunctionWithKeywords)(void (*)(void))p->original)(self, args, kw);
}
static inline PyObject *golib_call_fast(const golib_patch *p, PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    return ((golib_fast)(void (*)(void))p->original)(self, args, n);
}
static inline PyObject *golib_call_fast_kw(const golib_patch *p, PyObject *self, PyObject *const *args, Py_ssize_t n,
                                           PyObject *kwnames)
{
    return ((golib_fast_kw)(void (*)(void))p->original)(self, args, n, kwnames);
}

/* Defines the patch `id` for the builtin `name_`: BEFORE(self) runs first, AFTER(self, result) gets the result (NULL
 * on error) and returns it. */
#define GOLIB_WRAP_SELF(id, name_, optional_, BEFORE, AFTER)                                                           \
    static golib_patch id;                                                                                             \
    static PyObject *id##_two(PyObject *self, PyObject *arg)                                                           \
    {                                                                                                                  \
        BEFORE(self);                                                                                                  \
        return AFTER(self, golib_call_two(&id, self, arg));                                                            \
    }                                                                                                                  \
    static PyObject *id##_three(PyObject *self, PyObject *args, PyObject *kw)                                          \
    {                                                                                                                  \
        BEFORE(self);                                                                                                  \
        return AFTER(self, golib_call_three(&id, self, args, kw));                                                     \
    }                                                                                                                  \
    static PyObject *id##_fast(PyObject *self, PyObject *const *args, Py_ssize_t n)                                    \
    {                                                                                                                  \
        BEFORE(self);                                                                                                  \
        return AFTER(self, golib_call_fast(&id, self, args, n));                                                       \
    }                                                                                                                  \
    static PyObject *id##_fast_kw(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)              \
    {                                                                                                                  \
        BEFORE(self);                                                                                                  \
        return AFTER(self, golib_call_fast_kw(&id, self, args, n, kwnames));                                           \
    }                                                                                                                  \
    static golib_patch id = {.name = name_,                                                                            \
                             .optional = optional_,                                                                    \
                             .two = id##_two,                                                                          \
                             .three = id##_three,                                                                      \
                             .fast = id##_fast,                                                                        \
                             .fast_kw = id##_fast_kw}

/* The same with AFTER(result). */
#define GOLIB_WRAP(id, name_, optional_, BEFORE, AFTER)                                                                \
    static PyObject *id##_after(PyObject *self, PyObject *result)                                                      \
    {                                                                                                                  \
        (void)self;                                                                                                    \
        return AFTER(result);                                                                                          \
    }                                                                                                                  \
    GOLIB_WRAP_SELF(id, name_, optional_, BEFORE, id##_after)

/* For BEFORE. */
static inline void golib_nothing_before(PyObject *self)
{
    (void)self;
}

/* The running goroutine's number; 0 on an ordinary thread, and in a sub-interpreter: the patches' state belongs to the
 * main interpreter, and another may have a GIL of its own. */
static inline unsigned long long golib_current_goroutine(void)
{
    if (!golib_runtime_table->goroutine || PyInterpreterState_Get() != PyInterpreterState_Main())
        return 0;
    return golib_runtime_table->goroutine();
}

/* The running goroutine has taken (+) or released (-) a lock or object that C keys by OS thread. */
static inline void golib_pin(int delta)
{
    if (delta && golib_runtime_table->pin)
        golib_runtime_table->pin(delta);
}

/* The parts of the identity patches. find: 0 or -1 with an exception set, nothing changed yet; apply: cannot fail. */
int golib_locks_find(void);
void golib_locks_apply(void);
int golib_signals_find(void);
void golib_signals_apply(void);
/* identity_kill.c; found and applied by the former. */
int golib_kills_find(void);
void golib_kills_apply(void);
int golib_modules_find(void);
void golib_modules_apply(void);
void golib_stack_apply(void);

/* Called once a module is complete and before anything uses it; see identity_modules.c. */
void golib_semlock_ready(PyObject *module);
void golib_sqlite_ready(PyObject *module);
void golib_tkinter_ready(PyObject *module);
void golib_greenlet_ready(PyObject *module);

/* ---- identity_greenlet.c ---- */

/* In place of __cxa_thread_atexit, for greenlet. */
int golib_greenlet_registers(void (*destroy)(void *), void *object, void *library);
/* The function that the import led to; NULL if it has not been seen yet. */
void *golib_greenlet_registrar(void);
/* Whether golib can tell which goroutines use greenlets; known before golib_greenlet_ready. */
void golib_greenlet_known(int known);

/* Sets the hooks of identity_fork.c; 0, or -1 with an exception set. */
int golib_forks_watch(void);

/* Until 3.12 threading leaves a dummy thread in its table when an unknown thread asks who it is, and Thread objects
 * have a lock that their state releases. */
#define GOLIB_DUMMIES_STAY (PY_VERSION_HEX < 0x030d0000)

/* Removes the mark "its ident was asked for" from a state; true if the state had it. The field is CPython's own. */
int golib_identity_unmark(PyThreadState *ts);

#endif
