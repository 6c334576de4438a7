//! Owned references to Python objects, without PyO3's bookkeeping.
//!
//! PyO3's `Py<T>` counts attachments per OS thread; a parked goroutine may resume on another one. So values in
//! channels are [`Obj`]s, whose drop is a plain `Py_DECREF`.
//!
//! # Invariants
//! 1. An [`Obj`] is dropped, and a [`Global`] written, with the GIL held.
//! 2. No [`Obj`] is dropped under a lock of the runtime: a finalizer may do anything.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};

/// A Python object as C sees it.
pub(crate) type Raw = *mut PyObject;

/// An owned reference.
#[repr(transparent)]
pub(crate) struct Obj(NonNull<PyObject>);

// SAFETY: an owned reference may pass from one holder of the GIL to the next.
unsafe impl Send for Obj {}

impl Obj {
    /// Takes over the caller's reference.
    ///
    /// # Safety
    /// `raw` is an owned reference, not null.
    #[inline]
    pub(crate) unsafe fn owned(raw: Raw) -> Obj {
        // SAFETY: not null.
        Obj(unsafe { NonNull::new_unchecked(raw) })
    }

    /// The pointer, borrowed.
    #[inline]
    pub(crate) fn as_raw(&self) -> Raw {
        self.0.as_ptr()
    }

    /// Gives the reference to the caller.
    #[inline]
    pub(crate) fn into_raw(self) -> Raw {
        let raw = self.0.as_ptr();
        std::mem::forget(self);
        raw
    }
}

impl Drop for Obj {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: by 1.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

/// A reference that lives as long as the process: a type, a function of the Python layer.
pub(crate) struct Global(AtomicPtr<PyObject>);

impl Global {
    /// Not yet set.
    pub(crate) const fn new() -> Global {
        Global(AtomicPtr::new(ptr::null_mut()))
    }

    /// The object, borrowed; null if it was not set.
    #[inline]
    pub(crate) fn get(&self) -> Raw {
        // Relaxed: written under the GIL, read under the GIL.
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it; the reference is taken over.
    pub(crate) fn set(&self, object: Raw) {
        self.0.store(object, Ordering::Relaxed);
    }
}

/// The name of an attribute, made once. CPython's method cache keeps each name it was asked for by its address, so a
/// `str` made for every look-up would fill it.
pub(crate) struct Name {
    text: &'static CStr,
    object: Global,
}

impl Name {
    /// The name `text`.
    pub(crate) const fn new(text: &'static CStr) -> Name {
        Name { text, object: Global::new() }
    }

    /// `object.<name>`: a new reference, or null with an exception set.
    ///
    /// # Safety
    /// The GIL is held.
    pub(crate) unsafe fn of(&self, object: Raw) -> Raw {
        // SAFETY: the GIL is held.
        unsafe {
            if self.object.get().is_null() {
                self.object.set(ffi::PyUnicode_InternFromString(self.text.as_ptr()));
            }
            if self.object.get().is_null() {
                return ptr::null_mut();
            }
            ffi::PyObject_GetAttr(object, self.object.get())
        }
    }
}

/// Sets `slot` to null and drops what was in it.
///
/// # Safety
/// `slot` is null or an owned reference; the GIL is held.
pub(crate) unsafe fn clear(slot: *mut Raw) {
    // SAFETY: the slot's reference is ours; the slot is empty before the drop runs anything.
    unsafe {
        let old = ptr::replace(slot, ptr::null_mut());
        ffi::Py_XDECREF(old);
    }
}
