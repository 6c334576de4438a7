//! `golib.sync.Mutex`.

use go_lib::runtime::embedder::{MutexCore, Wait};

use super::object::{complete_as_threads, done, itself, new, Sync};
use crate::core::waits::complete;
use crate::ffi::args::wait_for;
use crate::ffi::args::{seconds_of, timeout_of, Args, Timeout};
use crate::ffi::class::{Object, TypeCell};
use crate::ffi::errors;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{entry, Method, Methods};
use crate::ffi::python::{boolean, none, runtime_error, truth, value_error};
use crate::ffi::refs::{New, Outcome, Ref};
use crate::ffi::spec::TypeSpec;

type Mutex = Sync<MutexCore>;

static MUTEX: TypeCell<Mutex> = TypeCell::new();

entry! { LOCK: golib_entry_mutex_lock => mutex_lock keywords(entry, mutex: Mutex, args) {
    let [timeout] = args.parse(entry.gil(), "lock", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    complete(entry, "lock", timeout, || mutex.core.lock(timeout.wait))?;
    Ok(none(entry.gil()))
} }

entry! { ENTER: golib_entry_mutex_enter => mutex_enter none(entry, mutex: Mutex) {
    complete(entry, "lock", Timeout::NONE, || mutex.core.lock(Wait::Block))?;
    itself(entry.gil(), mutex)
} }

entry! { ACQUIRE: golib_entry_mutex_acquire => mutex_acquire keywords(entry, mutex: Mutex, args) {
    let [blocking, timeout] = args.parse(entry.gil(), "acquire", &[c"blocking", c"timeout"], 0)?;
    let wait = acquire_wait(entry.gil(), blocking, timeout)?;
    complete_as_threads(entry, "acquire", || mutex.core.lock(wait))
} }

/// Translates the arguments of threading's `Lock.acquire`.
fn acquire_wait(
    gil: Gil<'_>,
    blocking: Option<Ref<'_>>,
    timeout: Option<Ref<'_>>,
) -> Outcome<Wait> {
    /// threading's value for "no timeout".
    const NO_TIMEOUT: f64 = -1.0;
    let blocking = blocking.map_or(Ok(true), |blocking| truth(gil, blocking))?;
    let seconds = timeout.map_or(Ok(NO_TIMEOUT), |timeout| seconds_of(gil, timeout))?;
    let wrong = |text| Err(errors::fail(gil, value_error(), text));
    match (blocking, seconds) {
        (false, NO_TIMEOUT) => Ok(Wait::Try),
        (false, _) => wrong("can't specify a timeout for a non-blocking call"),
        (true, NO_TIMEOUT) => Ok(Wait::Block),
        (true, seconds) if seconds < 0.0 => wrong("timeout value must be a non-negative number"),
        (true, seconds) => Ok(wait_for(seconds)),
    }
}

fn try_lock(gil: Gil<'_>, mutex: &Object<Mutex>) -> Outcome<New> {
    Ok(boolean(gil, mutex.core.try_lock()))
}

fn locked(gil: Gil<'_>, mutex: &Object<Mutex>) -> Outcome<New> {
    Ok(boolean(gil, mutex.core.is_locked()))
}

fn unlock(gil: Gil<'_>, mutex: &Object<Mutex>) -> Outcome<New> {
    done(gil, runtime_error(), guard(gil, || mutex.core.unlock()))
}

/// `__exit__`: its arguments do not matter.
fn exit(gil: Gil<'_>, mutex: &Object<Mutex>, _: Args<'_>) -> Outcome<New> {
    unlock(gil, mutex)
}

const UNLOCK_DOC: &std::ffi::CStr = c"unlock($self, /)
--

Unlocks the mutex. Any goroutine or thread may do so.

Blocks: nothing.
Raises: RuntimeError(\"sync: unlock of unlocked mutex\").";

static METHODS: Methods<Mutex, 9> = Methods([
    Method::parks(
        c"lock",
        LOCK,
        c"lock($self, timeout=None)
--

Locks the mutex.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held.",
    ),
    Method::noargs(c"unlock", unlock, UNLOCK_DOC),
    Method::noargs(
        c"try_lock",
        try_lock,
        c"try_lock($self, /)
--

Locks the mutex if it is free; says whether it did.

Blocks: nothing.",
    ),
    Method::parks(
        c"acquire",
        ACQUIRE,
        c"acquire($self, blocking=True, timeout=-1)
--

threading.Lock.acquire(): locks the mutex and says whether it did.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds, -1 waits for ever.
Raises: ValueError for a negative timeout, or one with blocking=False.",
    ),
    Method::noargs(
        c"release",
        unlock,
        c"release($self, /)
--

threading.Lock.release(): the same as unlock().",
    ),
    Method::noargs(
        c"locked",
        locked,
        c"locked($self, /)
--

threading.Lock.locked(): whether somebody holds it.",
    ),
    Method::parks(
        c"__enter__",
        ENTER,
        c"__enter__($self, /)
--

Locks the mutex; it is unlocked at the end of the block.",
    ),
    Method::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Unlocks the mutex.",
    ),
    Method::END,
]);

const DOC: &std::ffi::CStr = c"Mutex()
--

A mutual exclusion lock for goroutines and OS threads: Go's sync.Mutex.

It has no owner: any goroutine may unlock it. A waiter that has waited for more than a
millisecond gets it next, so nobody starves. `with mutex:` locks and unlocks; acquire()
and release() are those of threading.Lock, so it may stand in for one.

>>> m = golib.sync.Mutex()
>>> with m:
...     m.try_lock()
False";

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::<Mutex>::new(c"golib.sync.Mutex", DOC)
        .constructor(new::<MutexCore>)
        .methods(&METHODS)
        .make(gil, &MUTEX)
}
