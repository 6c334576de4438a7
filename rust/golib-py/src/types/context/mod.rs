//! `golib.context` as Python sees it. Cancellation itself is in `core/context`.
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

use std::ffi::CStr;

use crate::ffi::gil::Gil;
use crate::ffi::refs::{New, Outcome};

/// Makes the types and the roots. Called once, after `chan::init`.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<Vec<(&'static CStr, New)>> {
    let mut all = vec![(c"Context", class::init(gil)?)];
    all.extend(blocks::init(gil)?);
    all.extend(functions::init(gil)?);
    Ok(all)
}
