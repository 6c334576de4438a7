//! The tuples that operations return: `(value, ok)`, `Recv` and `Selected`.
//!
//! `Recv` and `Selected` are NamedTuples of the Python layer (`golib._results`).

use pyo3::ffi::{self, PyTypeObject, Py_ssize_t};

use crate::obj::{self, Global, Raw};

static RECV: Global = Global::new();
static SELECTED: Global = Global::new();

/// Finds the classes. False: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn init() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        let module = ffi::PyImport_ImportModule(c"golib._results".as_ptr());
        if module.is_null() {
            return false;
        }
        RECV.set(ffi::PyObject_GetAttrString(module, c"Recv".as_ptr()));
        SELECTED.set(ffi::PyObject_GetAttrString(module, c"Selected".as_ptr()));
        ffi::Py_DECREF(module);
        !RECV.get().is_null() && !SELECTED.get().is_null()
    }
}

/// `class((items…))` without the detour through `class.__new__`; takes the items over. Null with an exception set.
unsafe fn tuple_of<const N: usize>(class: Raw, items: [Raw; N]) -> Raw {
    // SAFETY: the class is tuple or a subclass of it without a layout of its own.
    unsafe {
        let tuple = if class == (&raw mut ffi::PyTuple_Type).cast() {
            ffi::PyTuple_New(N as Py_ssize_t)
        } else {
            ffi::PyType_GenericAlloc(class.cast::<PyTypeObject>(), N as Py_ssize_t)
        };
        for (i, item) in items.into_iter().enumerate() {
            if tuple.is_null() {
                ffi::Py_XDECREF(item);
            } else {
                ffi::PyTuple_SET_ITEM(tuple, i as Py_ssize_t, item);
            }
        }
        tuple
    }
}

/// `(value, ok)`; takes the value over.
///
/// # Safety
/// The GIL is held; `value` is an owned reference.
pub(crate) unsafe fn pair(value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe { tuple_of((&raw mut ffi::PyTuple_Type).cast(), [value, obj::boolean(ok)]) }
}

/// `Recv(value, ok)`; takes the value over.
///
/// # Safety
/// As [`pair`].
pub(crate) unsafe fn recv(value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe { tuple_of(RECV.get(), [value, obj::boolean(ok)]) }
}

/// `Selected(index, value, ok)`; takes the value over.
///
/// # Safety
/// As [`pair`].
pub(crate) unsafe fn selected(index: i64, value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe { tuple_of(SELECTED.get(), [ffi::PyLong_FromLongLong(index), value, obj::boolean(ok)]) }
}
