//! What the primitives have in common: the instance, the outcome of a wait, the class.
//!
//! # Invariants
//! 1. Whoever waits is called with a reference to the instance, so that nothing dies under a waiter.
//! 2. The cores own nothing: instances are freed without dropping them.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::raw::c_void;
use std::ptr;

use go_lib::runtime::embedder::WaitError;
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject};

use crate::core::waits;
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, guard_wait, instance, Record, Table};

/// An instance whose payload is a primitive of the runtime.
#[repr(C)]
struct SyncObj<T> {
    ob_base: PyObject,
    weaklist: Raw,
    core: T,
}

pub(super) unsafe fn core<'a, T>(slf: Raw) -> &'a T {
    // SAFETY: a method of that type; by 1 the instance outlives the call.
    unsafe { &(*instance::<SyncObj<T>>(slf)).core }
}

/// An instance of `class` with `core`; null with an exception set.
pub(super) unsafe fn make<T>(class: *mut PyTypeObject, core: T) -> Raw {
    // By 2.
    const { assert!(!std::mem::needs_drop::<T>()) };
    // SAFETY: a tp_new.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if !slf.is_null() {
            ptr::write(&raw mut (*instance::<SyncObj<T>>(slf)).core, core);
        }
        slf
    }
}

/// `__new__` of a type without arguments.
pub(super) unsafe extern "C" fn new<T: Default>(
    class: *mut PyTypeObject,
    args: Raw,
    kwargs: Raw,
) -> Raw {
    // SAFETY: a tp_new.
    unsafe {
        if ffi::PyTuple_GET_SIZE(args) > 0 || (!kwargs.is_null() && ffi::PyDict_Size(kwargs) > 0) {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"%s() takes no arguments".as_ptr(),
                (*class).tp_name,
            );
            return ptr::null_mut();
        }
        make(class, T::default())
    }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone; the weak list is at the same place in all instances.
    unsafe {
        if !(*instance::<SyncObj<()>>(slf)).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        free_instance(slf);
    }
}

/// Calls `operation` until it has succeeded (None) or failed (null, an exception is set): the outcome of a method that
/// waits. `what` and `timeout` are for TimeoutError's text.
///
/// # Safety
/// The GIL is held.
#[inline(always)]
pub(crate) unsafe fn waited(
    record: Record,
    what: &str,
    timeout: Raw,
    operation: impl Fn() -> Result<(), WaitError>,
) -> Raw {
    loop {
        // SAFETY: the GIL is held.
        unsafe {
            match guard_wait(record, &operation) {
                Some(Ok(())) => return obj::none(),
                Some(Err(error)) if waits::again(error, what, timeout) => {}
                _ => return ptr::null_mut(),
            }
        }
    }
}

/// As [`waited`], in threading's manner: True, or False if it would have to wait longer.
#[inline(always)]
pub(super) unsafe fn waited_as_threads(
    record: Record,
    what: &str,
    operation: impl Fn() -> Result<(), WaitError>,
) -> Raw {
    loop {
        // SAFETY: the GIL is held.
        unsafe {
            match guard_wait(record, &operation) {
                Some(Ok(())) => return obj::boolean(true),
                Some(Err(WaitError::WouldBlock | WaitError::Timeout)) => {
                    return obj::boolean(false)
                }
                Some(Err(error)) if waits::again(error, what, ptr::null_mut()) => {}
                _ => return ptr::null_mut(),
            }
        }
    }
}

/// The result of `__enter__` from that of the wait, which is taken over: the instance itself, or null.
#[inline(always)]
pub(super) unsafe fn entered(slf: Raw, waited: Raw) -> Raw {
    if waited.is_null() {
        return waited;
    }
    // SAFETY: the GIL is held.
    unsafe {
        ffi::Py_DECREF(waited);
        ffi::Py_INCREF(slf);
    }
    slf
}

/// None, or the error as `kind`.
pub(super) unsafe fn done<E: std::fmt::Display>(kind: Raw, result: Option<Result<(), E>>) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        match result {
            Some(Ok(())) => obj::none(),
            Some(Err(error)) => errors::raise(kind, &error.to_string()),
            None => ptr::null_mut(),
        }
    }
}

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(SyncObj<()>, weaklist)));

/// A type of instances with a `T`; null with an exception set.
pub(super) unsafe fn make_type<T>(
    name: &'static CStr,
    doc: &'static CStr,
    flags: std::os::raw::c_ulong,
    new: ffi::newfunc,
    methods: &'static [PyMethodDef],
    properties: Option<&'static Table<[ffi::PyGetSetDef; 3]>>,
) -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, doc.as_ptr().cast()),
        raw::slot(ffi::Py_tp_new, new as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_methods, methods.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    slots.extend(properties.map(|p| raw::slot(ffi::Py_tp_getset, p.0.as_ptr().cast())));
    // SAFETY: the slots are those of the instances.
    unsafe { raw::make_type::<SyncObj<T>>(name, flags, &mut slots) }
}
