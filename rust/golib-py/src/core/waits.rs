//! What it means that a wait has failed: an exception, or that the operation is tried again.

use go_lib::runtime::embedder::{self, WaitError};
use pyo3::ffi;

use crate::core::context::{ambient, cancel};
use crate::core::goroutine::handle::GoroutineObj;
use crate::cpython::main_thread;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::raw::seconds_of;

/// What a wait's failure means: true if it should be tried again; else an exception is set. `timeout` as in [`timed_out`].
///
/// # Safety
/// As [`interrupted`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn again(error: WaitError, what: &str, timeout: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        match error {
            WaitError::Interrupted => return interrupted(),
            WaitError::WouldBlock | WaitError::Timeout => timed_out(what, timeout),
            WaitError::Deadlock => deadlock(),
        };
    }
    false
}

/// After an operation came back interrupted: true if it should be tried again; else an exception is set.
///
/// Somebody left an exception for this goroutine, or a context under which the caller runs was cancelled. A thread, or the
/// goroutine that is a forked child's main thread, may also have been woken by a signal, whose handlers run now: the wait is
/// over, so they may use golib as they like.
///
/// # Safety
/// The GIL is held; no wait is under way.
#[cold]
#[inline(never)]
pub(crate) unsafe fn interrupted() -> bool {
    let host = embedder::current_host();
    // SAFETY: the GIL is held; a host goroutine's payload is its handle.
    unsafe {
        let gil = Gil::assume();
        cancel::expire(gil);
        // What a signal handler raises comes first: it is raised once, Cancelled at each wait.
        let raised = raise_pending(host.cast()) || run_handlers(host.cast());
        let node = ambient::cancelled(gil);
        if let Some(node) = node {
            // The next wait is refused too, for as long as the block lasts.
            embedder::current_or_thread().interrupt();
            if !raised {
                let _ = ambient::raise_cancelled(gil, node);
            }
        } else if !host.is_null() {
            embedder::take_interrupt();
        }
        !raised && node.is_none()
    }
}

/// Raises what somebody left for the goroutine `host` (null: a thread); true if there was something.
unsafe fn raise_pending(host: Raw) -> bool {
    // SAFETY: the GIL is held; a host goroutine's payload is its handle.
    unsafe {
        let pending = if host.is_null() { host } else { GoroutineObj::take_pending(host) };
        if !pending.is_null() {
            errors::restore(pending);
        }
        !pending.is_null()
    }
}

/// Runs what is pending for the main thread, if the caller is that or stands in for it; true if it has raised.
unsafe fn run_handlers(host: Raw) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if !host.is_null() && !main_thread::is_here() {
            return false;
        }
        // They may wait themselves.
        embedder::take_interrupt();
        // 3.11 takes its note of the signal back in the second only.
        ffi::PyErr_CheckSignals() != 0 || ffi::Py_MakePendingCalls() != 0
    }
}

/// Raises TimeoutError, which says after what `timeout`: seconds as they were given, null or None for none.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn timed_out(what: &str, timeout: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if timeout.is_null() || timeout == ffi::Py_None() {
            return errors::raise(ffi::PyExc_TimeoutError, &format!("{what} timed out"));
        }
        match seconds_of(timeout) {
            Some(seconds) => timed_out_after(what, seconds),
            None => std::ptr::null_mut(),
        }
    }
}

/// Raises TimeoutError, which says after how many seconds.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn timed_out_after(what: &str, seconds: f64) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let text = format!("{what} timed out after {} s", seconds.max(0.0));
        errors::raise(ffi::PyExc_TimeoutError, &text)
    }
}

/// Raises Deadlock with the dump; at interpreter shutdown, when goroutines have been stopped, RuntimeError.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn deadlock() -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if embedder::is_exiting() {
            let text = "cannot wait at interpreter shutdown: goroutines have stopped";
            return errors::raise(ffi::PyExc_RuntimeError, text);
        }
        let error = ffi::PyObject_CallNoArgs(errors::DEADLOCK.get());
        if !error.is_null() {
            ffi::PyErr_SetObject(ffi::Py_TYPE(error).cast(), error);
            ffi::Py_DECREF(error);
        }
    }
    std::ptr::null_mut()
}
