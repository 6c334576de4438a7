//! The functions behind `golib.patch`, and the waits that the patched builtins (`cpython/patch_*.c`) ask of the runtime.
//!
//! | file | holds |
//! |---|---|
//! | [`waits`] | waits with outcomes that C understands |
//! | [`polls`] | descriptors registered with the runtime's poller |
//! | [`line`] | goroutines that wait for a lock or a queue of CPython's |
//! | [`lot`] | goroutines that wait for an address: a lock, a queue, a turn |

mod line;
mod lot;
#[cfg(unix)]
mod polls;
#[cfg(windows)]
#[path = "polls_windows.rs"]
mod polls;
mod waits;

use std::ffi::CStr;

use pyo3::ffi::{self, PyMethodDefPointer};

use crate::core::goroutine;
use crate::cpython::patch;
use crate::ffi::args::Args;
use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module, Parks};
use crate::ffi::python::{none, raise_object};
use crate::ffi::refs::{New, Outcome, Raised, Ref};

static WAITS: patch::Waits = patch::Waits {
    on_goroutine: waits::on_goroutine,
    now: waits::now,
    sleep: waits::sleep,
    gosched: waits::gosched,
    poll_open: polls::open,
    poll_rearm: polls::rearm,
    poll_prepare: polls::prepare,
    poll_drained: polls::drained,
    poll_wait: polls::wait,
    poll_release: polls::release,
    poll_abandon: polls::abandon,
    held: goroutine::held_files,
    lot_wait: lot::wait,
    lot_wake: lot::wake,
    lot_count: lot::COUNT.as_ptr(),
};

/// `_golib._patch(names)`: patches these groups.
fn apply(gil: Gil<'_>, _: &Object<Module>, names: Ref<'_>) -> Outcome<New> {
    goroutine::ensure_started(gil)?;
    // SAFETY: the tables live forever, and the runtime's start has installed the identity patches, which lie below. If the
    // result is negative, an exception is set.
    unsafe {
        patch::set_waits(&WAITS);
        patch::set_lines(&line::LINES);
        if patch::apply(names.as_raw()) < 0 {
            return Err(Raised::assume());
        }
    }
    Ok(none(gil))
}

/// `_golib._unpatch()`: takes every patch back.
fn take_back(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: the token shows that the GIL is held.
    unsafe { patch::take_back() };
    Ok(none(gil))
}

/// `_golib._patchable()`: the names of all groups.
fn known(_gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: a new tuple, or null with an exception set.
    unsafe { New::made(patch::known()) }
}

/// `_golib._patched()`: the names of the groups that are patched.
fn patched(_gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: a new tuple, or null with an exception set.
    unsafe { New::made(patch::patched()) }
}

/// `_golib._thread_failed(error, function)`: reports the exception that ended a thread, as `_thread` does.
fn thread_failed(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [error, function] = args.parse(gil, "_thread_failed", &[c"error", c"function"], 2)?;
    if let (Some(error), Some(function)) = (error, function) {
        raise_object(gil, error.own(gil));
        // SAFETY: alive; the exception is set.
        unsafe { patch::thread_failed(function.as_raw()) };
    }
    Ok(none(gil))
}

/// A C function with one argument.
const fn in_c(function: ffi::PyCFunction) -> Parks<Module> {
    // SAFETY: the functions that `cpython::patch` declares with this type have these flags.
    unsafe { Parks::new(PyMethodDefPointer { PyCFunction: function }, ffi::METH_O) }
}

// SAFETY: a C function with these flags.
const CONDITION_METHODS: Parks<Module> = unsafe {
    let call = PyMethodDefPointer { PyCFunctionFast: patch::golib_condition_methods };
    Parks::new(call, ffi::METH_FASTCALL)
};

const DOC: &CStr = c"For the Python part of golib.";

/// The module's functions that are about patching.
pub(crate) static FUNCTIONS: Methods<Module, 10> = Methods([
    Method::one(c"_patch", apply, DOC),
    Method::noargs(c"_unpatch", take_back, DOC),
    Method::noargs(c"_patchable", known, DOC),
    Method::noargs(c"_patched", patched, DOC),
    Method::parks(c"_take_lock_back", in_c(patch::golib_entry_take_lock_back), DOC),
    Method::parks(c"_wait_begins", in_c(patch::golib_wait_begins), DOC),
    Method::parks(c"_event_wait_begins", in_c(patch::golib_event_wait_begins), DOC),
    Method::parks(c"_condition_methods", CONDITION_METHODS, DOC),
    Method::fast(c"_thread_failed", thread_failed, DOC),
    Method::END,
]);

/// In a forked child, before CPython has done anything there: drops the parent's waiters, none of which is here.
///
/// # Safety
/// Called by the child's only thread.
pub(crate) unsafe fn after_fork() {
    // SAFETY: there is no other thread.
    unsafe {
        lot::after_fork();
        line::after_fork();
        patch::after_fork();
    }
}
