//! `golib.net` on Windows: nothing yet.

use std::ffi::CStr;

use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::refs::{New, Outcome};

/// No functions.
pub(crate) static FUNCTIONS: Methods<Module, 1> = Methods([Method::END]);

/// No types.
pub(crate) fn init(_gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 0]> {
    Ok([])
}
