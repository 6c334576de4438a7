//! A forked child of a goroutine's: the process ends with that goroutine.

use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};

use super::handle::Goroutine;
use super::python::END_OF_CHILD;
use crate::ffi::class::{this, Object};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python::{call1, none};
use crate::ffi::refs::Ref;

/// In a forked child: the goroutine that forked. The process ends with it.
static CHILD_ROOT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// In a forked child: the process ends with `slf`, the goroutine that forked (null: an ordinary fork). It is the child's
/// main thread, so it does itself what only the main thread may do.
///
/// # Safety
/// `slf` is null or the handle of the running goroutine.
pub(crate) unsafe fn set_child_root(slf: Raw) {
    CHILD_ROOT.store(slf, Ordering::Relaxed);
    if !slf.is_null() {
        // SAFETY: a handle; only a flag is written, by the only thread.
        unsafe { this::<Goroutine>(slf).is_main.set(Gil::assume().exclusive(), false) };
    }
}

/// In a forked child the process ends with the goroutine that forked. `g` is the running goroutine's handle.
#[inline(always)]
pub(super) fn end_if_forked(gil: Gil<'_>, g: &Object<Goroutine>) {
    if CHILD_ROOT.load(Ordering::Relaxed) == g.object().as_raw() {
        end_of_child(gil, g)
    }
}

/// `other` becomes the running goroutine's handle instead of `slf`.
pub(super) fn inherit_child(slf: Raw, other: Raw) {
    // Relaxed: read and written under the GIL.
    if CHILD_ROOT.load(Ordering::Relaxed) == slf {
        CHILD_ROOT.store(other, Ordering::Relaxed);
    }
}

/// Ends the process as [`end_if_forked`] says.
#[cold]
#[inline(never)]
fn end_of_child(gil: Gil<'_>, g: &Goroutine) -> ! {
    let error = g.error.get(gil).unwrap_or_else(|| none(gil));
    // SAFETY: found before the first goroutine, and kept. It does not return but by an exception.
    unsafe {
        if call1(gil, Ref::borrowed(END_OF_CHILD.get()), error.get()).is_err() {
            ffi::PyErr_Print();
        }
        libc_exit(1)
    }
}

extern "C" {
    #[link_name = "_exit"]
    fn libc_exit(status: c_int) -> !;
}
