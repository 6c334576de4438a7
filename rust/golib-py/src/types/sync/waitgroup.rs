//! The core of `golib.sync.WaitGroup`.

use go_lib::runtime::embedder::WaitGroupCore;

use super::object::{done, new, Sync};
use crate::core::waits::complete;
use crate::ffi::args::{integer_of, timeout_of};
use crate::ffi::class::{Object, TypeCell};
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{entry, Method, Methods};
use crate::ffi::python::{none, value_error};
use crate::ffi::refs::{New, Outcome, Ref};
use crate::ffi::spec::TypeSpec;

type WaitGroup = Sync<WaitGroupCore>;

static WAIT_GROUP: TypeCell<WaitGroup> = TypeCell::new();

entry! { WAIT: golib_entry_wait_group_wait => wait_group_wait keywords(entry, group: WaitGroup, args) {
    let [timeout] = args.parse(entry.gil(), "wait", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    complete(entry, "wait", timeout, || group.core.wait(timeout.wait))?;
    Ok(none(entry.gil()))
} }

fn add_to(gil: Gil<'_>, group: &Object<WaitGroup>, delta: i64) -> Outcome<New> {
    done(gil, value_error(), guard(gil, || group.core.add(delta)))
}

fn wait_group_add(gil: Gil<'_>, group: &Object<WaitGroup>, delta: Ref<'_>) -> Outcome<New> {
    let delta = integer_of(gil, delta)?;
    add_to(gil, group, delta)
}

fn wait_group_done(gil: Gil<'_>, group: &Object<WaitGroup>) -> Outcome<New> {
    add_to(gil, group, -1)
}

static METHODS: Methods<WaitGroup, 4> = Methods([
    Method::one(
        c"add",
        wait_group_add,
        c"add($self, delta, /)
--

Adds delta, which may be negative, to the counter; at zero all who wait go on.

Blocks: nothing.
Raises: ValueError(\"sync: negative WaitGroup counter\"); the counter is then as before.",
    ),
    Method::noargs(
        c"done",
        wait_group_done,
        c"done($self, /)
--

add(-1).",
    ),
    Method::parks(
        c"wait",
        WAIT,
        c"wait($self, timeout=None)
--

Waits until the counter is zero.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: TimeoutError after timeout.",
    ),
    Method::END,
]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    const DOC: &std::ffi::CStr = c"WaitGroup()\n--\n\nThe core of golib.sync.WaitGroup.";
    TypeSpec::<WaitGroup>::new(c"golib._golib.WaitGroup", DOC)
        .subclassable()
        .constructor(new)
        .methods(&METHODS)
        .make(gil, &WAIT_GROUP)
}
