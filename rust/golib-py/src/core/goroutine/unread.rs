//! Exceptions that ended goroutines and that nobody has read: whose handle dies is reported then, the others at exit.
//!
//! # Invariants
//! 1. `UNREAD` has every handle that outlived its goroutine and is `unread`, by the goroutine's number, borrowed: a handle
//!    is taken out before it dies. It is used with the GIL held, and no Python code runs while it is locked.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use pyo3::ffi::{self, PyObject};

use super::handle::GoroutineObj;
use super::python::UNCAUGHT;
use crate::ffi::errors;
use crate::ffi::obj::Raw;
use crate::ffi::raw::instance;

struct Handle(*mut GoroutineObj);
// SAFETY: by 1 used with the GIL held.
unsafe impl Send for Handle {}

/// By 1.
static UNREAD: Mutex<BTreeMap<u64, Handle>> = Mutex::new(BTreeMap::new());

fn unread() -> std::sync::MutexGuard<'static, BTreeMap<u64, Handle>> {
    UNREAD.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe fn number(g: *mut GoroutineObj) -> u64 {
    // SAFETY: a handle.
    unsafe { (*g).gref.assume_init().goid() }
}

/// Somebody keeps the handle of a goroutine that has failed.
///
/// # Safety
/// The GIL is held; `g` is such a handle, and `unread`.
#[cold]
#[inline(never)]
pub(super) unsafe fn remember(g: *mut GoroutineObj) {
    // SAFETY: the caller's duty.
    unread().insert(unsafe { number(g) }, Handle(g));
}

/// What ended the goroutine needs no report any more. True: it did.
///
/// # Safety
/// The GIL is held; `g` is a handle.
#[inline]
pub(super) unsafe fn is_read(g: *mut GoroutineObj) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let was_unread = (*g).unread;
        if was_unread {
            forget(g);
        }
        was_unread
    }
}

#[cold]
#[inline(never)]
unsafe fn forget(g: *mut GoroutineObj) {
    // SAFETY: a handle.
    unsafe {
        (*g).unread = false;
        unread().remove(&number(g));
    }
}

/// Reports what ended the goroutine of `slf`.
///
/// # Safety
/// The GIL is held, no exception is set; `slf` is the handle of a goroutine that has failed.
unsafe fn report(slf: Raw) {
    // SAFETY: the caller's duty.
    unsafe {
        let error = (*instance::<GoroutineObj>(slf)).error;
        let end = ptr::null_mut::<PyObject>();
        let result = ffi::PyObject_CallFunctionObjArgs(UNCAUGHT.get(), slf, error, end);
        if result.is_null() {
            ffi::PyErr_WriteUnraisable(slf);
        }
        ffi::Py_XDECREF(result);
    }
}

/// Reports an exception that nobody has read and nobody can read any more.
pub(super) unsafe extern "C-unwind" fn finalize(slf: Raw) {
    // SAFETY: a tp_finalize: the handle may be shown to others, who may keep it.
    unsafe {
        if is_read(instance::<GoroutineObj>(slf)) {
            let error = errors::fetch();
            report(slf);
            if !error.is_null() {
                errors::restore(error);
            }
        }
    }
}

impl GoroutineObj {
    /// What it returned, or null with its exception set, which counts as read.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended.
    pub(crate) unsafe fn outcome(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            is_read(g);
            if (*g).error.is_null() {
                // Null only after the collector has cleared it.
                let result = if (*g).result.is_null() { ffi::Py_None() } else { (*g).result };
                ffi::Py_INCREF(result);
                return result;
            }
            ffi::Py_INCREF((*g).error);
            errors::restore((*g).error);
            ptr::null_mut()
        }
    }

    /// The exception that ended it is told elsewhere: it is not reported. Borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended, or is about to.
    pub(crate) unsafe fn read_error(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            is_read(g);
            (*g).error
        }
    }
}

/// At exit: reports what nobody has read so far, in the order in which the goroutines were made.
///
/// # Safety
/// The GIL is held, no exception is set.
pub(crate) unsafe fn report_unread() {
    // What fails meanwhile has a higher number, and is left for the next time: a panic handler may start goroutines.
    let last = unread().keys().next_back().copied();
    while let Some(handle) = unread_up_to(last) {
        // SAFETY: by 1 the handle is alive; it is held while it is reported.
        unsafe {
            ffi::Py_INCREF(handle);
            if is_read(instance::<GoroutineObj>(handle)) {
                report(handle);
            }
            ffi::Py_DECREF(handle);
        }
    }
}

fn unread_up_to(last: Option<u64>) -> Option<Raw> {
    let unread = unread();
    let (number, handle) = unread.first_key_value()?;
    (Some(*number) <= last).then_some(handle.0.cast())
}

/// In a forked child: the parent reports them.
///
/// # Safety
/// The only thread; nothing of Python may run.
pub(crate) unsafe fn forget_unread() {
    for handle in std::mem::take(&mut *unread()).into_values() {
        // SAFETY: by 1 the handle is alive; only a flag is written.
        unsafe { (*handle.0).unread = false };
    }
}
