//! The name of a goroutine that got none at its start.

use pyo3::ffi;

use crate::cpython::object;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Name;
use crate::ffi::python::{clear_error, is_str};
use crate::ffi::refs::{New, Ref};

static QUALNAME: Name = Name::new(c"__qualname__");
static NAME: Name = Name::new(c"__name__");

/// The name of a goroutine that runs `function`, if it has one. Runs Python code.
pub(super) fn name_of(gil: Gil<'_>, function: Ref<'_>) -> Option<New> {
    // SAFETY: alive; a new reference, or null.
    if let Some(name) = unsafe { New::nullable(object::qualname(function.as_raw())) } {
        return Some(short_name(gil, name));
    }
    for attribute in [&QUALNAME, &NAME] {
        match attribute_of(gil, attribute, function) {
            Some(name) if is_str(gil, name.get()) => return Some(name),
            Some(other) => other.release(gil),
            None => {}
        }
    }
    attribute_of(gil, &NAME, function.class(gil))
}

/// `object.<name>`, if it has that.
fn attribute_of(gil: Gil<'_>, name: &Name, object: Ref<'_>) -> Option<New> {
    // SAFETY: alive; a new reference, or null with an exception set.
    let found = unsafe { New::nullable(name.of(object.as_raw())) };
    if found.is_none() {
        clear_error(gil);
    }
    found
}

/// The part of a qualified name, a str, after its last `<locals>.`.
fn short_name(gil: Gil<'_>, name: New) -> New {
    let whole = name.get().as_raw();
    // SAFETY: two strs; the result is a new reference, or null with an exception set.
    let short = unsafe {
        let Some(mark) = New::nullable(ffi::PyUnicode_FromString(c"<locals>.".as_ptr())) else {
            clear_error(gil);
            return name;
        };
        let end = ffi::PyUnicode_GET_LENGTH(whole);
        let at = ffi::PyUnicode_Find(whole, mark.get().as_raw(), 0, end, -1);
        let after = at + ffi::PyUnicode_GET_LENGTH(mark.get().as_raw());
        mark.release(gil);
        if at < 0 {
            None
        } else {
            New::nullable(ffi::PyUnicode_Substring(whole, after, end))
        }
    };
    match short {
        Some(short) => {
            name.release(gil);
            short
        }
        None => {
            clear_error(gil);
            name
        }
    }
}
