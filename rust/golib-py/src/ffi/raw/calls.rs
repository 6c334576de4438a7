//! Calls into the runtime from C functions that have no [`Entry`](crate::ffi::gil::Entry): the frame record comes with the call.
//!
//! # Invariants
//! 1. A caller that can park holds nothing thread-bound across the park.
//! 2. [`guard`] encloses calls into the runtime only, never Python code: at exit CPython may end a thread by unwinding
//!    it, which a `catch_unwind` would turn into an abort.

use std::panic::{catch_unwind, AssertUnwindSafe};

use go_lib::runtime::embedder;

use crate::cpython::Caller;
use crate::ffi::errors;

/// The frame record of an entry that can park; see [`guard_wait`].
pub(crate) type Record = *const Caller;

/// As [`guard`], for what may wait: leaves the `record` where the movability test finds it. It must be left right before each
/// wait. A park consumes it, and Python code that ran since the entry (a `__float__`, a signal handler) may have left
/// another, or have moved the goroutine to an M where another goroutine's lies.
#[inline(always)]
pub(crate) fn guard_wait<R>(record: Record, call: impl FnOnce() -> R) -> Option<R> {
    embedder::set_caller(record.cast());
    guard(call)
}

/// Calls into the runtime; a panic there becomes a `SystemError`.
#[inline(always)]
pub(crate) fn guard<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // SAFETY: bodies run with the GIL held, even after a panic inside the runtime.
            unsafe { errors::panicked(payload) };
            None
        }
    }
}
