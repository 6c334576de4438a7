//! Calls into the runtime: those that may park, from an entry's frame, and those that do not.
//!
//! The tokens, and the invariants that count on where calls are made, are explained in [`gil`](super::gil).

use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};

use go_lib::runtime::embedder;

use crate::cpython::Caller;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::refs::Outcome;

/// Where the movability test begins its walk over the native frames; see [`Entry::wait`].
pub(crate) type Record = *const Caller;

/// The frame of an operation that may park.
pub(crate) struct Entry {
    record: Record,
    _here: PhantomData<*mut ()>,
}

impl Entry {
    /// Of an entry that CPython has just called.
    ///
    /// # Safety
    /// A thread state is attached to this OS thread; `record` is what the entry pushed, and its frame outlives this.
    #[inline(always)]
    pub(crate) unsafe fn new(record: Record) -> Entry {
        Entry { record, _here: PhantomData }
    }

    /// Of a function that C calls by no entry: a goroutine that waits keeps its M, since a frame of C is below it.
    ///
    /// # Safety
    /// A thread state is attached to this OS thread.
    pub(crate) unsafe fn of_c() -> Entry {
        Entry { record: std::ptr::null(), _here: PhantomData }
    }

    /// The token, until the next wait.
    #[inline(always)]
    pub(crate) fn gil(&self) -> Gil<'_> {
        // SAFETY: what `new` was promised holds until a wait, for which this borrow must have ended.
        unsafe { Gil::assume() }
    }

    /// Calls into the runtime, which may park: afterwards this may be another OS thread, and Python code has run meanwhile. A
    /// panic there becomes a `SystemError`.
    ///
    /// The record must be left right before each wait. A park consumes it, and Python code that ran since the entry (a
    /// `__float__`, a signal handler) may have left another, or have moved the goroutine to an M where another goroutine's
    /// lies.
    #[inline(always)]
    pub(crate) fn wait<R>(&mut self, call: impl FnOnce() -> R) -> Outcome<R> {
        embedder::set_caller(self.record.cast());
        guard(self.gil(), call)
    }
}

/// Calls into the runtime, which does not park; a panic there becomes a `SystemError`.
#[inline(always)]
pub(crate) fn guard<R>(gil: Gil<'_>, call: impl FnOnce() -> R) -> Outcome<R> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| errors::internal(gil, payload))
}
