//! The set-up before the first goroutine. Importing the module starts nothing.
//!
//! The first `go` installs the identity patches, the exit and fork hooks and the SIGQUIT handler (`golib._start`).

use std::sync::atomic::{AtomicBool, Ordering};

use super::{exit, main_thread};
use crate::cpython::{self, identity};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::python::{call0, import_from, memory_error, runtime_error};
use crate::ffi::refs::{Outcome, Raised};
use go_lib::runtime::embedder;

static STARTED: AtomicBool = AtomicBool::new(false);

/// A goroutine may start.
#[inline]
pub(crate) fn is_set_up() -> bool {
    // Relaxed: both are written under the GIL.
    STARTED.load(Ordering::Relaxed) && !exit::has_begun()
}

/// Installs the identity patches, the hooks and the handlers; `find` finds what goroutines need of the Python layer. Runs
/// Python code.
#[cold]
#[inline(never)]
pub(crate) fn set_up(gil: Gil<'_>, find: fn(Gil<'_>) -> Outcome<()>) -> Outcome<()> {
    if exit::has_begun() && !main_thread::is_this() {
        exit::sleep_for_good(gil);
    }
    if exit::has_begun() || cpython::finalizing() {
        let text = "cannot start a goroutine at interpreter shutdown";
        return Err(errors::fail(gil, runtime_error(), text));
    }
    // SAFETY: the token; an exception is set if it fails.
    unsafe {
        if identity::install() < 0 {
            return Err(Raised::assume());
        }
    }
    find(gil)?;
    // Set first: the Python side may call back.
    STARTED.store(true, Ordering::Relaxed);
    let told = tell_python(gil);
    if told.is_err() {
        STARTED.store(false, Ordering::Relaxed);
    }
    told
}

/// `golib._start.started()`.
fn tell_python(gil: Gil<'_>) -> Outcome<()> {
    let started = import_from(gil, c"golib._start", c"started")?;
    let result = call0(gil, started.get());
    started.release(gil);
    result.map(|nothing| nothing.release(gil))
}

/// Raises the exception for a goroutine that was refused.
#[cold]
pub(crate) fn refused(gil: Gil<'_>, error: &std::io::Error) -> Raised {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return errors::fail(gil, memory_error(), embedder::stack_limit_text());
    }
    let why = embedder::thread_limit_text(error.raw_os_error().unwrap_or(0));
    let text =
        format!("cannot start a thread for a goroutine: {why} (see golib.runtime.set_max_threads)");
    errors::fail(gil, runtime_error(), &text)
}
