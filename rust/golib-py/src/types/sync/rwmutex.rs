//! The core of `golib.sync.RWMutex`.

use go_lib::runtime::embedder::{RwMutexCore, Wait};

use super::object::{done, itself, new, Sync};
use crate::core::waits::complete;
use crate::ffi::args::{timeout_of, Args, Timeout};
use crate::ffi::class::{Object, TypeCell};
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{entry, Method, Methods};
use crate::ffi::python::{boolean, none, runtime_error};
use crate::ffi::refs::{New, Outcome};
use crate::ffi::spec::TypeSpec;

type RwMutex = Sync<RwMutexCore>;

static RW_MUTEX: TypeCell<RwMutex> = TypeCell::new();

entry! { LOCK: golib_entry_rwmutex_lock => rwmutex_lock keywords(entry, rw: RwMutex, args) {
    let [timeout] = args.parse(entry.gil(), "lock", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    complete(entry, "lock", timeout, || rw.core.lock(timeout.wait))?;
    Ok(none(entry.gil()))
} }

entry! { RLOCK: golib_entry_rwmutex_rlock => rwmutex_rlock keywords(entry, rw: RwMutex, args) {
    let [timeout] = args.parse(entry.gil(), "rlock", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    complete(entry, "rlock", timeout, || rw.core.rlock(timeout.wait))?;
    Ok(none(entry.gil()))
} }

entry! { ENTER: golib_entry_rwmutex_enter => rwmutex_enter none(entry, rw: RwMutex) {
    complete(entry, "lock", Timeout::NONE, || rw.core.lock(Wait::Block))?;
    itself(entry.gil(), rw)
} }

fn try_lock(gil: Gil<'_>, rw: &Object<RwMutex>) -> Outcome<New> {
    Ok(boolean(gil, rw.core.lock(Wait::Try).is_ok()))
}

fn try_rlock(gil: Gil<'_>, rw: &Object<RwMutex>) -> Outcome<New> {
    Ok(boolean(gil, rw.core.rlock(Wait::Try).is_ok()))
}

fn unlock(gil: Gil<'_>, rw: &Object<RwMutex>) -> Outcome<New> {
    done(gil, runtime_error(), guard(gil, || rw.core.unlock()))
}

/// `__exit__`: its arguments do not matter.
fn exit(gil: Gil<'_>, rw: &Object<RwMutex>, _: Args<'_>) -> Outcome<New> {
    unlock(gil, rw)
}

fn runlock(gil: Gil<'_>, rw: &Object<RwMutex>) -> Outcome<New> {
    done(gil, runtime_error(), guard(gil, || rw.core.runlock()))
}

static METHODS: Methods<RwMutex, 9> = Methods([
    Method::parks(
        c"lock",
        LOCK,
        c"lock($self, timeout=None)
--

Locks it for writing: nobody else holds it then.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held, and readers that waited only
    behind this writer go on.",
    ),
    Method::parks(
        c"rlock",
        RLOCK,
        c"rlock($self, timeout=None)
--

Locks it for reading, beside other readers.

While a writer waits new readers wait behind it: one that holds it for reading must not
rlock() it again.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held.",
    ),
    Method::noargs(
        c"unlock",
        unlock,
        c"unlock($self, /)
--

Ends writing. Any goroutine or thread may do so.

Blocks: nothing.
Raises: RuntimeError(\"sync: Unlock of unlocked RWMutex\").",
    ),
    Method::noargs(
        c"runlock",
        runlock,
        c"runlock($self, /)
--

Ends reading, that of one reader.

Blocks: nothing.
Raises: RuntimeError(\"sync: RUnlock of unlocked RWMutex\").",
    ),
    Method::noargs(
        c"try_lock",
        try_lock,
        c"try_lock($self, /)
--

Locks it for writing if nobody holds it; says whether it did.

Blocks: nothing.",
    ),
    Method::noargs(
        c"try_rlock",
        try_rlock,
        c"try_rlock($self, /)
--

Locks it for reading if no writer holds it or waits; says whether it did.

Blocks: nothing.",
    ),
    Method::parks(
        c"__enter__",
        ENTER,
        c"__enter__($self, /)
--

Locks it for writing; it is unlocked at the end of the block.",
    ),
    Method::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Ends writing.",
    ),
    Method::END,
]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    const DOC: &std::ffi::CStr = c"RWMutex()\n--\n\nThe core of golib.sync.RWMutex.";
    TypeSpec::<RwMutex>::new(c"golib._golib.RWMutex", DOC)
        .subclassable()
        .constructor(new)
        .methods(&METHODS)
        .make(gil, &RW_MUTEX)
}
