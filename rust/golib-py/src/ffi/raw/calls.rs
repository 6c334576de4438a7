//! Operations that can park, and calls into the runtime.
//!
//! Every operation that can park is made by [`parking!`]: a raw entry that hands its frame record on, and a body that leaves
//! it where the runtime's movability test finds it, before each wait ([`guard_wait`]).
//!
//! # Invariants
//! 1. A body that can park holds nothing thread-bound across the park.
//! 2. [`guard`] encloses calls into the runtime only, never Python code: at exit CPython may end a thread by unwinding
//!    it, which a `catch_unwind` would turn into an abort. For the same reason functions here are `extern "C-unwind"`
//!    and own nothing that needs dropping while Python code runs above them.

use std::panic::{catch_unwind, AssertUnwindSafe};

use go_lib::runtime::embedder;

use crate::cpython::Caller;
use crate::ffi::errors;

/// The frame record of an entry that can park; see [`guard_wait`].
pub(crate) type Record = *const Caller;

/// Defines an operation that can park: `parking!(entry => target(slf, args, n, kwnames; record) { … })`. The arguments that
/// are named select the kind of entry; `record` goes to [`guard_wait`].
macro_rules! parking {
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident; $caller:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(iternext) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $arg:ident; $caller:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(o) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $arg: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $args:ident, $n:ident; $caller:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(fastcall) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $args: *mut crate::ffi::obj::Raw,
            $n: pyo3::ffi::Py_ssize_t,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $args:ident, $n:ident, $kw:ident; $caller:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(keywords) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $args: *const crate::ffi::obj::Raw,
            $n: pyo3::ffi::Py_ssize_t,
            $kw: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
}
pub(crate) use parking;

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
