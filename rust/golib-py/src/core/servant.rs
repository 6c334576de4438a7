//! The goroutine that acts on alarms: see `bridge::alarm`.

use std::ptr;

use go_lib::runtime::embedder::GRef;
use pyo3::ffi;

use super::goroutine::{start_goroutine, GoroutineObj, Spec};
use crate::bridge::alarm;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Global;
use crate::ffi::python::attribute;
use crate::ffi::refs::{New, Outcome, Ref};

/// `_golib._serve_alarms`, the servant's function.
static SERVE: Global = Global::new();

/// Tells the alarms how to make one. `module` is ours, complete.
pub(crate) fn init(gil: Gil<'_>, module: Ref<'_>) -> Outcome<()> {
    SERVE.set(attribute(gil, module, c"_serve_alarms")?.give());
    alarm::set_maker(gil, make);
    Ok(())
}

/// A goroutine of ours that is neither counted nor shown.
fn make(gil: Gil<'_>) -> Outcome<GRef> {
    // SAFETY: the function was found at import; a new tuple, which is taken over.
    let handle = unsafe {
        let args = ffi::PyTuple_New(0);
        // Without the context variables of whoever happened to be the first: they would be kept for good.
        let vars = Some(ptr::null_mut());
        New::made(start_goroutine(Spec { system: true, vars, ..Spec::new(SERVE.get(), args) }))?
    };
    // SAFETY: a handle.
    let servant = unsafe { GoroutineObj::gref(handle.get().as_raw()) };
    handle.release(gil);
    Ok(servant)
}
