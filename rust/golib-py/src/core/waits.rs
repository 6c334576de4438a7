//! How a failed wait is handled: it raises an exception, or the operation is tried again.
//!
//! The functions here whose names end in `ed` run Python code; no wait is under way then.

use go_lib::runtime::embedder::{self, WaitError};
use pyo3::ffi;

use crate::core::context::{ambient, cancel};
use crate::core::goroutine::handle::GoroutineObj;
use crate::cpython::main_thread;
use crate::ffi::args::Timeout;
use crate::ffi::errors::{self, fail};
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::obj::Raw;
use crate::ffi::python::{self, runtime_error, timeout_error};
use crate::ffi::refs::{New, Outcome, Raised};

/// Calls `operation` until it has succeeded or failed: the outcome of a method that waits. `what` and the seconds of `timeout`
/// are for TimeoutError's text.
#[inline(always)]
pub(crate) fn complete(
    entry: &mut Entry,
    what: &str,
    timeout: Timeout,
    operation: impl Fn() -> Result<(), WaitError>,
) -> Outcome<()> {
    loop {
        match entry.wait(&operation)? {
            Ok(()) => return Ok(()),
            Err(error) => failed(entry.gil(), error, what, timeout)?,
        }
    }
}

/// Handles a wait's failure. Ok: try the operation again.
#[cold]
#[inline(never)]
pub(crate) fn failed(gil: Gil<'_>, error: WaitError, what: &str, timeout: Timeout) -> Outcome<()> {
    match error {
        WaitError::Interrupted => interrupted(gil),
        WaitError::WouldBlock | WaitError::Timeout => Err(timed_out(gil, what, timeout)),
        WaitError::Deadlock => Err(deadlocked(gil)),
    }
}

/// Called after an operation came back interrupted. Ok: try it again.
///
/// Somebody left an exception for this goroutine, or a context under which the caller runs was cancelled. A thread, or the
/// goroutine that is a forked child's main thread, may also have been woken by a signal, whose handlers run now: the wait is
/// over, so they may use golib as they like.
#[cold]
#[inline(never)]
pub(crate) fn interrupted(gil: Gil<'_>) -> Outcome<()> {
    let host = embedder::current_host();
    cancel::expire(gil);
    // A signal handler's exception comes first: it is raised once, but Cancelled at each wait.
    let raised = raise_pending(gil, host.cast()).and_then(|()| run_handlers(gil, host.cast()));
    let Some(node) = ambient::cancelled(gil) else {
        if !host.is_null() {
            embedder::take_interrupt();
        }
        return raised;
    };
    // The next wait is refused too, for as long as the block lasts.
    embedder::current_or_thread().interrupt();
    raised?;
    Err(ambient::raise_cancelled(gil, node))
}

/// Raises the exception that somebody left for the goroutine `host` (null: a thread).
fn raise_pending(gil: Gil<'_>, host: Raw) -> Outcome<()> {
    if host.is_null() {
        return Ok(());
    }
    // SAFETY: a host goroutine's payload is its handle.
    match unsafe { New::nullable(GoroutineObj::take_pending(host)) } {
        Some(error) => Err(python::raise_object(gil, error)),
        None => Ok(()),
    }
}

/// Runs whatever is pending for the main thread, if the caller is the main thread or stands in for it.
fn run_handlers(_gil: Gil<'_>, host: Raw) -> Outcome<()> {
    // SAFETY: the token; CPython says by its answer whether it has raised.
    unsafe {
        if !host.is_null() && !main_thread::is_here() {
            return Ok(());
        }
        // They may wait themselves.
        embedder::take_interrupt();
        // 3.11 takes its note of the signal back in the second only.
        if ffi::PyErr_CheckSignals() != 0 || ffi::Py_MakePendingCalls() != 0 {
            return Err(Raised::assume());
        }
    }
    Ok(())
}

/// Raises TimeoutError, which says after how many seconds if there was a timeout.
#[cold]
#[inline(never)]
pub(crate) fn timed_out(gil: Gil<'_>, what: &str, timeout: Timeout) -> Raised {
    let text = match timeout.seconds() {
        None => format!("{what} timed out"),
        Some(seconds) => format!("{what} timed out after {} s", seconds.max(0.0)),
    };
    fail(gil, timeout_error(), &text)
}

/// Raises Deadlock with the dump; at interpreter shutdown, when goroutines have been stopped, RuntimeError.
#[cold]
#[inline(never)]
pub(crate) fn deadlocked(gil: Gil<'_>) -> Raised {
    if embedder::is_exiting() {
        let text = "cannot wait at interpreter shutdown: goroutines have stopped";
        return fail(gil, runtime_error(), text);
    }
    match python::call0(gil, errors::DEADLOCK.object()) {
        Ok(error) => python::raise_object(gil, error),
        Err(raised) => raised,
    }
}
