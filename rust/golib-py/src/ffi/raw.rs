//! Functions, methods and types that Python calls without PyO3 in between.
//!
//! Every operation that can park is made by [`parking!`]: a raw entry that hands its frame record on, and a body that leaves
//! it where the runtime's movability test finds it, before each wait ([`guard_wait`]).
//!
//! # Invariants
//! 1. A body that can park holds nothing thread-bound across the park.
//! 2. [`guard`] encloses calls into the runtime only, never Python code: at exit CPython may end a thread by unwinding
//!    it, which a `catch_unwind` would turn into an abort. For the same reason functions here are `extern "C-unwind"`
//!    and own nothing that needs dropping while Python code runs above them.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_uint, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use go_lib::runtime::embedder::{self, nanotime, Wait};
use pyo3::ffi::{
    self, PyGetSetDef, PyMemberDef, PyMethodDef, PyMethodDefPointer, PyObject, PyType_Slot,
    PyType_Spec, Py_ssize_t,
};

use crate::cpython::{object, Caller};
use crate::ffi::errors;
use crate::ffi::obj::Raw;

/// A static table that C reads.
#[repr(transparent)]
pub(crate) struct Table<T>(pub(crate) T);

// SAFETY: written by nobody but CPython under the GIL.
unsafe impl<T> Sync for Table<T> {}

/// The frame record of an entry that can park; see [`guard_wait`].
pub(crate) type Record = *const Caller;

/// Defines an operation that can park: `parking!(entry => target(slf, args, n, kwnames; record) { … })`. The arguments that
/// are named select the kind of entry; `record` goes to [`guard_wait`].
macro_rules! parking {
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident; $caller:ident) $body:block) => {
        crate::raw_entry!(pub(crate) fn $entry(iternext) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $arg:ident; $caller:ident) $body:block) => {
        crate::raw_entry!(pub(crate) fn $entry(o) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $arg: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $args:ident, $n:ident; $caller:ident) $body:block) => {
        crate::raw_entry!(pub(crate) fn $entry(fastcall) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $args: *mut crate::ffi::obj::Raw,
            $n: pyo3::ffi::Py_ssize_t,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($(#[$meta:meta])* $entry:ident => $target:ident($slf:ident, $args:ident, $n:ident, $kw:ident; $caller:ident) $body:block) => {
        crate::raw_entry!(pub(crate) fn $entry(keywords) => $target);
        $(#[$meta])*
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $args: *const crate::ffi::obj::Raw,
            $n: pyo3::ffi::Py_ssize_t,
            $kw: crate::ffi::obj::Raw,
            $caller: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
}
pub(crate) use parking;

/// As [`guard`], for what may wait: leaves the `record` where the movability test finds it. It must be left right before each
/// wait. A park consumes it, and Python code that ran since the entry (a `__float__`, a signal handler) may have left
/// another, or have moved the goroutine to an M where another goroutine's lies.
#[inline(always)]
pub(crate) fn guard_wait<R>(record: Record, call: impl FnOnce() -> R) -> Option<R> {
    embedder::set_caller(record.cast());
    guard(call)
}

/// Calls into the runtime; a panic there becomes a `SystemError`.
#[inline(always)]
pub(crate) fn guard<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // SAFETY: bodies run with the GIL held, also after a panic inside the runtime.
            unsafe { errors::panicked(payload) };
            None
        }
    }
}

/// A method of one positional argument or none (`flags`: METH_O, METH_NOARGS, with METH_CLASS or METH_STATIC).
pub(crate) const fn method(
    name: &'static CStr,
    call: ffi::PyCFunction,
    flags: c_int,
    doc: &'static CStr,
) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunction: call },
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }
}

/// A method of positional arguments, called without a tuple of them.
pub(crate) const fn fast(
    name: &'static CStr,
    call: ffi::PyCFunctionFast,
    doc: &'static CStr,
) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunctionFast: call },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

/// A method with keyword arguments.
pub(crate) const fn keywords(
    name: &'static CStr,
    call: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// `__class_getitem__` of the generic types.
pub(crate) const CLASS_GETITEM: PyMethodDef = method(
    c"__class_getitem__",
    ffi::Py_GenericAlias,
    ffi::METH_O | ffi::METH_CLASS,
    c"See PEP 585.",
);

/// A read-only property.
pub(crate) const fn property(
    name: &'static CStr,
    get: ffi::getter,
    doc: &'static CStr,
) -> PyGetSetDef {
    PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }
}

/// The end of a table of properties.
pub(crate) const END_OF_PROPERTIES: PyGetSetDef = PyGetSetDef {
    name: ptr::null(),
    get: None,
    set: None,
    doc: ptr::null(),
    closure: ptr::null_mut(),
};

/// The member that makes instances weakly referenceable; the end of a table of members.
pub(crate) const fn weaklist(offset: usize) -> [PyMemberDef; 2] {
    [
        PyMemberDef {
            name: c"__weaklistoffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
    ]
}

/// One slot of a type.
pub(crate) fn slot(slot: c_int, value: *const c_void) -> PyType_Slot {
    PyType_Slot { slot, pfunc: value.cast_mut() }
}

/// Makes a heap type with instances of `T`; null with an exception set.
///
/// # Safety
/// The GIL is held; the slots fit instances of `T`.
pub(crate) unsafe fn make_type<T>(
    name: &'static CStr,
    flags: std::os::raw::c_ulong,
    slots: &mut Vec<PyType_Slot>,
) -> Raw {
    slots.push(PyType_Slot { slot: 0, pfunc: ptr::null_mut() });
    let mut spec = PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<T>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | flags) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the caller's duty; CPython copies the spec.
    unsafe { ffi::PyType_FromSpec(&mut spec) }
}

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

/// How long to wait for a `timeout` argument (null or None: for ever). None: an exception is set.
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
    /// About 146 years: what lies beyond does not happen.
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

/// `str` from Rust's text; null with an exception set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn unicode(text: &str) -> Raw {
    // SAFETY: the text is UTF-8.
    unsafe {
        ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast::<c_char>(), text.len() as Py_ssize_t)
    }
}

/// The instance behind `object`.
#[inline(always)]
pub(crate) fn instance<T>(object: *mut PyObject) -> *mut T {
    object.cast()
}

/// An instance that holds others, perhaps in long chains.
pub(crate) trait Container {
    /// Drops what the instance holds, and gives it back.
    ///
    /// # Safety
    /// The last reference is gone, and the collector does not know the instance any more.
    unsafe extern "C-unwind" fn free(slf: Raw);
}

/// `tp_dealloc` of a container.
///
/// # Safety
/// The last reference is gone.
pub(crate) unsafe extern "C-unwind" fn dealloc<T: Container>(slf: Raw) {
    // SAFETY: the caller's duty.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        object::trashcan(slf, dealloc::<T>, T::free);
    }
}

/// Gives an instance of a heap type back.
///
/// # Safety
/// Its fields have been dropped; nobody uses it any more.
pub(crate) unsafe fn free_instance(slf: Raw) {
    // SAFETY: the caller's duty; instances of heap types own a reference to their type.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        if let Some(free) = (*class).tp_free {
            free(slf.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}
