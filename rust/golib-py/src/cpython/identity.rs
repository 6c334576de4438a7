//! State that CPython keys by OS thread, made to follow the goroutine (`cpython/identity.c`).

use std::os::raw::c_int;

use super::ffi;
use super::runtime::RuntimeTable;

/// Gives the patches the functions to ask. Before [`install`].
///
/// # Safety
/// The GIL is held.
pub unsafe fn set_runtime(table: &'static RuntimeTable) {
    // SAFETY: the table lives forever; the GIL serialises this with its readers.
    unsafe { ffi::golib_set_runtime(table) }
}

/// Installs the patches; on the first `go()`. Repeating it costs nothing.
///
/// # Errors
/// -1: a Python exception is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn install() -> c_int {
    // SAFETY: writes the builtins of modules, for which the GIL suffices.
    unsafe { ffi::golib_identity_install() }
}

/// Has `hook` called in every forked child, before what the program registered. -1: a Python exception is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn hook_child(hook: *mut pyo3::ffi::PyObject) -> c_int {
    // SAFETY: registers a callable, for which the GIL suffices.
    unsafe { ffi::golib_fork_hook_child(hook) }
}
