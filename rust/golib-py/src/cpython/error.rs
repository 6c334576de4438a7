//! Exceptions as objects: 3.12 has functions for that, before it an exception is three.

use pyo3::ffi::{self, PyObject};

/// The exception that is set, as an object with its traceback; the indicator is clear afterwards. Null if none is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn fetch() -> *mut PyObject {
    // SAFETY: the GIL is held.
    #[cfg(Py_3_12)]
    unsafe {
        ffi::PyErr_GetRaisedException()
    }
    // SAFETY: the GIL is held; the three references are ours.
    #[cfg(not(Py_3_12))]
    unsafe {
        let (mut kind, mut value, mut tb) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut tb);
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut tb);
        if !value.is_null() && !tb.is_null() {
            ffi::PyException_SetTraceback(value, tb);
        }
        ffi::Py_XDECREF(kind);
        ffi::Py_XDECREF(tb);
        value
    }
}

/// Raises the exception object `error`, whose reference is taken over; its traceback is extended.
///
/// # Safety
/// The GIL is held.
pub unsafe fn restore(error: *mut PyObject) {
    // SAFETY: the GIL is held.
    #[cfg(Py_3_12)]
    unsafe {
        ffi::PyErr_SetRaisedException(error);
    }
    // SAFETY: `error` is ours to give; Restore takes three references.
    #[cfg(not(Py_3_12))]
    unsafe {
        let kind: *mut PyObject = ffi::Py_TYPE(error).cast();
        ffi::Py_INCREF(kind);
        ffi::PyErr_Restore(kind, error, ffi::PyException_GetTraceback(error));
    }
}
