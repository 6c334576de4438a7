//! Types, their methods and properties, and the ends of their instances.

use std::ffi::CStr;
use std::os::raw::{c_int, c_uint, c_void};
use std::ptr;

use pyo3::ffi::{
    self, PyGetSetDef, PyMemberDef, PyMethodDef, PyMethodDefPointer, PyObject, PyType_Slot,
    PyType_Spec, Py_ssize_t,
};

use crate::cpython::object;
use crate::ffi::obj::Raw;

/// A static table that C reads.
#[repr(transparent)]
pub(crate) struct Table<T>(pub(crate) T);

// SAFETY: written by nobody but CPython under the GIL.
unsafe impl<T> Sync for Table<T> {}

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
    // SAFETY: the slots fit instances of `T`; CPython copies the spec.
    unsafe { ffi::PyType_FromSpec(&mut spec) }
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
    // SAFETY: the last reference is gone: nobody sees the instance.
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
    // SAFETY: nobody uses it any more; instances of heap types own a reference to their type.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        if let Some(free) = (*class).tp_free {
            free(slf.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}
