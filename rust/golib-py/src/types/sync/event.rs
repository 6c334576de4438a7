//! `golib.sync.Event`.

use go_lib::runtime::embedder::{Flag, WaitReason};

use super::object::{complete_as_threads, new, Sync};
use crate::ffi::args::{timeout_of, Args};
use crate::ffi::class::{Object, TypeCell};
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods};
use crate::ffi::python::{boolean, none};
use crate::ffi::refs::{New, Outcome};
use crate::ffi::spec::TypeSpec;

type Event = Sync<Flag>;

static EVENT: TypeCell<Event> = TypeCell::new();

entry! { WAIT: golib_entry_event_wait => event_wait keywords(entry, event: Event, args) {
    wait(entry, event, args, WaitReason::EventWait)
} }

entry! { WAIT_NOTIFIED: golib_entry_event_wait_notified => event_wait_notified keywords(entry, event: Event, args) {
    wait(entry, event, args, WaitReason::CondWait)
} }

#[inline(always)]
fn wait(
    entry: &mut Entry,
    event: &Object<Event>,
    args: Args<'_>,
    reason: WaitReason,
) -> Outcome<New> {
    let [timeout] = args.parse(entry.gil(), "wait", &[c"timeout"], 0)?;
    let until = timeout_of(entry.gil(), timeout)?.wait;
    complete_as_threads(entry, "wait", || event.core.wait(until, reason))
}

fn is_set(gil: Gil<'_>, event: &Object<Event>) -> Outcome<New> {
    Ok(boolean(gil, event.core.is_set()))
}

fn set(gil: Gil<'_>, event: &Object<Event>) -> Outcome<New> {
    guard(gil, || event.core.set())?;
    Ok(none(gil))
}

fn clear(gil: Gil<'_>, event: &Object<Event>) -> Outcome<New> {
    event.core.clear();
    Ok(none(gil))
}

static METHODS: Methods<Event, 6> = Methods([
    Method::parks(
        c"wait",
        WAIT,
        c"wait($self, timeout=None)
--

Waits until the event is set; says whether it is.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.",
    ),
    Method::parks(
        c"_wait_notified",
        WAIT_NOTIFIED,
        c"_wait_notified($self, timeout=None)
--

wait() of a waiter of Cond.",
    ),
    Method::noargs(
        c"is_set",
        is_set,
        c"is_set($self, /)
--

True while it is set.",
    ),
    Method::noargs(
        c"set",
        set,
        c"set($self, /)
--

Sets it: all who wait go on, and who comes until it is cleared does not wait.

Blocks: nothing.",
    ),
    Method::noargs(
        c"clear",
        clear,
        c"clear($self, /)
--

Takes it back: who comes from now on waits.

Blocks: nothing.",
    ),
    Method::END,
]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::<Event>::new(c"golib.sync.Event", DOC)
        .constructor(new::<Flag>)
        .methods(&METHODS)
        .make(gil, &EVENT)
}

const DOC: &std::ffi::CStr = c"Event()
--

Something that has happened, or not yet: threading.Event for goroutines and OS threads.

Go closes a channel for that, which cannot be taken back.

>>> ready = golib.sync.Event()
>>> g = golib.go(ready.wait)
>>> ready.set()
>>> g.join()
True";
