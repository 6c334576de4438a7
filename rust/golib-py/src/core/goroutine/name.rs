//! The name of a goroutine that was given none.

use pyo3::ffi;

use std::ptr;

use crate::cpython::object;
use crate::ffi::obj::{Name, Raw};

static QUALNAME: Name = Name::new(c"__qualname__");
static NAME: Name = Name::new(c"__name__");

/// The name of a goroutine that runs `function`; null (no exception) if it has none.
pub(super) unsafe fn name_of(function: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let name = object::qualname(function);
        if !name.is_null() {
            return short_name(name);
        }
        for attribute in [&QUALNAME, &NAME] {
            let name = attribute.of(function);
            if !name.is_null() && ffi::PyUnicode_Check(name) != 0 {
                return name;
            }
            ffi::Py_XDECREF(name);
            ffi::PyErr_Clear();
        }
        let class: Raw = ffi::Py_TYPE(function).cast();
        let name = NAME.of(class);
        if name.is_null() {
            ffi::PyErr_Clear();
        }
        name
    }
}

/// What follows the last `<locals>.` of a qualified name, whose reference is taken over.
unsafe fn short_name(name: Raw) -> Raw {
    // SAFETY: a str; the GIL is held.
    unsafe {
        let mark = ffi::PyUnicode_FromString(c"<locals>.".as_ptr());
        if mark.is_null() {
            ffi::PyErr_Clear();
            return name;
        }
        let end = ffi::PyUnicode_GET_LENGTH(name);
        let at = ffi::PyUnicode_Find(name, mark, 0, end, -1);
        let short = if at < 0 {
            ptr::null_mut()
        } else {
            ffi::PyUnicode_Substring(name, at + ffi::PyUnicode_GET_LENGTH(mark), end)
        };
        ffi::Py_DECREF(mark);
        if short.is_null() {
            ffi::PyErr_Clear();
            return name;
        }
        ffi::Py_DECREF(name);
        short
    }
}
