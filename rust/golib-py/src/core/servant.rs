//! The goroutine that acts on alarms: see `bridge::alarm`.

use go_lib::runtime::embedder::GRef;

use super::goroutine::{start_goroutine, GoroutineObj, Spec, Vars};
use crate::bridge::alarm;
use crate::ffi::containers::tuple_of;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Global;
use crate::ffi::python::attribute;
use crate::ffi::refs::{Outcome, Ref};

/// `_golib._serve_alarms`, the servant's function.
static SERVE: Global = Global::new();

/// Tells the alarms how to make one. `module` is ours, complete.
pub(crate) fn init(gil: Gil<'_>, module: Ref<'_>) -> Outcome<()> {
    SERVE.set(attribute(gil, module, c"_serve_alarms")?.give());
    alarm::set_maker(gil, make);
    Ok(())
}

/// A goroutine of golib's own that is neither counted nor shown.
fn make(gil: Gil<'_>) -> Outcome<GRef> {
    // SAFETY: found at import, and kept.
    let function = unsafe { Ref::borrowed(SERVE.get()) };
    // Without the first caller's context variables, which would otherwise be kept forever.
    let vars = Vars::Given(None);
    let spec = Spec { system: true, vars, ..Spec::new(function, tuple_of(gil, &[])?) };
    let handle = start_goroutine(gil, spec)?;
    // SAFETY: a handle.
    let servant = unsafe { GoroutineObj::gref(handle.get().as_raw()) };
    handle.release(gil);
    Ok(servant)
}
