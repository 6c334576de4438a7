//! Access to CPython's private layouts for the extension's Python types (`cpython/object.c`).

use std::os::raw::c_int;

use pyo3::ffi::PyObject;

extern "C" {
    fn golib_trashcan(
        op: *mut PyObject,
        dealloc: unsafe extern "C-unwind" fn(*mut PyObject),
        body: unsafe extern "C-unwind" fn(*mut PyObject),
    );
    fn golib_origin(skip: c_int, lasti: *mut c_int) -> *mut PyObject;
    fn golib_is_async(function: *mut PyObject) -> c_int;
    fn golib_qualname(function: *mut PyObject) -> *mut PyObject;
    fn golib_module_of(function: *mut PyObject) -> *mut PyObject;
    fn golib_signal_tripped() -> c_int;
}

/// A signal came whose Python handler has not run yet. Callable without the GIL.
pub fn signal_tripped() -> bool {
    // SAFETY: reads one atomic word of the runtime.
    unsafe { golib_signal_tripped() != 0 }
}

/// A tuple whose memory may have been another one's: from 3.14 on it keeps its hash.
///
/// # Safety
/// A tuple of the caller's alone.
#[inline(always)]
pub unsafe fn forget_hash(tuple: *mut PyObject) {
    // SAFETY: nobody else has the tuple. -1: not computed yet.
    #[cfg(Py_3_14)]
    unsafe {
        (*tuple.cast::<pyo3::ffi::PyTupleObject>()).ob_hash = -1;
    }
    let _ = tuple;
}

/// Runs `body(op)`, or puts it off when deallocations are nested too deep.
///
/// # Safety
/// `op` is being deallocated by `dealloc`, its type's `tp_dealloc`, and is not tracked by the collector any more.
pub unsafe fn trashcan(
    op: *mut PyObject,
    dealloc: unsafe extern "C-unwind" fn(*mut PyObject),
    body: unsafe extern "C-unwind" fn(*mut PyObject),
) {
    // SAFETY: `op` is being deallocated, and the collector does not know it.
    unsafe { golib_trashcan(op, dealloc, body) }
}

/// The code object that runs `skip` Python frames below the newest (a new reference, or null), and the offset of its
/// current instruction, as `PyCode_Addr2Line` takes it.
///
/// # Safety
/// The GIL is held.
#[inline]
pub unsafe fn origin(skip: c_int) -> (*mut PyObject, c_int) {
    let mut lasti = 0;
    // SAFETY: the GIL is held; the slot is ours.
    let code = unsafe { golib_origin(skip, &mut lasti) };
    (code, lasti)
}

/// True for a function or method made by `async def`.
///
/// # Safety
/// The GIL is held; `function` is alive.
#[inline]
pub unsafe fn is_async(function: *mut PyObject) -> bool {
    // SAFETY: `function` is alive, and only looked at.
    unsafe { golib_is_async(function) != 0 }
}

/// The qualified name of a Python function or method (a new reference); null, without an exception, for others.
///
/// # Safety
/// The GIL is held; `function` is alive.
pub unsafe fn qualname(function: *mut PyObject) -> *mut PyObject {
    // SAFETY: `function` is alive; its name gets a reference.
    unsafe { golib_qualname(function) }
}

/// The name of the module of a Python function, of a method or of a partial of either (a new reference); null, without an
/// exception, for others.
///
/// # Safety
/// The GIL is held; `function` is alive.
pub unsafe fn module_of(function: *mut PyObject) -> *mut PyObject {
    // SAFETY: `function` is alive; the module's name gets a reference.
    unsafe { golib_module_of(function) }
}

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: pyo3::ffi::Py_ssize_t) -> c_int;
}

/// Shortens a new `bytes` to its first `n` bytes; null, with an exception set, if that fails.
///
/// # Safety
/// The GIL is held; nobody else has the object.
pub unsafe fn shrink_bytes(bytes: &mut *mut PyObject, n: usize) {
    // SAFETY: nobody else has the object, as the caller says.
    unsafe { _PyBytes_Resize(bytes, n as pyo3::ffi::Py_ssize_t) };
}
