//! `golib._golib.Ref`: a reference that is read and replaced atomically, for classes that may hold no lock.
//!
//! A lock that is held while user code runs (a comparison, a finalizer, a signal handler) is a deadlock when that code
//! uses the same object. With a `Ref` in a plain dict, an object needs none: each of its steps is one call that runs no
//! Python code.
//!
//! # Invariants
//! 1. Nothing in here runs Python code between reading and writing: what was in a `Ref` is given to the caller, who
//!    drops it.

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyMemberDef, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, instance, Container, Table};

#[repr(C)]
struct RefObj {
    ob_base: PyObject,
    /// Owned; never null.
    value: Raw,
}

unsafe extern "C" fn new(class: *mut PyTypeObject, args: Raw, _kwargs: Raw) -> Raw {
    // SAFETY: a tp_new: a tuple. A fresh instance is tracked, and its null is no object to the collector.
    unsafe {
        if ffi::PyTuple_GET_SIZE(args) != 1 {
            return errors::raise(ffi::PyExc_TypeError, "Ref() takes 1 argument");
        }
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if !slf.is_null() {
            let value = ffi::PyTuple_GET_ITEM(args, 0);
            ffi::Py_INCREF(value);
            (*instance::<RefObj>(slf)).value = value;
        }
        slf
    }
}

/// `swap(value)`: sets it; what it was.
unsafe extern "C" fn swap(slf: Raw, value: Raw) -> Raw {
    // SAFETY: a METH_O method of Ref.
    unsafe {
        ffi::Py_INCREF(value);
        ptr::replace(&raw mut (*instance::<RefObj>(slf)).value, value)
    }
}

/// `replace(old, new)`: sets it to `new` if it is the object `old`; says whether it was. The caller holds `old`, so that
/// nothing is freed here.
unsafe extern "C" fn replace(slf: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Ref.
    unsafe {
        if n != 2 {
            return errors::raise(ffi::PyExc_TypeError, "replace() takes 2 arguments");
        }
        let (old, new) = (*args, *args.add(1));
        let same = (*instance::<RefObj>(slf)).value == old;
        if same {
            ffi::Py_DECREF(swap(slf, new));
        }
        obj::boolean(same)
    }
}

/// `_golib._items(dict)`: the keys of a dict of Refs and what these refer to, one after the other in a list, all of one
/// moment.
pub(crate) unsafe extern "C" fn items(_: Raw, dict: Raw) -> Raw {
    // SAFETY: a METH_O function, called with a dict. Between the look at its size and the end of the walk nothing is
    // allocated, and so nothing runs.
    unsafe {
        loop {
            let n = ffi::PyDict_Size(dict);
            if n < 0 {
                return ptr::null_mut();
            }
            let list = ffi::PyList_New(2 * n);
            if list.is_null() {
                return list;
            }
            if ffi::PyDict_Size(dict) != n {
                ffi::Py_DECREF(list); // the collector ran, and a finalizer changed the dict
                continue;
            }
            let (mut at, mut i) = (0, 0);
            let (mut key, mut cell) = (ptr::null_mut(), ptr::null_mut());
            while i < 2 * n && ffi::PyDict_Next(dict, &mut at, &mut key, &mut cell) != 0 {
                let value = (*instance::<RefObj>(cell)).value;
                ffi::Py_INCREF(key);
                ffi::Py_INCREF(value);
                ffi::PyList_SET_ITEM(list, i, key);
                ffi::PyList_SET_ITEM(list, i + 1, value);
                i += 2;
            }
            return list;
        }
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe { obj::visit_all(slf, [(*instance::<RefObj>(slf)).value], visit, arg) }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear.
    unsafe { ffi::Py_XDECREF(swap(slf, ffi::Py_None())) }
    0
}

impl Container for RefObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says.
        unsafe {
            obj::clear(&raw mut (*instance::<RefObj>(slf)).value);
            free_instance(slf);
        }
    }
}

static METHODS: Table<[PyMethodDef; 3]> = Table([
    raw::method(
        c"swap",
        swap,
        ffi::METH_O,
        c"swap($self, value, /)
--

Sets it to value; what it was.",
    ),
    raw::fast(
        c"replace",
        replace,
        c"replace($self, old, new, /)
--

Sets it to new if it is the very object old; says whether it was.",
    ),
    PyMethodDef::zeroed(),
]);

static MEMBERS: Table<[PyMemberDef; 2]> = Table([
    PyMemberDef {
        name: c"value".as_ptr(),
        type_code: ffi::Py_T_OBJECT_EX,
        offset: offset_of!(RefObj, value) as Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: c"What it refers to.".as_ptr(),
    },
    PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
]);

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_new, new as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<RefObj> as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of RefObj.
    unsafe { raw::make_type::<RefObj>(c"golib._golib.Ref", ffi::Py_TPFLAGS_HAVE_GC, &mut slots) }
}

const DOC: &std::ffi::CStr = c"Ref(value, /)
--

A reference that is read and replaced atomically.";
