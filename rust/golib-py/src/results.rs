//! The tuples that operations return: `(value, ok)`, `Recv` and `Selected`.
//!
//! `Recv` and `Selected` are NamedTuples of the Python layer (`golib._results`). Their fields are members here, as those of
//! `__slots__` are: the interpreter reads such an attribute in ten instructions, namedtuple's own in 140.

use std::ffi::CStr;
use std::mem::offset_of;

use pyo3::ffi::{self, PyMemberDef, PyTupleObject, PyTypeObject, Py_ssize_t};

use crate::obj::{self, Global, Raw};
use crate::raw::Table;

/// Item `i` of a tuple under a name.
const fn field(name: &'static CStr, i: usize, doc: &'static CStr) -> PyMemberDef {
    PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_OBJECT_EX,
        offset: (offset_of!(PyTupleObject, ob_item) + i * size_of::<Raw>()) as Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: doc.as_ptr(),
    }
}

static RECV_FIELDS: Table<[PyMemberDef; 2]> = Table([
    field(c"value", 0, c"Alias for field number 0"),
    field(c"ok", 1, c"Alias for field number 1"),
]);
static SELECTED_FIELDS: Table<[PyMemberDef; 3]> = Table([
    field(c"index", 0, c"Alias for field number 0"),
    field(c"value", 1, c"Alias for field number 1"),
    field(c"ok", 2, c"Alias for field number 2"),
]);

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
        set_fields(RECV.get(), &RECV_FIELDS.0) && set_fields(SELECTED.get(), &SELECTED_FIELDS.0)
    }
}

/// Makes `fields` attributes of `class`. False: an exception is set.
unsafe fn set_fields(class: Raw, fields: &'static [PyMemberDef]) -> bool {
    // SAFETY: the GIL is held; instances of the class are tuples with an item for each field.
    unsafe {
        !class.is_null()
            && fields.iter().all(|field| {
                let member = std::ptr::from_ref(field).cast_mut();
                let descriptor = ffi::PyDescr_NewMember(class.cast::<PyTypeObject>(), member);
                if descriptor.is_null() {
                    return false;
                }
                let set = ffi::PyObject_SetAttrString(class, field.name, descriptor);
                ffi::Py_DECREF(descriptor);
                set == 0
            })
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
