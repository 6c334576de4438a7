//! The meaning of a call's arguments.

use std::ffi::CStr;
use std::ptr;

use go_lib::runtime::embedder::{nanotime, Wait};
use pyo3::ffi::{self, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::obj::Raw;

/// Matches the arguments of a METH_FASTCALL | METH_KEYWORDS call to `names`, of which the first `required` must be
/// given; absent ones are null. None: a TypeError is set.
///
/// # Safety
/// The arguments are those of such a call.
#[inline(always)]
pub(crate) unsafe fn arguments<const N: usize>(
    function: &'static str,
    names: &[&'static CStr; N],
    required: usize,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Option<[Raw; N]> {
    let mut found = [ptr::null_mut(); N];
    let n = n as usize;
    if n > N || n < required || !kwnames.is_null() {
        // SAFETY: the caller's duty.
        return unsafe { arguments_slow(function, names, required, args, n, kwnames, &mut found) }
            .then_some(found);
    }
    // Over all of `found`, not over `n` arguments: that would be a call of memcpy.
    for (i, slot) in found.iter_mut().enumerate() {
        if i < n {
            // SAFETY: i < n.
            *slot = unsafe { *args.add(i) };
        }
    }
    Some(found)
}

#[cold]
#[inline(never)]
unsafe fn arguments_slow(
    function: &'static str,
    names: &[&'static CStr],
    required: usize,
    args: *const Raw,
    n: usize,
    kwnames: Raw,
    found: &mut [Raw],
) -> bool {
    let wrong = |text: String| {
        // SAFETY: the GIL is held.
        unsafe { errors::set(ffi::PyExc_TypeError, &text) };
        false
    };
    if n > names.len() {
        return wrong(format!("{function}() takes at most {} arguments ({n} given)", names.len()));
    }
    // SAFETY: the vectorcall protocol: n positional arguments, then one for each name in kwnames.
    unsafe {
        for (i, slot) in found.iter_mut().enumerate().take(n) {
            *slot = *args.add(i);
        }
        let count = if kwnames.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(kwnames) };
        for k in 0..count {
            let key = ffi::PyTuple_GET_ITEM(kwnames, k);
            let is = |name: &&CStr| ffi::PyUnicode_CompareWithASCIIString(key, name.as_ptr()) == 0;
            match names.iter().position(is) {
                None => {
                    let key = errors::text_of(key);
                    return wrong(format!(
                        "{function}() got an unexpected keyword argument '{key}'"
                    ));
                }
                Some(i) if !found[i].is_null() => {
                    let name = names[i].to_string_lossy();
                    return wrong(format!(
                        "{function}() got multiple values for argument '{name}'"
                    ));
                }
                Some(i) => found[i] = *args.add(n + k as usize),
            }
        }
    }
    if let Some(i) = (0..required).find(|&i| found[i].is_null()) {
        let name = names[i].to_string_lossy();
        return wrong(format!("{function}() missing required argument: '{name}'"));
    }
    true
}

/// How long to wait for a `timeout` argument (null or None: forever). None: an exception is set.
///
/// # Safety
/// The GIL is held.
#[inline(always)]
pub(crate) unsafe fn wait_of(timeout: Raw) -> Option<Wait> {
    // SAFETY: the GIL is held.
    unsafe {
        if timeout.is_null() || timeout == ffi::Py_None() {
            return Some(Wait::Block);
        }
        seconds_of(timeout).map(wait_for)
    }
}

/// A number of seconds, any real number; huge integers count as infinite. None: an exception is set.
///
/// # Safety
/// The GIL is held.
#[inline(never)]
pub(crate) unsafe fn seconds_of(number: Raw) -> Option<f64> {
    // SAFETY: the GIL is held.
    unsafe {
        let mut seconds = ffi::PyFloat_AsDouble(number);
        if seconds == -1.0 && !ffi::PyErr_Occurred().is_null() {
            if ffi::PyErr_ExceptionMatches(ffi::PyExc_OverflowError) == 0
                || ffi::PyLong_Check(number) == 0
            {
                return None;
            }
            ffi::PyErr_Clear();
            let zero = ffi::PyLong_FromLong(0);
            let negative = ffi::PyObject_RichCompareBool(number, zero, ffi::Py_LT);
            ffi::Py_XDECREF(zero);
            seconds = if negative == 1 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        if seconds.is_nan() {
            errors::set(ffi::PyExc_ValueError, "timeout must not be nan");
            return None;
        }
        Some(seconds)
    }
}

/// Nanoseconds in a second.
pub(crate) const NS: f64 = 1e9;

/// When `seconds` from now is, past for 0 or less; None: never.
pub(crate) fn deadline_after(seconds: f64) -> Option<i64> {
    match wait_for(seconds) {
        Wait::Try => Some(nanotime().saturating_add((seconds * NS) as i64)),
        Wait::Until(when_ns) => Some(when_ns),
        Wait::Block => None,
    }
}

/// The wait that ends after `seconds`: at once if not positive, never if huge.
pub(crate) fn wait_for(seconds: f64) -> Wait {
    /// About 146 years; later than that is never.
    const FOR_EVER: f64 = 4.6e9;
    if seconds <= 0.0 {
        Wait::Try
    } else if seconds >= FOR_EVER {
        Wait::Block
    } else {
        Wait::Until(nanotime().saturating_add((seconds * NS).ceil() as i64))
    }
}

/// An integer argument; out-of-range values are clamped to the ends of `i64`. None: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn integer_of(number: Raw) -> Option<i64> {
    // SAFETY: the GIL is held.
    unsafe {
        let index = ffi::PyNumber_Index(number);
        if index.is_null() {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongLongAndOverflow(index, &mut overflow);
        ffi::Py_DECREF(index);
        match overflow {
            0 if value == -1 && !ffi::PyErr_Occurred().is_null() => None,
            0 => Some(value),
            o if o < 0 => Some(i64::MIN),
            _ => Some(i64::MAX),
        }
    }
}
