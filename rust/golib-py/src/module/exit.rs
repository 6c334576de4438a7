//! The step after the last of the program's exit handlers.

use crate::bridge::{alarm, exit};
use crate::core::goroutine;
use crate::cpython;
use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Module};
use crate::ffi::python::{attribute, call1, import_from, none, unsigned};
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// Registers [`at_exit`] to run after all of the program's exit handlers, whenever those are registered, because they may
/// use golib. The module has its functions.
pub(crate) fn register_at_exit(gil: Gil<'_>, module: Ref<'_>) -> Outcome<()> {
    let register = import_from(gil, c"atexit", c"register")?;
    let registered = attribute(gil, module, c"_at_exit").and_then(|handler| {
        let result = call1(gil, register.get(), handler.get());
        handler.release(gil);
        result
    });
    register.release(gil);
    registered?.release(gil);
    // SAFETY: the token; an exception is set if it fails.
    unsafe {
        if cpython::call_last_at_exit() != 0 {
            return Err(Raised::assume());
        }
    }
    Ok(())
}

/// `_golib._at_exit()`: the atexit handler, called by the thread that ends the interpreter.
fn at_exit(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    if !exit::has_begun() {
        // SAFETY: the token, of this thread's own state; no exception is set.
        unsafe {
            goroutine::report_unread(gil);
            exit::stop();
            alarm::at_exit();
            // Failures from before everything had stopped.
            goroutine::report_unread(gil);
        }
    }
    Ok(none(gil))
}

/// `_golib._report_unread()`: reports exceptions that nobody has read; how many reports others are making.
fn report_unread(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    goroutine::report_unread(gil);
    unsigned(gil, goroutine::reports_in_progress(gil))
}

/// The function `_at_exit`.
pub(super) const AT_EXIT: Method<Module> =
    Method::noargs(c"_at_exit", at_exit, c"For the Python part of golib.");

/// The function `_report_unread`.
pub(super) const REPORT_UNREAD: Method<Module> =
    Method::noargs(c"_report_unread", report_unread, c"For the Python part of golib.");
