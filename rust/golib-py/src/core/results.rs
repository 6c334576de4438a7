//! The tuples that operations return: `(value, ok)`, `Recv` and `Selected`.
//!
//! `Recv` and `Selected` are NamedTuples of the Python layer (`golib._results`). Their fields are members here, as those of
//! `__slots__` are: the interpreter reads such an attribute in ten instructions, namedtuple's own in 140.

use std::ffi::CStr;
use std::mem::{offset_of, transmute};
use std::ptr;

use pyo3::ffi::{self, PyMemberDef, PyTupleObject, PyTypeObject, Py_ssize_t};

use crate::cpython::object;
use crate::ffi::class::free_memory;
use crate::ffi::containers::tuple_taking;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::python::{boolean, import_from, int, set_attribute};
use crate::ffi::refs::{Field, New, Outcome, Ref};
use crate::ffi::spec::Members;

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

static RECV_FIELDS: Members<2> = Members([
    field(c"value", 0, c"Alias for field number 0"),
    field(c"ok", 1, c"Alias for field number 1"),
]);
static SELECTED_FIELDS: Members<3> = Members([
    field(c"index", 0, c"Alias for field number 0"),
    field(c"value", 1, c"Alias for field number 1"),
    field(c"ok", 2, c"Alias for field number 2"),
]);

/// The parts of a class that are kept.
struct Kept {
    class: Global,
    /// An instance without references; null if the next one must be allocated.
    spare: Field<Raw>,
}

// SAFETY: the class is written at import; the spare needs a token.
unsafe impl Sync for Kept {}

impl Kept {
    const fn new() -> Kept {
        Kept { class: Global::new(), spare: Field::new(ptr::null_mut()) }
    }
}

/// `golib._results.ChannelType`: the type of `Chan[int]`.
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

/// Finds the classes.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<()> {
    let module = c"golib._results";
    set_up::<Recv>(gil, import_from(gil, module, c"Recv")?, &RECV_FIELDS.0)?;
    set_up::<Selected>(gil, import_from(gil, module, c"Selected")?, &SELECTED_FIELDS.0)?;
    CHANNEL_TYPE.fill(import_from(gil, module, c"ChannelType"))
}

/// Makes `class` one of ours, with `fields` for attributes. It has neither subclasses yet, which would have copied from it, nor
/// instances.
fn set_up<C: Class>(gil: Gil<'_>, class: New, fields: &'static [PyMemberDef]) -> Outcome<()> {
    for field in fields {
        add_field(gil, class.get(), field)?;
    }
    // At exit a thread may be ended by unwinding it through this function.
    let dealloc: unsafe extern "C-unwind" fn(Raw) = dealloc::<C>;
    // SAFETY: a class derived from tuple; the ABIs differ in nothing but that this one may be unwound.
    unsafe {
        let layout = class.get().as_raw().cast::<PyTypeObject>();
        // Null, behind the items, for each field that an instance of tuple.__new__ has no item for.
        (*layout).tp_basicsize += (C::LEN * size_of::<Raw>()) as Py_ssize_t;
        (*layout).tp_dealloc =
            Some(transmute::<unsafe extern "C-unwind" fn(Raw), ffi::destructor>(dealloc));
    }
    C::kept().class.fill(Ok(class))
}

/// Makes `field` an attribute of `class`, whose instances are tuples with an item for it.
fn add_field(gil: Gil<'_>, class: Ref<'_>, field: &'static PyMemberDef) -> Outcome<()> {
    let member = ptr::from_ref(field).cast_mut();
    // SAFETY: alive; CPython keeps the pointer, and only reads there.
    unsafe {
        let descriptor = New::made(ffi::PyDescr_NewMember(class.as_raw().cast(), member))?;
        let set = set_attribute(gil, class, CStr::from_ptr(field.name), descriptor.get());
        descriptor.release(gil);
        set
    }
}

/// `class((items…))` without the detour through `class.__new__`; takes the items over.
#[inline(always)]
fn make<C: Class, const N: usize>(gil: Gil<'_>, items: [New; N]) -> Outcome<New> {
    const { assert!(N == C::LEN) };
    let x = gil.exclusive();
    let class = C::kept().class.object().as_raw().cast::<PyTypeObject>();
    let spare = C::kept().spare.get(x);
    // SAFETY: the class is a subclass of tuple without a layout of its own; a spare is an instance that nobody has.
    unsafe {
        let tuple = if spare.is_null() {
            ffi::PyType_GenericAlloc(class, N as Py_ssize_t)
        } else {
            C::kept().spare.set(x, ptr::null_mut());
            ffi::PyObject_InitVar(spare.cast(), class, N as Py_ssize_t).cast()
        };
        let tuple = match New::made(tuple) {
            Ok(tuple) => tuple,
            Err(raised) => {
                items.into_iter().for_each(|item| item.release(gil));
                return Err(raised);
            }
        };
        let raw = tuple.get().as_raw();
        object::forget_hash(raw);
        // The collector knows what was allocated. A spare it need not know unless there can be a cycle.
        let track = !spare.is_null() && items.iter().any(|item| is_container(item.get()));
        for (i, item) in items.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(raw, i as Py_ssize_t, item.give());
        }
        if track {
            ffi::PyObject_GC_Track(raw.cast());
        }
        Ok(tuple)
    }
}

/// True for what may be a part of a cycle, or of a long chain.
#[inline(always)]
fn is_container(item: Ref<'_>) -> bool {
    // SAFETY: alive.
    unsafe { ffi::PyType_HasFeature(ffi::Py_TYPE(item.as_raw()), ffi::Py_TPFLAGS_HAVE_GC) != 0 }
}

/// The tuple's items, which are null in one that is not filled.
///
/// # Safety
/// A tuple that nobody else has.
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
        let holds = |&item: &Raw| Ref::nullable(item).is_some_and(is_container);
        if slots(slf).iter().any(holds) {
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
        let x = Gil::assume().exclusive();
        let class = ffi::Py_TYPE(slf).cast();
        // An instance of a subclass is no spare, nor is one of another length, which tuple.__new__ makes.
        let fits = class == C::kept().class.get() && ffi::Py_SIZE(slf) as usize == C::LEN;
        if fits && C::kept().spare.get(x).is_null() {
            C::kept().spare.set(x, slf);
            ffi::Py_DECREF(class); // a spare gets its class again when it is used
        } else {
            free_memory(slf);
        }
    }
}

/// `(value, ok)`; takes the value over.
pub(crate) fn pair(gil: Gil<'_>, value: New, ok: bool) -> Outcome<New> {
    tuple_taking(gil, [value, boolean(gil, ok)])
}

/// `Recv(value, ok)`; takes the value over.
pub(crate) fn recv(gil: Gil<'_>, value: New, ok: bool) -> Outcome<New> {
    make::<Recv, 2>(gil, [value, boolean(gil, ok)])
}

/// `Selected(index, value, ok)`; takes the value over.
pub(crate) fn selected(gil: Gil<'_>, index: i64, value: New, ok: bool) -> Outcome<New> {
    match int(gil, index) {
        Ok(index) => make::<Selected, 3>(gil, [index, value, boolean(gil, ok)]),
        Err(raised) => {
            value.release(gil);
            Err(raised)
        }
    }
}
