//! Windows has no fork: nothing is called, and the Python part's hooks are forgotten.

use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Module};
use crate::ffi::python::none;
use crate::ffi::refs::{New, Outcome, Ref};

/// See `cpython::runtime::RuntimeTable`.
pub(super) const BEFORE: Option<unsafe extern "C" fn()> = None;
pub(super) const CHILD: Option<unsafe extern "C" fn()> = None;

/// `_golib._after_fork()`.
fn after_fork(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(none(gil))
}

/// `_golib._hook_child(hook)`.
fn hook_child(gil: Gil<'_>, _: &Object<Module>, _hook: Ref<'_>) -> Outcome<New> {
    Ok(none(gil))
}

/// The function `_after_fork`.
pub(super) const AFTER_FORK: Method<Module> =
    Method::noargs(c"_after_fork", after_fork, c"For the Python part of golib.");

/// The function `_hook_child`.
pub(super) const HOOK_CHILD: Method<Module> =
    Method::one(c"_hook_child", hook_child, c"For the Python part of golib.");
