//! A forked child of a goroutine's: the process ends with that goroutine.

use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};

use super::handle::GoroutineObj;
use super::python::END_OF_CHILD;
use crate::ffi::obj::Raw;
use crate::ffi::raw::instance;

/// In a forked child: the goroutine that forked. The process ends with it.
static CHILD_ROOT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// In a forked child: the process ends with `slf`, the goroutine that forked (null: an ordinary fork). It is the child's
/// main thread: nobody else waits on that to do for it what only the main thread may do.
///
/// # Safety
/// `slf` is null or the handle of the running goroutine.
pub(crate) unsafe fn set_child_root(slf: Raw) {
    CHILD_ROOT.store(slf, Ordering::Relaxed);
    if !slf.is_null() {
        // SAFETY: the caller's duty; only a flag is written.
        unsafe { (*instance::<GoroutineObj>(slf)).is_main = false };
    }
}

/// In a forked child the process ends with the goroutine that forked.
///
/// # Safety
/// `slf` is the running goroutine's handle.
#[inline(always)]
pub(super) unsafe fn end_if_forked(slf: Raw) {
    if CHILD_ROOT.load(Ordering::Relaxed) == slf {
        // SAFETY: the caller's duty.
        unsafe { end_of_child(instance::<GoroutineObj>(slf)) }
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
unsafe fn end_of_child(g: *mut GoroutineObj) {
    // SAFETY: the goroutine's own handle; its state is attached.
    unsafe {
        let error = if (*g).error.is_null() { ffi::Py_None() } else { (*g).error };
        let result = ffi::PyObject_CallOneArg(END_OF_CHILD.get(), error);
        // It does not return but by an exception.
        if result.is_null() {
            ffi::PyErr_Print();
        }
        libc_exit(1)
    }
}

extern "C" {
    #[link_name = "_exit"]
    fn libc_exit(status: c_int) -> !;
}
