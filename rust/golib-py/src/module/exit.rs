//! The step after the last of the program's exit handlers.

use crate::bridge::{alarm, exit};
use crate::core::goroutine;
use crate::cpython;
use crate::ffi::obj::{self, Global, Raw};

use pyo3::ffi;

/// Has [`at_exit`] run as the last of the program's exit handlers, whenever they were registered: they may use golib. False:
/// an exception is set.
///
/// # Safety
/// The GIL is held; the module has its functions.
pub(crate) unsafe fn register_at_exit(module: Raw) -> bool {
    let register = Global::new();
    // SAFETY: the GIL is held.
    unsafe {
        if !register.import(c"atexit", c"register") {
            return false;
        }
        let handler = ffi::PyObject_GetAttrString(module, c"_at_exit".as_ptr());
        let result = if handler.is_null() {
            handler
        } else {
            ffi::PyObject_CallOneArg(register.get(), handler)
        };
        ffi::Py_DECREF(register.get());
        ffi::Py_XDECREF(handler);
        ffi::Py_XDECREF(result);
        !result.is_null() && cpython::call_last_at_exit() == 0
    }
}

/// `_golib._at_exit()`: the atexit handler.
pub(crate) unsafe extern "C" fn at_exit(_: Raw, _: Raw) -> Raw {
    // SAFETY: called by atexit on the thread that ends the interpreter.
    unsafe {
        if !exit::has_begun() {
            goroutine::report_unread();
            exit::stop();
            alarm::at_exit();
            // What failed until all had stopped.
            goroutine::report_unread();
        }
        obj::none()
    }
}

/// `_golib._report_unread()`: reports exceptions that nobody has read.
pub(crate) unsafe extern "C" fn report_unread(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        goroutine::report_unread();
        obj::none()
    }
}
