//! How CPython calls the operations of this folder, and how they read their arguments: raw, over `ffi`'s tokens.

use std::ffi::CStr;

use go_lib::runtime::embedder::Wait;
use pyo3::ffi::{self, PyMethodDef, PyMethodDefPointer, Py_ssize_t};

use crate::ffi::args::{self, Args};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python;
use crate::ffi::refs::Ref;

/// Defines an operation that can park: `parking!(entry => target(slf, args, n, kwnames; record) { … })`, or with one
/// argument. `record` goes to `guard_wait`.
macro_rules! parking {
    ($entry:ident => $target:ident($slf:ident, $arg:ident; $record:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(o) => $target);
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $arg: crate::ffi::obj::Raw,
            $record: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
    ($entry:ident => $target:ident($slf:ident, $args:ident, $n:ident, $kw:ident; $record:ident) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(keywords) => $target);
        unsafe extern "C-unwind" fn $target(
            $slf: crate::ffi::obj::Raw,
            $args: *const crate::ffi::obj::Raw,
            $n: pyo3::ffi::Py_ssize_t,
            $kw: crate::ffi::obj::Raw,
            $record: crate::ffi::raw::Record,
        ) -> crate::ffi::obj::Raw $body
    };
}
pub(super) use parking;

/// A method with keyword arguments.
pub(super) const fn keywords(
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

/// Matches the arguments of a METH_FASTCALL | METH_KEYWORDS call to `names`; absent ones are null. None: an exception is set.
#[inline(always)]
pub(super) unsafe fn arguments<const N: usize>(
    function: &'static str,
    names: &[&'static CStr; N],
    required: usize,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Option<[Raw; N]> {
    // SAFETY: the arguments of such a call, made with the GIL.
    let found = unsafe {
        Args::new(args, n, kwnames).parse(Gil::assume(), function, names, required).ok()?
    };
    Some(found.map(|argument| argument.map_or(std::ptr::null_mut(), Ref::as_raw)))
}

/// How long to wait for a `timeout` argument (null or None: for ever). None: an exception is set.
pub(super) unsafe fn wait_of(timeout: Raw) -> Option<Wait> {
    // SAFETY: called with the GIL; the caller holds the object.
    unsafe { args::wait_of(Gil::assume(), optional(timeout)).ok() }
}

/// A number of seconds. None: an exception is set.
pub(super) unsafe fn seconds_of(number: Raw) -> Option<f64> {
    // SAFETY: called with the GIL; the caller holds the object.
    unsafe { args::seconds_of(Gil::assume(), Ref::borrowed(number)).ok() }
}

/// An integer, clamped to the ends of `i64`. None: an exception is set.
pub(super) unsafe fn integer_of(number: Raw) -> Option<i64> {
    // SAFETY: called with the GIL; the caller holds the object.
    unsafe { args::integer_of(Gil::assume(), Ref::borrowed(number)).ok() }
}

/// What a `str` says, for messages.
pub(super) unsafe fn text_of(object: Raw) -> String {
    // SAFETY: called with the GIL; the caller holds the object.
    unsafe { python::text_of(Gil::assume(), Ref::borrowed(object)) }
}

/// The object behind `raw`, unless that is null.
pub(super) unsafe fn optional<'a>(raw: Raw) -> Option<Ref<'a>> {
    // SAFETY: not null; the caller holds the object.
    (!raw.is_null()).then(|| unsafe { Ref::borrowed(raw) })
}
