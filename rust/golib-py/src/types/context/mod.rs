//! `golib.context`: what Python sees of it. What a cancellation is stands in `core/context`.
//!
//! | file | holds |
//! |---|---|
//! | [`class`] | the class `Context` |
//! | [`blocks`] | `timeout` and `shield` |
//! | [`functions`] | the module's functions, and the callables that they return |
//!
//! Go: context/context.go

pub(crate) mod blocks;
mod class;
pub(crate) mod functions;

use crate::ffi::obj::Raw;

/// Makes the types and the roots; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once, after `chan::init`.
pub(crate) unsafe fn init() -> Option<Vec<(&'static std::ffi::CStr, Raw)>> {
    // SAFETY: the caller's duty.
    unsafe {
        let class = class::init();
        if class.is_null() {
            return None;
        }
        let mut all = vec![(c"Context", class)];
        all.extend(blocks::init()?);
        all.extend(functions::init()?);
        Some(all)
    }
}
