//! `golib.sync.Semaphore`.

use go_lib::runtime::embedder::{SemaphoreCore, Wait};

use super::object::{done, itself, make, Sync};
use crate::core::waits::complete;
use crate::ffi::args::NewArgs;
use crate::ffi::args::{integer_of, timeout_of, Args, Timeout};
use crate::ffi::class::{Object, TypeCell, TypeOf};
use crate::ffi::errors;
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods, Properties, Property};
use crate::ffi::python::{boolean, none, none_ref, size, value_error};
use crate::ffi::refs::{New, Outcome, Ref};
use crate::ffi::spec::TypeSpec;

type Semaphore = Sync<SemaphoreCore>;

static SEMAPHORE: TypeCell<Semaphore> = TypeCell::new();

/// `Semaphore(n)`.
fn new(gil: Gil<'_>, class: TypeOf<'_, Semaphore>, args: NewArgs<'_>) -> Outcome<New> {
    let n = args.one(gil, c"O:Semaphore", c"n")?.unwrap_or(none_ref());
    let n = integer_of(gil, n)?;
    if n < 0 {
        let text = "the number of permits must not be negative";
        return Err(errors::fail(gil, value_error(), text));
    }
    make(gil, class, SemaphoreCore::new(n as usize))
}

/// The number of permits to acquire or release; one by default.
fn permits(gil: Gil<'_>, n: Option<Ref<'_>>) -> Outcome<usize> {
    let n = n.map_or(Ok(1), |n| integer_of(gil, n))?;
    if n < 1 {
        return Err(errors::fail(gil, value_error(), "n must be at least 1"));
    }
    Ok(n as usize)
}

/// Acquires permits, waiting for them if need be.
#[inline(always)]
fn acquire(
    entry: &mut Entry,
    semaphore: &Object<Semaphore>,
    n: usize,
    timeout: Timeout,
) -> Outcome<()> {
    let size = semaphore.core.size();
    if n > size {
        let text = format!("semaphore: {n} of {size} permits wished");
        return Err(errors::fail(entry.gil(), value_error(), &text));
    }
    complete(entry, "acquire", timeout, || semaphore.core.acquire(n, timeout.wait))
}

entry! { ACQUIRE: golib_entry_semaphore_acquire => semaphore_acquire keywords(entry, semaphore: Semaphore, args) {
    let [wished, timeout] = args.parse(entry.gil(), "acquire", &[c"n", c"timeout"], 0)?;
    let wished = permits(entry.gil(), wished)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    acquire(entry, semaphore, wished, timeout)?;
    Ok(none(entry.gil()))
} }

entry! { ENTER: golib_entry_semaphore_enter => semaphore_enter none(entry, semaphore: Semaphore) {
    acquire(entry, semaphore, 1, Timeout::NONE)?;
    itself(entry.gil(), semaphore)
} }

fn try_acquire(gil: Gil<'_>, semaphore: &Object<Semaphore>, args: Args<'_>) -> Outcome<New> {
    let [wished] = args.parse(gil, "try_acquire", &[c"n"], 0)?;
    let wished = permits(gil, wished)?;
    Ok(boolean(gil, semaphore.core.acquire(wished, Wait::Try).is_ok()))
}

fn give_back(gil: Gil<'_>, semaphore: &Object<Semaphore>, n: usize) -> Outcome<New> {
    done(gil, value_error(), guard(gil, || semaphore.core.release(n)))
}

fn release(gil: Gil<'_>, semaphore: &Object<Semaphore>, args: Args<'_>) -> Outcome<New> {
    let [given] = args.parse(gil, "release", &[c"n"], 0)?;
    let given = permits(gil, given)?;
    give_back(gil, semaphore, given)
}

fn exit(gil: Gil<'_>, semaphore: &Object<Semaphore>, _: Args<'_>) -> Outcome<New> {
    give_back(gil, semaphore, 1)
}

fn get_n(gil: Gil<'_>, semaphore: &Object<Semaphore>) -> Outcome<New> {
    size(gil, semaphore.core.size())
}

fn get_free(gil: Gil<'_>, semaphore: &Object<Semaphore>) -> Outcome<New> {
    size(gil, semaphore.core.free())
}

static METHODS: Methods<Semaphore, 6> = Methods([
    Method::parks(
        c"acquire",
        ACQUIRE,
        c"acquire($self, n=1, timeout=None)
--

Takes n permits. Nobody overtakes: a large wish is not starved by small ones.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then none is held. ValueError if n is below 1, or
    more than there are (Go's waits for ever).",
    ),
    Method::keywords(
        c"try_acquire",
        try_acquire,
        c"try_acquire($self, n=1)
--

Takes n permits if they are free and nobody waits; says whether it did.

Blocks: nothing.
Raises: ValueError if n is below 1.",
    ),
    Method::keywords(
        c"release",
        release,
        c"release($self, n=1)
--

Gives n permits back. Any goroutine or thread may do so.

Blocks: nothing.
Raises: ValueError(\"semaphore: released more than held\"), or if n is below 1; then
    nothing has changed.",
    ),
    Method::parks(
        c"__enter__",
        ENTER,
        c"__enter__($self, /)
--

Takes one permit; it is given back at the end of the block.",
    ),
    Method::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Gives one permit back.",
    ),
    Method::END,
]);

static PROPERTIES: Properties<Semaphore, 3> = Properties([
    Property::new(c"n", get_n, c"How many permits there are."),
    Property::new(c"free", get_free, c"How many are free now."),
    Property::END,
]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::<Semaphore>::new(c"golib.sync.Semaphore", DOC)
        .constructor(new)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &SEMAPHORE)
}

const DOC: &std::ffi::CStr = c"Semaphore(n)
--

n permits, taken one or several at a time, first come, first served: Go's
golang.org/x/sync/semaphore.

It has no owner: any goroutine may give a permit back, but not more than are held.
`with semaphore:` takes one.

>>> three_at_a_time = golib.sync.Semaphore(3)
>>> with three_at_a_time:
...     three_at_a_time.try_acquire(3)
False";
