//! The functions of CPython's C API that this crate calls, with tokens and references instead of pointers.
//!
//! Each is one call and its conversion. A function says if it runs Python code; all others do not.

use std::ffi::{c_int, c_long, CStr};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t};

use crate::cpython::error;
use crate::ffi::gil::Gil;
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// Exceptions and other objects of CPython's that live as long as the process.
macro_rules! builtins {
    ($($name:ident = $object:ident;)*) => {
        $(#[inline]
        pub(crate) fn $name() -> Ref<'static> {
            // SAFETY: set before any extension is imported, and alive forever.
            unsafe { Ref::borrowed(ffi::$object) }
        })*
    };
}

builtins! {
    type_error = PyExc_TypeError;
    value_error = PyExc_ValueError;
    runtime_error = PyExc_RuntimeError;
    index_error = PyExc_IndexError;
    memory_error = PyExc_MemoryError;
    overflow_error = PyExc_OverflowError;
    system_error = PyExc_SystemError;
    system_exit = PyExc_SystemExit;
    os_error = PyExc_OSError;
    eof_error = PyExc_EOFError;
    warning = PyExc_Warning;
    timeout_error = PyExc_TimeoutError;
}

/// Python's None, borrowed.
#[inline(always)]
pub(crate) fn none_ref<'a>() -> Ref<'a> {
    // SAFETY: None lives forever.
    unsafe { Ref::borrowed(ffi::Py_None()) }
}

/// A reference to None.
#[inline(always)]
pub(crate) fn none(gil: Gil<'_>) -> New {
    none_ref().own(gil)
}

/// A reference to NotImplemented.
pub(crate) fn not_implemented(gil: Gil<'_>) -> New {
    // SAFETY: NotImplemented lives forever.
    unsafe { Ref::borrowed(ffi::Py_NotImplemented()) }.own(gil)
}

/// A reference to True or False.
#[inline(always)]
pub(crate) fn boolean(gil: Gil<'_>, value: bool) -> New {
    // SAFETY: both live forever.
    unsafe { Ref::borrowed(if value { ffi::Py_True() } else { ffi::Py_False() }) }.own(gil)
}

/// `str` from Rust's text.
pub(crate) fn unicode(_gil: Gil<'_>, text: &str) -> Outcome<New> {
    // SAFETY: the text is UTF-8 of that length.
    unsafe {
        New::made(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t))
    }
}

/// The `str` that stands for this text in CPython's table.
pub(crate) fn interned(_gil: Gil<'_>, text: &CStr) -> Outcome<New> {
    // SAFETY: a C string.
    unsafe { New::made(ffi::PyUnicode_InternFromString(text.as_ptr())) }
}

/// `int`.
#[inline]
pub(crate) fn int(_gil: Gil<'_>, value: i64) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyLong_FromLongLong(value)) }
}

/// `int`.
pub(crate) fn unsigned(_gil: Gil<'_>, value: u64) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyLong_FromUnsignedLongLong(value)) }
}

/// `int`.
#[inline]
pub(crate) fn size(_gil: Gil<'_>, value: usize) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyLong_FromSize_t(value)) }
}

/// `float`.
#[inline]
pub(crate) fn float(_gil: Gil<'_>, value: f64) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyFloat_FromDouble(value)) }
}

/// The value of a `float`, or of what converts to one. Runs Python code.
pub(crate) fn as_double(gil: Gil<'_>, number: Ref<'_>) -> Outcome<f64> {
    // SAFETY: alive.
    let value = unsafe { ffi::PyFloat_AsDouble(number.as_raw()) };
    if value == -1.0 {
        check(gil)?;
    }
    Ok(value)
}

/// The value of an `int` that fits. Runs Python code.
pub(crate) fn as_long(gil: Gil<'_>, number: Ref<'_>) -> Outcome<c_long> {
    // SAFETY: alive.
    let value = unsafe { ffi::PyLong_AsLong(number.as_raw()) };
    if value == -1 {
        check(gil)?;
    }
    Ok(value)
}

/// The value of a non-negative `int` that fits.
pub(crate) fn as_unsigned(gil: Gil<'_>, number: Ref<'_>) -> Outcome<u64> {
    // SAFETY: alive.
    let value = unsafe { ffi::PyLong_AsUnsignedLongLong(number.as_raw()) };
    if value == u64::MAX {
        check(gil)?;
    }
    Ok(value)
}

/// The value of what has `__index__`, clamped to the ends of `i64`. Runs Python code.
pub(crate) fn as_index(gil: Gil<'_>, number: Ref<'_>) -> Outcome<i64> {
    // SAFETY: alive, and the index is ours.
    unsafe {
        let index = New::made(ffi::PyNumber_Index(number.as_raw()))?;
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongLongAndOverflow(index.get().as_raw(), &mut overflow);
        index.release(gil);
        match overflow {
            0 if value == -1 => check(gil).map(|()| value),
            0 => Ok(value),
            o if o < 0 => Ok(i64::MIN),
            _ => Ok(i64::MAX),
        }
    }
}

/// `bool(object)`. Runs Python code.
#[inline]
pub(crate) fn truth(_gil: Gil<'_>, object: Ref<'_>) -> Outcome<bool> {
    // SAFETY: alive.
    status_of(unsafe { ffi::PyObject_IsTrue(object.as_raw()) })
}

/// `a == b`. Runs Python code.
pub(crate) fn equals(_gil: Gil<'_>, a: Ref<'_>, b: Ref<'_>) -> Outcome<bool> {
    // SAFETY: both are alive.
    status_of(unsafe { ffi::PyObject_RichCompareBool(a.as_raw(), b.as_raw(), ffi::Py_EQ) })
}

/// The result of a function that returns 1, 0, or -1 with an exception.
#[inline]
pub(super) fn status_of(status: c_int) -> Outcome<bool> {
    if status < 0 {
        // SAFETY: that is what the C API means by it.
        return Err(unsafe { Raised::assume() });
    }
    Ok(status != 0)
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $check:ident;)*) => {
        $($(#[$doc])*
        #[inline]
        pub(crate) fn $name(_gil: Gil<'_>, object: Ref<'_>) -> bool {
            // SAFETY: alive.
            unsafe { ffi::$check(object.as_raw()) != 0 }
        })*
    };
}

kinds! {
    is_callable = PyCallable_Check;
    is_int = PyLong_Check;
    is_str = PyUnicode_Check;
    /// An instance of BaseException.
    is_exception = PyExceptionInstance_Check;
}

/// The name of an object's class, for messages.
pub(crate) fn class_name(_gil: Gil<'_>, object: Ref<'_>) -> String {
    // SAFETY: alive; a class has a name that lives as long as it.
    unsafe { CStr::from_ptr((*ffi::Py_TYPE(object.as_raw())).tp_name) }
        .to_string_lossy()
        .into_owned()
}

/// `repr(object)` as text. Runs Python code.
pub(crate) fn repr_of(gil: Gil<'_>, object: Ref<'_>) -> Outcome<String> {
    // SAFETY: alive.
    let text = unsafe { New::made(ffi::PyObject_Repr(object.as_raw())) }?;
    let copy = text_of(gil, text.get());
    text.release(gil);
    Ok(copy)
}

/// The text of a `str`, for messages; "?" for anything else.
pub(crate) fn text_of(gil: Gil<'_>, object: Ref<'_>) -> String {
    let mut len: Py_ssize_t = 0;
    // SAFETY: alive; the buffer belongs to the object.
    unsafe {
        let utf8 = ffi::PyUnicode_AsUTF8AndSize(object.as_raw(), &mut len);
        if utf8.is_null() {
            clear_error(gil);
            return "?".to_owned();
        }
        String::from_utf8_lossy(std::slice::from_raw_parts(utf8.cast(), len as usize)).into_owned()
    }
}

/// The `str` for a path as the system has it.
pub(crate) fn path(_gil: Gil<'_>, path: &[u8]) -> Outcome<New> {
    let (start, n) = (path.as_ptr().cast(), path.len() as Py_ssize_t);
    // SAFETY: so many bytes, which are copied.
    unsafe { New::made(ffi::PyUnicode_DecodeFSDefaultAndSize(start, n)) }
}

/// Imports a module. Runs Python code.
pub(crate) fn import(_gil: Gil<'_>, name: &CStr) -> Outcome<New> {
    // SAFETY: a C string.
    unsafe { New::made(ffi::PyImport_ImportModule(name.as_ptr())) }
}

/// `object.<name>`. Runs Python code.
pub(crate) fn attribute(_gil: Gil<'_>, object: Ref<'_>, name: &CStr) -> Outcome<New> {
    // SAFETY: alive; a C string.
    unsafe { New::made(ffi::PyObject_GetAttrString(object.as_raw(), name.as_ptr())) }
}

/// `object.<name> = value`. Runs Python code.
pub(crate) fn set_attribute(
    _gil: Gil<'_>,
    object: Ref<'_>,
    name: &CStr,
    value: Ref<'_>,
) -> Outcome<()> {
    // SAFETY: both are alive; a C string.
    status_of(unsafe {
        ffi::PyObject_SetAttrString(object.as_raw(), name.as_ptr(), value.as_raw())
    })?;
    Ok(())
}

/// `module.<name>`. Runs Python code.
pub(crate) fn import_from(gil: Gil<'_>, module: &CStr, name: &CStr) -> Outcome<New> {
    let module = import(gil, module)?;
    let found = attribute(gil, module.get(), name);
    module.release(gil);
    found
}

/// `function()`. Runs Python code.
pub(crate) fn call0(_gil: Gil<'_>, function: Ref<'_>) -> Outcome<New> {
    // SAFETY: alive.
    unsafe { New::made(ffi::PyObject_CallNoArgs(function.as_raw())) }
}

/// `function(argument)`. Runs Python code.
pub(crate) fn call1(_gil: Gil<'_>, function: Ref<'_>, argument: Ref<'_>) -> Outcome<New> {
    // SAFETY: both are alive.
    unsafe { New::made(ffi::PyObject_CallOneArg(function.as_raw(), argument.as_raw())) }
}

/// `function(a, b)`. Runs Python code.
pub(crate) fn call2(_gil: Gil<'_>, function: Ref<'_>, a: Ref<'_>, b: Ref<'_>) -> Outcome<New> {
    let arguments = [a.as_raw(), b.as_raw()];
    // SAFETY: all are alive; two positional arguments. CallFunctionObjArgs would first count them: 100 instructions.
    unsafe {
        New::made(ffi::PyObject_Vectorcall(
            function.as_raw(),
            arguments.as_ptr(),
            arguments.len(),
            ptr::null_mut(),
        ))
    }
}

/// Err if an exception is set.
#[inline]
pub(crate) fn check(_gil: Gil<'_>) -> Outcome<()> {
    // SAFETY: the GIL is held; Raised says what was found.
    unsafe {
        if ffi::PyErr_Occurred().is_null() {
            Ok(())
        } else {
            Err(Raised::assume())
        }
    }
}

/// Forgets the exception that is set.
pub(crate) fn clear_error(_gil: Gil<'_>) {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyErr_Clear() };
}

/// The exception that is set is of `class`, or below it.
pub(crate) fn error_is(_gil: Gil<'_>, class: Ref<'_>) -> bool {
    // SAFETY: a class, alive.
    unsafe { ffi::PyErr_ExceptionMatches(class.as_raw()) != 0 }
}

/// The exception `error` is of `class`, or below it.
pub(crate) fn is_error_of(_gil: Gil<'_>, error: Ref<'_>, class: Ref<'_>) -> bool {
    // SAFETY: both are alive.
    unsafe { ffi::PyErr_GivenExceptionMatches(error.as_raw(), class.as_raw()) != 0 }
}

/// Takes the exception that is set, if there is one, as an object with its traceback.
pub(crate) fn take_error(_gil: Gil<'_>) -> Option<New> {
    // SAFETY: the GIL is held; the reference is ours.
    unsafe { New::nullable(error::fetch()) }
}

/// Raises the exception object `error`; its traceback is extended.
pub(crate) fn raise_object(_gil: Gil<'_>, error: New) -> Raised {
    // SAFETY: owned; then it is set.
    unsafe {
        error::restore(error.give());
        Raised::assume()
    }
}

/// Warns that nobody closed `object`. Runs Python code.
pub(crate) fn warn_unclosed(_gil: Gil<'_>, object: Ref<'_>) -> Outcome<()> {
    let object = object.as_raw();
    // SAFETY: alive; the format has one object.
    status_of(unsafe { ffi::PyErr_ResourceWarning(object, 1, c"unclosed %R".as_ptr(), object) })?;
    Ok(())
}

/// The descriptor that a number or an object with a fileno() stands for. Runs Python code.
pub(crate) fn as_descriptor(_gil: Gil<'_>, object: Ref<'_>) -> Outcome<c_int> {
    // SAFETY: alive.
    let fd = unsafe { ffi::PyObject_AsFileDescriptor(object.as_raw()) };
    status_of(fd)?;
    Ok(fd)
}

/// Writes the exception that is set to stderr, as one of `object` that nobody can receive. Runs Python code.
pub(crate) fn write_unraisable(_gil: Gil<'_>, object: Ref<'_>) {
    // SAFETY: alive.
    unsafe { ffi::PyErr_WriteUnraisable(object.as_raw()) };
}
