//! The tuples that operations return: `(value, ok)`, `Recv` and `Selected`.
//!
//! `Recv` and `Selected` are NamedTuples of the Python layer (`golib._results`). Their fields are members here, as those of
//! `__slots__` are: the interpreter reads such an attribute in ten instructions, namedtuple's own in 140.

use std::ffi::CStr;
use std::mem::{offset_of, transmute};
use std::ptr;

use pyo3::ffi::{self, PyMemberDef, PyTupleObject, PyTypeObject, Py_ssize_t};

use crate::cpython::object;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{free_instance, Table};

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

/// What is kept of a class.
struct Kept {
    class: Global,
    /// An instance without references; null if the next one is to be allocated.
    spare: Global,
}

impl Kept {
    const fn new() -> Kept {
        Kept { class: Global::new(), spare: Global::new() }
    }
}

/// `golib._results.ChannelType`: what `Chan[int]` is.
pub(crate) static CHANNEL_TYPE: Global = Global::new();
static RECV: Kept = Kept::new();
static SELECTED: Kept = Kept::new();

/// One of the classes.
trait Class {
    /// How many items.
    const LEN: usize;

    fn kept() -> &'static Kept;
}

struct Recv;

impl Class for Recv {
    const LEN: usize = RECV_FIELDS.0.len();

    fn kept() -> &'static Kept {
        &RECV
    }
}

struct Selected;

impl Class for Selected {
    const LEN: usize = SELECTED_FIELDS.0.len();

    fn kept() -> &'static Kept {
        &SELECTED
    }
}

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
        let ok = set_up::<Recv>(module, c"Recv", &RECV_FIELDS.0)
            && set_up::<Selected>(module, c"Selected", &SELECTED_FIELDS.0);
        CHANNEL_TYPE.set(ffi::PyObject_GetAttrString(module, c"ChannelType".as_ptr()));
        let ok = ok && !CHANNEL_TYPE.get().is_null();
        ffi::Py_DECREF(module);
        ok
    }
}

/// Takes the class `name` out of `module`. False: an exception is set.
unsafe fn set_up<C: Class>(module: Raw, name: &CStr, fields: &'static [PyMemberDef]) -> bool {
    // SAFETY: the GIL is held. The class has neither subclasses yet, which would have copied from it, nor instances.
    unsafe {
        let class = ffi::PyObject_GetAttrString(module, name.as_ptr());
        if class.is_null() || !set_fields(class, fields) {
            return false;
        }
        let layout = class.cast::<PyTypeObject>();
        // Null, behind the items, for each field that an instance of tuple.__new__ has no item for.
        (*layout).tp_basicsize += (C::LEN * size_of::<Raw>()) as Py_ssize_t;
        // At exit a thread may be ended by unwinding it through this function.
        let dealloc: unsafe extern "C-unwind" fn(Raw) = dealloc::<C>;
        (*layout).tp_dealloc =
            Some(transmute::<unsafe extern "C-unwind" fn(Raw), ffi::destructor>(dealloc));
        C::kept().class.set(class);
        true
    }
}

/// Makes `fields` attributes of `class`. False: an exception is set.
unsafe fn set_fields(class: Raw, fields: &'static [PyMemberDef]) -> bool {
    // SAFETY: the GIL is held; instances of the class are tuples with an item for each field.
    unsafe {
        fields.iter().all(|field| {
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
#[inline(always)]
unsafe fn make<C: Class, const N: usize>(items: [Raw; N]) -> Raw {
    const { assert!(N == C::LEN) };
    // SAFETY: the GIL is held; the class is a subclass of tuple without a layout of its own.
    unsafe {
        let class = C::kept().class.get().cast::<PyTypeObject>();
        let spare = C::kept().spare.get();
        let tuple = if spare.is_null() {
            ffi::PyType_GenericAlloc(class, N as Py_ssize_t)
        } else {
            C::kept().spare.set(ptr::null_mut());
            ffi::PyObject_InitVar(spare.cast(), class, N as Py_ssize_t).cast()
        };
        if tuple.is_null() {
            items.into_iter().for_each(|item| ffi::Py_XDECREF(item));
            return tuple;
        }
        object::forget_hash(tuple);
        for (i, item) in items.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple, i as Py_ssize_t, item);
        }
        // The collector knows what was allocated. A spare it need not know unless there can be a cycle.
        if !spare.is_null() && items.into_iter().any(|item| is_container(item)) {
            ffi::PyObject_GC_Track(tuple.cast());
        }
        tuple
    }
}

/// True for what may be a part of a cycle, or of a long chain.
#[inline(always)]
unsafe fn is_container(item: Raw) -> bool {
    // SAFETY: alive.
    unsafe { ffi::PyType_HasFeature(ffi::Py_TYPE(item), ffi::Py_TPFLAGS_HAVE_GC) != 0 }
}

/// The tuple's items, which are null in one that is not filled.
unsafe fn slots<'a>(tuple: Raw) -> &'a mut [Raw] {
    // SAFETY: a tuple has room for its items.
    unsafe {
        let first = (&raw mut (*tuple.cast::<PyTupleObject>()).ob_item).cast::<Raw>();
        std::slice::from_raw_parts_mut(first, ffi::Py_SIZE(tuple) as usize)
    }
}

/// `tp_dealloc`: keeps an instance for the next result, as most live no longer than a statement.
unsafe extern "C-unwind" fn dealloc<C: Class>(slf: Raw) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        if slots(slf).iter().any(|&item| !item.is_null() && is_container(item)) {
            object::trashcan(slf, dealloc::<C>, free::<C>);
        } else {
            free::<C>(slf);
        }
    }
}

unsafe extern "C-unwind" fn free<C: Class>(slf: Raw) {
    // SAFETY: called by dealloc. Dropping an item may run Python code that makes and frees results.
    unsafe {
        for slot in slots(slf) {
            obj::clear(slot);
        }
        let class = ffi::Py_TYPE(slf).cast();
        // An instance of a subclass is no spare, nor is one of another length, which tuple.__new__ makes.
        let fits = class == C::kept().class.get() && ffi::Py_SIZE(slf) as usize == C::LEN;
        if fits && C::kept().spare.get().is_null() {
            C::kept().spare.set(slf);
            ffi::Py_DECREF(class); // a spare gets its class again when it is used
        } else {
            free_instance(slf);
        }
    }
}

/// `(value, ok)`; takes the value over.
///
/// # Safety
/// The GIL is held; `value` is an owned reference.
pub(crate) unsafe fn pair(value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let tuple = ffi::PyTuple_New(2);
        if tuple.is_null() {
            ffi::Py_DECREF(value);
        } else {
            ffi::PyTuple_SET_ITEM(tuple, 0, value);
            ffi::PyTuple_SET_ITEM(tuple, 1, obj::boolean(ok));
        }
        tuple
    }
}

/// `Recv(value, ok)`; takes the value over.
///
/// # Safety
/// As [`pair`].
pub(crate) unsafe fn recv(value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe { make::<Recv, 2>([value, obj::boolean(ok)]) }
}

/// `Selected(index, value, ok)`; takes the value over.
///
/// # Safety
/// As [`pair`].
pub(crate) unsafe fn selected(index: i64, value: Raw, ok: bool) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let index = ffi::PyLong_FromLongLong(index);
        if index.is_null() {
            ffi::Py_DECREF(value);
            return index;
        }
        make::<Selected, 3>([index, value, obj::boolean(ok)])
    }
}
