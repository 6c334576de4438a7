//! Exceptions that ended goroutines and that nobody has read. Each is reported when its handle dies, or at exit.
//!
//! # Invariants
//! 1. `UNREAD` has every handle that is `unread`, by the goroutine's number, borrowed: a handle is taken out before it dies.
//!    It is used with the GIL held, and no Python code runs while it is locked.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::handle::{Goroutine, GoroutineObj};
use super::python::UNCAUGHT;
use crate::ffi::class::{this, Object};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python::{call2, none, raise_object, take_error, write_unraisable};
use crate::ffi::refs::{New, Outcome, Ref};

struct Handle(Raw);
// SAFETY: by 1 used with the GIL held.
unsafe impl Send for Handle {}

/// By 1.
static UNREAD: Mutex<BTreeMap<u64, Handle>> = Mutex::new(BTreeMap::new());

fn unread() -> std::sync::MutexGuard<'static, BTreeMap<u64, Handle>> {
    UNREAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many reports are being made, with the GIL held; below 0 in a child that was forked inside one.
static REPORTS: AtomicIsize = AtomicIsize::new(0);

/// An exception has ended the goroutine: to be read, or reported when the handle dies, or at exit.
#[cold]
#[inline(never)]
pub(super) fn remember(gil: Gil<'_>, g: &Object<Goroutine>) {
    g.unread.set(gil.exclusive(), true);
    unread().insert(g.g().goid(), Handle(g.object().as_raw()));
}

/// An exception has ended the goroutine of this handle, and nobody has read it.
///
/// # Safety
/// `handle` is one.
pub(crate) unsafe fn is_unread(gil: Gil<'_>, handle: Ref<'_>) -> bool {
    // SAFETY: as the caller says.
    unsafe { this::<Goroutine>(handle.as_raw()).unread.get(gil.exclusive()) }
}

/// The exception that ended the goroutine needs no report any more. True: it did.
#[inline]
pub(super) fn is_read(gil: Gil<'_>, g: &Goroutine) -> bool {
    let was_unread = g.unread.get(gil.exclusive());
    if was_unread {
        forget(gil, g);
    }
    was_unread
}

#[cold]
#[inline(never)]
fn forget(gil: Gil<'_>, g: &Goroutine) {
    g.unread.set(gil.exclusive(), false);
    unread().remove(&g.g().goid());
}

/// Reports what ended the goroutine, which has failed. No exception is set. Runs Python code.
fn report(gil: Gil<'_>, g: &Object<Goroutine>) {
    let error = g.error.get(gil).unwrap_or_else(|| none(gil));
    // SAFETY: found before the first goroutine, and kept.
    let uncaught = unsafe { Ref::borrowed(UNCAUGHT.get()) };
    REPORTS.fetch_add(1, Ordering::Relaxed);
    match call2(gil, uncaught, g.object(), error.get()) {
        Ok(nothing) => nothing.release(gil),
        Err(_) => write_unraisable(gil, g.object()),
    }
    REPORTS.fetch_sub(1, Ordering::Relaxed);
    error.release(gil);
}

/// How many reports others are making at this moment, which the end of the process would cut off.
pub(crate) fn reports_in_progress(_gil: Gil<'_>) -> u64 {
    REPORTS.load(Ordering::Relaxed).max(0) as u64
}

/// Reports an exception that nobody has read and nobody can read any more. Runs Python code, which may keep the handle.
pub(super) fn finalize(gil: Gil<'_>, g: &Object<Goroutine>) {
    if is_read(gil, g) {
        let error = take_error(gil);
        report(gil, g);
        if let Some(error) = error {
            let _ = raise_object(gil, error);
        }
    }
}

/// The value that the goroutine, which has ended, returned; or its exception, which counts as read.
pub(super) fn outcome_of(gil: Gil<'_>, g: &Goroutine) -> Outcome<New> {
    is_read(gil, g);
    match g.error.get(gil) {
        Some(error) => Err(raise_object(gil, error)),
        // Empty only after the collector has cleared it.
        None => Ok(g.result.get(gil).unwrap_or_else(|| none(gil))),
    }
}

impl GoroutineObj {
    /// Its result, or null with its exception set, which then counts as read.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended.
    pub(crate) unsafe fn outcome(slf: Raw) -> Raw {
        // SAFETY: a handle, with the GIL.
        let outcome = unsafe { outcome_of(Gil::assume(), this::<Goroutine>(slf)) };
        outcome.map_or(ptr::null_mut(), New::give)
    }

    /// The exception that ended it is passed on elsewhere, so it is not reported. Borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended, or is about to.
    pub(crate) unsafe fn read_error(slf: Raw) -> Raw {
        // SAFETY: a handle, with the GIL.
        unsafe { is_read(Gil::assume(), this::<Goroutine>(slf)) };
        // SAFETY: a handle, which keeps its error.
        unsafe { GoroutineObj::error(slf) }
    }
}

/// At exit: reports the exceptions that nobody has read so far, in the order in which the goroutines were made. No exception is set.
pub(crate) fn report_unread(gil: Gil<'_>) {
    // A goroutine that fails meanwhile has a higher number and is left for the next time: a panic handler may start
    // goroutines.
    let last = unread().keys().next_back().copied();
    while let Some(handle) = unread_up_to(gil, last) {
        // SAFETY: a handle, which is held while it is reported.
        let g = unsafe { this::<Goroutine>(handle.get().as_raw()) };
        if is_read(gil, g) {
            report(gil, g);
        }
        handle.release(gil);
    }
}

fn unread_up_to(gil: Gil<'_>, last: Option<u64>) -> Option<New> {
    let unread = unread();
    let (number, handle) = unread.first_key_value()?;
    // SAFETY: by 1 the handle is alive.
    (Some(*number) <= last).then(|| unsafe { Ref::borrowed(handle.0) }.own(gil))
}

/// In a forked child: the parent reports them.
///
/// # Safety
/// The only thread; nothing of Python may run.
pub(crate) unsafe fn forget_unread() {
    REPORTS.store(0, Ordering::Relaxed);
    for handle in std::mem::take(&mut *unread()).into_values() {
        // SAFETY: by 1 the handle is alive; only a flag is written, by the only thread.
        unsafe { this::<Goroutine>(handle.0).unread.set(Gil::assume().exclusive(), false) };
    }
}
