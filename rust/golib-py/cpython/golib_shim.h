/* The only door between golib and CPython's private state.
 *
 * Everything that depends on the layout or the habits of one CPython version lies behind these functions; versions.h
 * knows the versions, and nothing outside this folder does. Including this header does not require CPython's own.
 *
 * # Words
 * attached   a thread state is attached when it is the current one of an OS thread that holds the GIL. bound
 * CPython remembers per OS thread the state that PyGILState_* should use (a TSS key). From 3.12 on the state carries a
 * bit that says so, and CPython writes that bit into whatever state was bound last. Hence:
 *
 * # Invariants
 * 1. A goroutine's state is bound to an OS thread only while it is attached there: detach and delete unbind it, so no
 *    later bind writes into a state that another OS thread uses or that is freed.
 * 2. gil->last_holder is the attached state whenever the GIL is held: take_gil sets requests in it (3.13+).
 * 3. A state is freed only after gil->mutex was free once since it stopped being last_holder (golib_ts_delete).
 * 4. The first datastack chunk of a goroutine's state lies in its C stack. CPython would free it as a mapping of its
 *    own: it is unlinked before every Clear, in a forked child, and at exit.
 */
#ifndef GOLIB_SHIM_H
#define GOLIB_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _object PyObject;
typedef struct _ts PyThreadState;

/* ---- init.c ---- */

/* At import, GIL held: refuses an interpreter that this build does not fit (ImportError), finds and verifies what the
 * cheap swap needs. 0, or -1 with an exception set. */
int golib_shim_init(void);
/* 0 in the main interpreter, else -1 with an ImportError set. CPython gives other interpreters a module that has been
 * loaded without initializing it again. */
int golib_check_interpreter(void);

/* Moves the function that was registered last with atexit.register() to the end of the order in which those registered so
 * far are called. 0, or -1 with an exception set. GIL held. */
int golib_atexit_last(void);

/* ---- tstate.c: one thread state per goroutine ---- */

/* A new thread state that is neither attached nor bound. Callable with or without the GIL. NULL: out of memory, no
 * exception set. */
PyThreadState *golib_ts_new(void);

/* Before a goroutine's first run on the stack [stack_lo, stack_hi): puts the state's first datastack chunk at the top
 * of the stack and tells CPython where the stack ends. stack_hi is page-aligned, stack_lo is the first usable byte
 * above the guard. Returns the address (16-byte aligned) below which the C stack may start. The state must be new, or
 * have passed golib_ts_retire; it must not be attached. */
char *golib_ts_arm(PyThreadState *ts, char *stack_lo, char *stack_hi);

/* The ident that threading.get_ident(), sys._current_frames() and faulthandler show for this state. */
void golib_ts_set_ident(PyThreadState *ts, unsigned long ident);
unsigned long golib_ts_ident(PyThreadState *ts);

/* ---- leftovers.c: the end of a goroutine; its state is attached, on its own stack ---- */

/* If nothing is left in the state, takes its ident away. 1: it is like new and may be armed for another goroutine; 0:
 * delete it. -1: something is left, and nothing was done. Runs no Python code. */
int golib_ts_retire(PyThreadState *ts);

/* Drops what is left in the state. That may run Python code, which may wait and fill the state again. 0: the state
 * must not be armed again, whatever golib_ts_retire says. */
int golib_ts_drop(PyThreadState *ts);

/* Empties a state that is refilled each time it is emptied; what is left is never freed. */
void golib_ts_abandon(PyThreadState *ts);

/* All of that for a goroutine without anything else to drop: 1 or 0 as golib_ts_retire. */
int golib_ts_scrub(PyThreadState *ts);

/* Frees the attached state, which is retired, and releases the GIL; nothing is bound to this OS thread afterwards.
 * Runs no Python code. */
void golib_ts_delete_current(PyThreadState *ts);

/* Frees a detached state, which is new or retired; the GIL is held with another one. */
void golib_ts_delete(PyThreadState *ts);

/* Takes the in-stack chunk out of one state, or of all states except `except` (may be NULL), so that CPython can
 * delete them. Frames that are still in use there stay readable as long as the stack is mapped. GIL held. */
void golib_ts_unlink_chunk(PyThreadState *ts);
void golib_ts_unlink_all(PyThreadState *except);

/* ---- ident.c ---- */

/* The ident for goroutine number `goid`: never a pthread_t, but safe to be taken for one that is only read. GIL held.
 */
unsigned long golib_ident_of(uint64_t goid);
/* The ident of a state that no goroutine has: never a thread's or a goroutine's, and as safe as theirs. Callable without
 * the GIL. */
unsigned long golib_ident_of_nobody(void);
int golib_ident_is_goroutine(unsigned long ident);

/* ---- swap.c: which state is attached ---- */

/* Takes the GIL on this OS thread for `ts`, which is then attached and bound. May not return during finalization
 * (3.11-3.13: pthread_exit; later: hangs). */
void golib_ts_attach(PyThreadState *ts);

/* Releases the GIL and leaves no state bound to this OS thread. For an OS thread that has a state of its own (every
 * one that Python started), use golib_thread_save/restore instead: they keep the binding. */
void golib_ts_detach(PyThreadState *ts);

/* PyEval_SaveThread / PyEval_RestoreThread for the OS thread's own state; restore binds it again. */
PyThreadState *golib_thread_save(void);
void golib_thread_restore(PyThreadState *ts);

/* `from` is attached; `to` is afterwards, on the same OS thread. Usually a few stores; honours requests to drop the
 * GIL, so other threads may have run in between. `from` must not be attached elsewhere before this returns. */
void golib_ts_swap(PyThreadState *from, PyThreadState *to);

/* The same if a few stores suffice, without giving the GIL up: 1. 0 if a request is pending; then nothing was done. */
int golib_ts_swap_at_once(PyThreadState *from, PyThreadState *to);

/* The attached state, or NULL. */
PyThreadState *golib_ts_current(void);

/* 1 if golib_ts_swap writes CPython's slot directly, 0 if it goes through PyThreadState_Swap. */
int golib_swap_is_direct(void);

/* ---- main_thread.c: run()'s main goroutine stands in for the main thread. GIL held, unless said otherwise ---- */

/* On the main thread, whose state is attached: the main goroutine is about to begin. */
void golib_main_lend(PyThreadState *main_state);
/* In that goroutine, its state attached: from here on it is the main thread for Python, wherever it runs. */
void golib_main_begin(PyThreadState *ts);
/* The main thread has its part back for good. */
void golib_main_end(void);

/* On the main thread: it may run its pending handlers itself, until `golib_main_give_again`. */
void golib_main_take_back(void);
void golib_main_give_again(void);

/* A signal may have come: makes the goroutine's eval loop look, if it runs one. Callable without the GIL. */
void golib_main_tell(void);

/* Whether a signal handler, or a call of Py_AddPendingCall for the main thread, has yet to run. */
int golib_main_has_news(void);

/* Whether the calling OS thread is the main thread for Python. */
int golib_is_main_thread(void);

/* ---- gil.c ---- */

/* Whether a thread holds the GIL. Callable without it; for sysmon. */
int golib_gil_locked(void);

/* Whether the interpreter is going away, so that an attach would not return. */
int golib_finalizing(void);

/* ---- vars.c: context variables ---- */

/* The context variables for a goroutine that is spawned now: *out is a new reference to a copy of the current context, or
 * NULL if there is none or it is empty. 0, or -1 with an exception set. GIL held. */
int golib_vars_copy(PyObject **out);

/* Makes `ctx` (stolen, may be NULL) the context of `ts`. GIL held. */
void golib_ts_set_vars(PyThreadState *ts, PyObject *ctx);

/* ---- call.c ---- */

/* fn(*args, **kwargs) as the outermost call of a goroutine; `ts` is attached, its ident set. args is a tuple, kwargs a
 * dict or NULL. `owner` identifies the goroutine in hooks.c. There is nothing to unwind between here and the eval
 * loop, or the function of this library, so a forced unwinding may pass (rule: no landing pads). */
PyObject *golib_call(PyThreadState *ts, const void *owner, PyObject *fn, PyObject *args, PyObject *kwargs);

/* ---- hooks.c: trace and profile functions ---- */

/* Lets the goroutine `owner` begin with the calling thread's functions: 0, or -1 with an exception set. Once the goroutine
 * has ended, take_back gives the thread the functions that it had last. GIL held, the thread's own state attached. */
int golib_hooks_lend(const void *owner);
void golib_hooks_take_back(const void *owner);
/* In a forked child: drops the records of all goroutines but `owner` (may be NULL). */
void golib_hooks_after_fork(const void *owner);

/* ---- movable.c ---- */

/* Where one of our C-level entries was called from. On x86-64 it is the frame record that the entry's prologue pushed, so
 * the entry's CFA is its end. On aarch64 a compiler puts that record anywhere in the frame, so this is a copy. */
typedef struct golib_caller {
    void *frame;    /* the caller's frame pointer */
    void *ret;      /* the caller's return address */
#if defined(__aarch64__)
    void *cfa;      /* the caller's stack pointer */
#endif
} golib_caller;

/* Collects the facts that the walks need, with the GIL held and no lock; until then the answer is no.
 * golib_identity_install calls it. May run Python code (an importer's), which the walks never do. */
void golib_movable_prepare(void);

/* Whether the goroutine of `ts`, now inside an entry with this frame record, may resume on another OS thread. Without
 * a record (both addresses NULL) it may not. */
int golib_may_migrate(PyThreadState *ts, void *frame_address, void *return_address);

/* How often the answer was yes by the short cut, yes after a whole walk, and no. For tests. */
void golib_movable_counts(uint64_t out[3]);

/* Entries in C (Rust has its own macro). Files that use these are compiled without sibling calls: the record must stay
 * on the stack while `target` runs. */
#if defined(__aarch64__)
#define GOLIB_HERE                                                                                                     \
    (&(const golib_caller){*(void **)__builtin_frame_address(0), __builtin_return_address(0), __builtin_dwarf_cfa()})
#else
#define GOLIB_HERE ((const golib_caller *)__builtin_frame_address(0))
#endif
#define GOLIB_ENTRY_O(name, target)                                                                                    \
    PyObject *target(PyObject *, PyObject *, const golib_caller *);                                                    \
    PyObject *name(PyObject *self, PyObject *arg)                                                                      \
    {                                                                                                                  \
        return target(self, arg, GOLIB_HERE);                                                                          \
    }
#define GOLIB_ENTRY_NOARGS(name, target) GOLIB_ENTRY_O(name, target)
#define GOLIB_ENTRY_FASTCALL(name, target)                                                                             \
    PyObject *target(PyObject *, PyObject *const *, Py_ssize_t, const golib_caller *);                                 \
    PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t n)                                                \
    {                                                                                                                  \
        return target(self, args, n, GOLIB_HERE);                                                                      \
    }
#define GOLIB_ENTRY_KEYWORDS(name, target)                                                                             \
    PyObject *target(PyObject *, PyObject *const *, Py_ssize_t, PyObject *, const golib_caller *);                     \
    PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw)                                  \
    {                                                                                                                  \
        return target(self, args, n, kw, GOLIB_HERE);                                                                  \
    }
#define GOLIB_ENTRY_ITERNEXT(name, target)                                                                             \
    PyObject *target(PyObject *, const golib_caller *);                                                                \
    PyObject *name(PyObject *self)                                                                                     \
    {                                                                                                                  \
        return target(self, GOLIB_HERE);                                                                               \
    }

/* ---- identity.c ---- */

/* The runtime's functions for the identity patches. Any member may be NULL. All except `state` are called with the GIL
 * held. */
typedef struct golib_runtime {
    /* The running goroutine took (+) or gave back (-) locks that CPython keys by OS thread. While it holds any, it
     * keeps its M when it parks. A no-op on an ordinary thread. */
    void (*pin)(int delta);
    /* The running goroutine's number, which no other ever has; 0 on an ordinary thread. */
    unsigned long long (*goroutine)(void);
    /* The running goroutine's state, NULL on an ordinary thread. With or without the GIL. */
    PyThreadState *(*state)(void);
    /* 1 in the main goroutine of a run() that was called on the main thread. */
    int (*in_main_goroutine)(void);
    /* The pthread_t that runs the goroutine with this ident now, 0 if none does. */
    unsigned long (*pthread_of)(unsigned long ident);
    /* CPython may have noted a signal for which the kernel has not woken the main thread. */
    void (*signal_sent)(void);
    /* The main goroutine has sent the process a signal: returns once the main thread has received it. */
    void (*main_thread_turn)(void);
    /* The main goroutine's OS thread has begun to block some signals and to let others through (bit n - 1 is signal n). */
    void (*masks_changed)(uint64_t blocked, uint64_t unblocked);
    /* The calling thread is about to fork: returns once no lock is held that would stay locked in the child. */
    void (*before_fork)(void);
    /* In a forked child, before CPython has done anything there: no Python code may run, and no object may be made. */
    void (*after_fork)(void);
} golib_runtime;

void golib_set_runtime(const golib_runtime *runtime);

/* Makes the builtins that CPython keys by OS thread follow the goroutine; idempotent. 0, or -1 with an exception set.
 */
int golib_identity_install(void);

/* Makes every forked child call `hook`, directly after threading's own hook and earlier hooks of this kind. 0, or -1 with
 * an exception set. GIL held. */
int golib_fork_hook_child(PyObject *hook);

/* Ends the state that libraries keep for the goroutine on its OS thread; called after golib_ts_retire, still on the
 * goroutine's own stack. */
void golib_identity_leave(PyThreadState *ts);

/* Notes that the attached state has an entry in threading._active, from 3.13 on: 0, or -1 with an exception set. */
int golib_identity_mark(PyThreadState *ts);
/* At the end of a marked state: removes its dummy thread from threading._active. Called by golib_ts_drop. */
void golib_identity_forget(PyThreadState *ts);

#ifdef __cplusplus
}
#endif
#endif
