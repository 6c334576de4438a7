//! `golib.sync.Event`.

use std::ptr;

use go_lib::runtime::embedder::{Flag, WaitReason};
use pyo3::ffi::{self, PyMethodDef};

use super::object::{core, make_type, new, waited_as_threads};
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, arguments, guard, parking, wait_of, Record, Table};

parking!(golib_entry_event_wait => event_wait(slf, args, n, kwnames; record) {
    // SAFETY: a method of Event.
    unsafe { wait(slf, args, n, kwnames, WaitReason::EventWait, record) }
});

parking!(golib_entry_event_wait_notified => event_wait_notified(slf, args, n, kwnames; record) {
    // SAFETY: a method of Event.
    unsafe { wait(slf, args, n, kwnames, WaitReason::CondWait, record) }
});

#[inline(always)]
unsafe fn wait(
    slf: Raw,
    args: *const Raw,
    n: ffi::Py_ssize_t,
    kwnames: Raw,
    reason: WaitReason,
    record: Record,
) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Event.
    unsafe {
        let Some([timeout]) = arguments("wait", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(until) = wait_of(timeout) else { return ptr::null_mut() };
        let event = core::<Flag>(slf);
        waited_as_threads(record, "wait", || event.wait(until, reason))
    }
}

unsafe extern "C" fn is_set(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Event.
    unsafe { obj::boolean(core::<Flag>(slf).is_set()) }
}

unsafe extern "C" fn set(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Event.
    unsafe {
        let event = core::<Flag>(slf);
        guard(|| event.set()).map_or(ptr::null_mut(), |()| obj::none())
    }
}

unsafe extern "C" fn clear(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Event.
    unsafe {
        core::<Flag>(slf).clear();
        obj::none()
    }
}

static METHODS: Table<[PyMethodDef; 6]> = Table([
    raw::keywords(
        c"wait",
        golib_entry_event_wait,
        c"wait($self, timeout=None)
--

Waits until the event is set; says whether it is.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.",
    ),
    raw::keywords(
        c"_wait_notified",
        golib_entry_event_wait_notified,
        c"_wait_notified($self, timeout=None)
--

wait() of a waiter of Cond.",
    ),
    raw::method(
        c"is_set",
        is_set,
        ffi::METH_NOARGS,
        c"is_set($self, /)
--

True while it is set.",
    ),
    raw::method(
        c"set",
        set,
        ffi::METH_NOARGS,
        c"set($self, /)
--

Sets it: all who wait go on, and who comes until it is cleared does not wait.

Blocks: nothing.",
    ),
    raw::method(
        c"clear",
        clear,
        ffi::METH_NOARGS,
        c"clear($self, /)
--

Takes it back: who comes from now on waits.

Blocks: nothing.",
    ),
    PyMethodDef::zeroed(),
]);

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    // SAFETY: the caller's duty.
    unsafe { make_type::<Flag>(c"golib.sync.Event", DOC, 0, new::<Flag>, &METHODS.0, None) }
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
