//! What the first goroutine sets going. Importing the module starts nothing.
//!
//! The first `go` installs the identity patches, the exit and fork hooks and the SIGQUIT handler (`golib._start`).

use std::sync::atomic::{AtomicBool, Ordering};

use go_lib::runtime::embedder;
use pyo3::ffi;

use super::{exit, main_thread};
use crate::cpython::{self, identity};
use crate::ffi::errors;
use crate::ffi::obj::Global;

static STARTED: AtomicBool = AtomicBool::new(false);

/// A goroutine may start.
#[inline]
pub(crate) fn is_set_up() -> bool {
    // Relaxed: both are written under the GIL.
    STARTED.load(Ordering::Relaxed) && !exit::has_begun()
}

/// Installs the identity patches, the hooks and the handlers; false: an exception is set.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn set_up() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if exit::has_begun() && !main_thread::is_this() {
            exit::sleep_for_good();
        }
        if exit::has_begun() || cpython::finalizing() {
            errors::set(
                ffi::PyExc_RuntimeError,
                "cannot start a goroutine at interpreter shutdown",
            );
            return false;
        }
        if identity::install() < 0 {
            return false;
        }
        // Set first: the Python side may call back.
        STARTED.store(true, Ordering::Relaxed);
        let started = Global::new();
        if !started.import(c"golib._start", c"started") {
            STARTED.store(false, Ordering::Relaxed);
            return false;
        }
        let result = ffi::PyObject_CallNoArgs(started.get());
        ffi::Py_DECREF(started.get());
        if result.is_null() {
            STARTED.store(false, Ordering::Relaxed);
            return false;
        }
        ffi::Py_DECREF(result);
        true
    }
}

/// Raises what a refused goroutine means.
///
/// # Safety
/// The GIL is held.
#[cold]
pub(crate) unsafe fn refused(error: &std::io::Error) {
    // SAFETY: the GIL is held.
    unsafe {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            errors::set(ffi::PyExc_MemoryError, embedder::stack_limit_text());
        } else {
            let why = embedder::thread_limit_text(error.raw_os_error().unwrap_or(0));
            let text = format!(
                "cannot start a thread for a goroutine: {why} (see golib.runtime.set_max_threads)"
            );
            errors::set(ffi::PyExc_RuntimeError, &text);
        }
    }
}
