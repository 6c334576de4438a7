//! The goroutine that acts on alarms: see `bridge::alarm`.

use std::ptr;

use go_lib::runtime::embedder::GRef;
use pyo3::ffi;

use super::goroutine::{start_goroutine, GoroutineObj, Spec};
use crate::bridge::alarm;
use crate::ffi::obj::{Global, Raw};

/// `_golib._serve_alarms`, the servant's function.
static SERVE: Global = Global::new();

/// Tells the alarms how to make one; false: an exception is set.
///
/// # Safety
/// The GIL is held; `module` is ours, complete.
pub(crate) unsafe fn init(module: Raw) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        SERVE.set(ffi::PyObject_GetAttrString(module, c"_serve_alarms".as_ptr()));
        alarm::set_maker(make);
    }
    !SERVE.get().is_null()
}

/// A goroutine of ours that is neither counted nor shown; None: an exception is set.
unsafe fn make() -> Option<GRef> {
    // SAFETY: the GIL is held.
    unsafe {
        let args = ffi::PyTuple_New(0);
        // Without the context variables of whoever happened to be the first: they would be kept for good.
        let vars = Some(ptr::null_mut());
        let handle = start_goroutine(Spec { system: true, vars, ..Spec::new(SERVE.get(), args) });
        if handle.is_null() {
            return None;
        }
        let servant = GoroutineObj::gref(handle);
        ffi::Py_DECREF(handle);
        Some(servant)
    }
}
