/* golib.patch("lock"): _thread.lock and _thread.RLock, and so all of threading and queue.Queue.
 *
 * A goroutine waits in a line for a lock that is taken; an ordinary thread waits in CPython's own way. A release wakes one waiter
 * of each kind, and the quicker one gets the lock. The original handles calls that do not wait, and wrong ones.
 *
 * Until 3.12 C code releases the lock that threading.Thread.join waits for: at a thread's end, through a function that the
 * thread's state names (on_delete). golib replaces that function with one that also wakes the line.
 */
#include "patch_line.h"

/* ---- layouts ---- */

/* From 3.14 on, and in later releases of 3.13: one binary has to know both there. */
typedef struct {
    PyObject_HEAD uint8_t bits; /* a PyMutex */
} mutex_lock;

/* Before. */
typedef struct {
    PyObject_HEAD PyThread_type_lock lock;
    PyObject *weakrefs;
    char locked;
} older_lock;

#if PY_VERSION_HEX >= 0x030e0000
enum { is_older = 0 };
#elif PY_VERSION_HEX >= 0x030d0000
static int is_older;    /* probed */
#else
enum { is_older = 1 };
#endif

enum { LOCKED = 1 };

static int looks_locked(PyObject *self)
{
    if (is_older)
        return ((older_lock *)self)->locked != 0;
    return __atomic_load_n(&((mutex_lock *)self)->bits, __ATOMIC_RELAXED) & LOCKED;
}

static int take_older(older_lock *l)
{
    if (l->locked || PyThread_acquire_lock(l->lock, NOWAIT_LOCK) != 1)
        return 0;
    l->locked = 1;
    return 1;
}

/* Takes the lock if it is free. */
static int take(PyObject *self)
{
    if (is_older)
        return take_older((older_lock *)self);
    uint8_t *bits = &((mutex_lock *)self)->bits, now = __atomic_load_n(bits, __ATOMIC_RELAXED);
    /* The other bit, which says that threads wait, stays. Acquire: pairs with the previous holder's unlock. */
    return !(now & LOCKED) &&
           __atomic_compare_exchange_n(bits, &now, (uint8_t)(now | LOCKED), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static PyObject *not_blocking;      /* the arguments (False,), made once: they are needed for each acquire */
static PyObject *no_arguments;
/* The main interpreter's types; the group keeps references to them. */
static PyTypeObject *lock_type, *rlock_type;

static Py_ssize_t bytes_of_lock(void)
{
    return (Py_ssize_t)(is_older ? sizeof(older_lock) : sizeof(mutex_lock));
}

static PyObject *probe_failed(void)
{
    if (!PyErr_Occurred())
        PyErr_Format(
            PyExc_RuntimeError,
            "golib.patch: this CPython (%s) lays a _thread.lock out in an unknown way (%zd bytes, expected %zd)",
            Py_GetVersion(), lock_type ? lock_type->tp_basicsize : 0, bytes_of_lock());
    return NULL;
}

static int is_locked(PyObject *lock)
{
    PyObject *r = PyObject_CallMethod(lock, "locked", NULL);
    int locked = r ? PyObject_IsTrue(r) : -1;
    Py_XDECREF(r);
    return locked;
}

/* Takes a lock by take(), and asks CPython whether it is locked. */
static PyObject *probe_with(PyObject *lock)
{
#if PY_VERSION_HEX >= 0x030d0000 && PY_VERSION_HEX < 0x030e0000
    is_older = lock_type->tp_basicsize == sizeof(older_lock);
#endif
    if (lock_type->tp_basicsize != bytes_of_lock() || is_locked(lock) != 0 || !take(lock) || is_locked(lock) != 1 ||
        take(lock))
        return probe_failed();
    PyObject *r = PyObject_CallMethod(lock, "release", NULL);
    if (!r)
        return NULL;
    Py_DECREF(r);
    r = PyObject_CallMethod(lock, "acquire", NULL);
    if (!r)
        return NULL;
    Py_DECREF(r);
    if (take(lock))
        return probe_failed();
    return PyObject_CallMethod(lock, "release", NULL);
}

static int probe(void)
{
    if (!not_blocking && (!(no_arguments = PyTuple_New(0)) || !(not_blocking = Py_BuildValue("(O)", Py_False))))
        return -1;
    PyObject *thread = PyImport_ImportModule("_thread");
    PyObject *rlock = thread ? PyObject_GetAttrString(thread, "RLock") : NULL;
    if (!rlock) {
        Py_XDECREF(thread);
        return -1;
    }
    Py_XSETREF(rlock_type, (PyTypeObject *)rlock);
    PyObject *lock = thread ? PyObject_CallMethod(thread, "allocate_lock", NULL) : NULL, *done = NULL;
    if (lock) {
        Py_XSETREF(lock_type, (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(lock)));
        done = probe_with(lock);
    }
    Py_XDECREF(done);
    Py_XDECREF(lock);
    Py_XDECREF(thread);
    return done ? 0 : -1;
}

/* ---- arguments ---- */

/* May this acquire(blocking=True, timeout=-1) wait, and until when? 1 if so; 0 if the original answers at once; -1 with an
 * exception set. */
static int is_to_wait(const golib_invocation *call, int64_t *until)
{
    const double most = (double)PY_TIMEOUT_MAX / 1e6;
    *until = GOLIB_FOR_EVER;
    if (GOLIB_LIKELY(call->n == 0 && !call->kw))
        return 1;
    PyObject *blocking = golib_argument(call, 0, "blocking"), *timeout = golib_argument(call, 1, "timeout");
    if (call->n + golib_keywords(call) != (blocking != NULL) + (timeout != NULL))
        return 0;
    int yes = !blocking || blocking == Py_True ? 1 : PyObject_IsTrue(blocking);
    if (yes <= 0)
        return yes;
    if (!timeout)
        return 1;
    double seconds = PyFloat_Check(timeout)  ? PyFloat_AS_DOUBLE(timeout)
                     : PyLong_Check(timeout) ? PyLong_AsDouble(timeout)
                                             : 0;
    if (seconds == -1.0) {
        int wrong = PyErr_Occurred() != NULL;
        PyErr_Clear();
        return !wrong;
    }
    if (!(seconds > 0 && seconds <= most))
        return 0;
    *until = golib_until(seconds);
    return 1;
}

/* ---- _thread.lock ---- */

static int attempt_lock(void *self)
{
    return take(self);
}

static golib_parking lock_acquire;

/* The rest of a wait, after the patch was taken back. */
static PyObject *acquire_originally(const golib_parking *p, PyObject *self, int64_t until)
{
    if (until == GOLIB_FOR_EVER)
        return golib_call_original(p, NULL, self, NULL, 0);
    int64_t left = until - golib_waits_table->now();
    PyObject *args[] = {left > 0 ? Py_True : Py_False, left > 0 ? PyFloat_FromDouble((double)left / 1e9) : NULL};
    if (left > 0 && !args[1])
        return NULL;
    PyObject *result = golib_call_original(p, NULL, self, args, left > 0 ? 2 : 1);
    Py_XDECREF(args[1]);
    return result;
}

/* For both kinds of lock: takes a free lock at once if no goroutine is in line, else lines up. */
static inline __attribute__((always_inline)) PyObject *acquire(golib_invocation *call, const golib_caller *record,
                                                               const golib_parking *original, int (*attempt)(void *))
{
    PyObject *self = call->self;
    int64_t until;
    if (!golib_on_goroutine())
        return golib_original(call);
    int waits = is_to_wait(call, &until);
    if (waits <= 0)
        return waits < 0 ? NULL : golib_original(call);
    int got = golib_line_may_pass(self) ? attempt(self) : 0;
    if (GOLIB_UNLIKELY(!got)) {
        golib_waiting waiting = {.attempt = attempt, .argument = self, .until = until, .reason = GOLIB_FOR_LOCK};
        got = golib_lines_table->wait(self, &waiting, record);
        if (got == GOLIB_LINE_TAKEN_BACK)
            return acquire_originally(original, self, until);
    }
    return got < 0 ? NULL : Py_NewRef(got ? Py_True : Py_False);
}

static PyObject *lock_acquire_body(golib_invocation *call, const golib_caller *record)
{
    return acquire(call, record, &lock_acquire, attempt_lock);
}

GOLIB_PARKS(lock_acquire, "_thread", "allocate_lock()", "acquire", lock_acquire_body, 0, NULL);
GOLIB_PARKS(lock_acquire_lock, "_thread", "allocate_lock()", "acquire_lock", lock_acquire_body, 0, NULL);
GOLIB_PARKS(lock_enter, "_thread", "allocate_lock()", "__enter__", lock_acquire_body, 0, NULL);
GOLIB_PARKS(lock_release, "_thread", "allocate_lock()", "release", golib_gives_body, 0, NULL);
GOLIB_PARKS(lock_release_lock, "_thread", "allocate_lock()", "release_lock", golib_gives_body, 0, NULL);
GOLIB_PARKS(lock_exit, "_thread", "allocate_lock()", "__exit__", golib_gives_body, 0, NULL);

/* ---- _thread.RLock ---- */

static golib_parking rlock_acquire;

/* Asks the original, which knows owner and count. */
static int attempt_rlock(void *self)
{
    golib_invocation call = {.p = &rlock_acquire,
                             .self = self,
                             .packed = not_blocking,
                             .args = ((PyTupleObject *)not_blocking)->ob_item,
                             .n = 1};
    PyObject *result = golib_original(&call);
    int got = result ? result == Py_True : -1;
    Py_XDECREF(result);
    return got;
}

static PyObject *rlock_acquire_body(golib_invocation *call, const golib_caller *record)
{
    return acquire(call, record, &rlock_acquire, attempt_rlock);
}

/* The count in what _release_save returned; 0 for any other object. */
static long count_in(PyObject *state)
{
    long count =
        state && PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2 ? PyLong_AsLong(PyTuple_GET_ITEM(state, 0)) : 0;
    PyErr_Clear();
    return count > 0 ? count : 0;
}

/* Condition.wait takes its lock back, which only a deadlock can end early. */
static PyObject *rlock_restore_body(golib_invocation *call, const golib_caller *record)
{
    PyObject *self = call->self;
    long count = golib_on_goroutine() && call->n == 1 ? count_in(call->args[0]) : 0;
    if (!count)
        return golib_original(call);
    int got = golib_line_may_pass(self) ? attempt_rlock(self) : 0;
    if (!got) {
        golib_waiting waiting = {.attempt = attempt_rlock,
                                 .argument = self,
                                 .until = GOLIB_FOR_EVER,
                                 .reason = GOLIB_FOR_LOCK,
                                 .takes_back = 1};
        got = golib_lines_table->wait(self, &waiting, record);
    }
    if (got == GOLIB_LINE_TAKEN_BACK)
        return golib_original(call);
    while (got > 0 && --count > 0)
        got = attempt_rlock(self);
    if (got < 0)
        return NULL;
    Py_RETURN_NONE;
}

GOLIB_PARKS(rlock_acquire, "_thread", "RLock", "acquire", rlock_acquire_body, 0, NULL);
GOLIB_PARKS(rlock_enter, "_thread", "RLock", "__enter__", rlock_acquire_body, 0, NULL);
GOLIB_PARKS(rlock_release, "_thread", "RLock", "release", golib_gives_body, 0, NULL);
GOLIB_PARKS(rlock_exit, "_thread", "RLock", "__exit__", golib_gives_body, 0, NULL);
GOLIB_PARKS(rlock_save, "_thread", "RLock", "_release_save", golib_gives_body, 0, NULL);
GOLIB_PARKS(rlock_restore, "_thread", "RLock", "_acquire_restore", rlock_restore_body, 0, NULL);

/* ---- a lock that is a condition's (patch_condition.c) ---- */

static int is_applied;

/* Makes a call without arguments of one of two entries; 0 if the lock is of another kind. */
static int call_without_arguments(golib_invocation *call, PyObject *lock, golib_parking *plain,
                                  golib_parking *recursive)
{
    if (!is_applied || !(Py_IS_TYPE(lock, lock_type) || Py_IS_TYPE(lock, rlock_type)))
        return 0;
    golib_parking *p = Py_IS_TYPE(lock, lock_type) ? plain : recursive;
    *call = (golib_invocation){.p = p, .self = lock, .packed = p->patch.flags & METH_VARARGS ? no_arguments : NULL};
    return 1;
}

int golib_lock_enter(PyObject *lock, const golib_caller *record, PyObject **result)
{
    golib_invocation call;
    if (!call_without_arguments(&call, lock, &lock_acquire, &rlock_acquire))
        return 0;
    *result = Py_IS_TYPE(lock, lock_type) ? lock_acquire_body(&call, record) : rlock_acquire_body(&call, record);
    return 1;
}

int golib_lock_exit(PyObject *lock, PyObject **result)
{
    golib_invocation call;
    if (!call_without_arguments(&call, lock, &lock_release, &rlock_release))
        return 0;
    *result = golib_gives_body(&call, NULL);
    return 1;
}

int golib_lock_state(PyObject *lock)
{
    return is_applied && Py_IS_TYPE(lock, lock_type) ? looks_locked(lock) : -1;
}

/* ---- taking a lock back from Python code (golib._patched_threading) ---- */

/* _golib._take_lock_back(lock): False if it is not a lock of these kinds, or they are not patched. */
GOLIB_ENTRY_O(golib_entry_take_lock_back, golib_take_lock_back)

PyObject *golib_take_lock_back(PyObject *module, PyObject *lock, const golib_caller *record)
{
    (void)module;
    if (!is_applied || !Py_IS_TYPE(lock, lock_type) || !golib_on_goroutine())
        Py_RETURN_FALSE;
    if (golib_line_may_pass(lock) && take(lock))
        Py_RETURN_TRUE;
    golib_waiting waiting = {
        .attempt = attempt_lock, .argument = lock, .until = GOLIB_FOR_EVER, .reason = GOLIB_FOR_LOCK, .takes_back = 1};
    int got = golib_lines_table->wait(lock, &waiting, record);
    if (got == GOLIB_LINE_TAKEN_BACK)
        return acquire_originally(&lock_acquire, lock, GOLIB_FOR_EVER);
    return got < 0 ? NULL : PyBool_FromLong(got);
}

/* ---- locks that C code gives back ---- */

#if GOLIB_DUMMIES_STAY

static void (*release_sentinel)(void *);

/* Called at a thread's end. `data` is a weak reference to the lock, which the original takes over. */
static void thread_ends(void *data)
{
    PyObject *lock = PyWeakref_CheckRef((PyObject *)data) ? PyWeakref_GET_OBJECT((PyObject *)data) : Py_None;
    Py_INCREF(lock);
    release_sentinel(data);
    golib_line_wake(lock);
    Py_DECREF(lock);
}

/* Makes the end of `ts`'s thread wake the line. Any other function that stands there is left alone. */
static void watch_end(PyThreadState *ts)
{
    if (ts->on_delete && ts->on_delete != thread_ends && (!release_sentinel || release_sentinel == ts->on_delete)) {
        release_sentinel = ts->on_delete;
        ts->on_delete = thread_ends;
    }
}

static PyObject *set_sentinel_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *result = golib_original(call);
    if (result && golib_in_main_interpreter())
        watch_end(golib_ts_current());
    return result;
}

GOLIB_PARKS(set_sentinel, "_thread", NULL, "_set_sentinel", set_sentinel_body, 0, NULL);

static void applied(void)
{
    is_applied = 1;
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main()); ts; ts = PyThreadState_Next(ts))
        watch_end(ts);
}

static void unwatch_ends(void)
{
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main()); ts;
         ts = PyThreadState_Next(ts)) {
        if (ts->on_delete == thread_ends)
            ts->on_delete = release_sentinel;
    }
}

#else

static void applied(void)
{
    is_applied = 1;
}

static void unwatch_ends(void)
{
}

#endif

static void taken_back(void)
{
    is_applied = 0;
    unwatch_ends();
    golib_lines_table->empty();
}

static golib_parking *const calls[] = {
    &lock_acquire,  &lock_acquire_lock, &lock_enter,    &lock_release, &lock_release_lock, &lock_exit,
    &rlock_acquire, &rlock_enter,       &rlock_release, &rlock_exit,   &rlock_save,        &rlock_restore,
#if GOLIB_DUMMIES_STAY
    &set_sentinel,
#endif
};

const golib_group golib_group_lock = {
    .name = "lock", GOLIB_GROUP_CALLS(calls), .probe = probe, .applied = applied, .taken_back = taken_back};
