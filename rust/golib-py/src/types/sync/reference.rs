//! `golib._golib.Ref`: a reference that is read and replaced atomically, for classes that must not hold a lock.
//!
//! An object that holds a lock while user code runs (a comparison, a finalizer, a signal handler) deadlocks when that code
//! uses the same object. With a `Ref` in a plain dict it needs no lock: each of its steps is one call that runs no Python
//! code.
//!
//! # Invariants
//! 1. Nothing in here runs Python code between reading and writing: the previous value of a `Ref` is returned to the
//!    caller, which drops it.

use std::mem::offset_of;

use pyo3::ffi;

use crate::ffi::args::Args;
use crate::ffi::args::NewArgs;
use crate::ffi::class::{Class, Object, TypeCell, TypeOf, Visitor};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::python::{boolean, none, type_error};
use crate::ffi::refs::{release, New, Outcome, Ref, Slot};
use crate::ffi::spec::{Members, TypeSpec};

/// The fields of `Ref`.
pub(crate) struct Reference {
    /// Never empty.
    value: Slot,
}

static REFERENCE: TypeCell<Reference> = TypeCell::new();

impl Class for Reference {
    const COLLECTED: bool = true;

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slot(&self.value);
    }

    fn clear(&self, gil: Gil<'_>) {
        release(gil, self.value.put(gil.exclusive(), Some(none(gil))));
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.value.clear(gil);
    }
}

fn new(gil: Gil<'_>, class: TypeOf<'_, Reference>, args: NewArgs<'_>) -> Outcome<New> {
    let [value] = args.positional() else {
        return Err(errors::fail(gil, type_error(), "Ref() takes 1 argument"));
    };
    let slf = class.make(gil, Reference { value: Slot::empty() })?;
    let nothing = slf.value.put(gil.exclusive(), Some(value.own(gil)));
    debug_assert!(nothing.is_none());
    Ok(slf.into_new())
}

/// `swap(value)`: sets the value and returns the previous one.
fn swap(gil: Gil<'_>, slf: &Object<Reference>, value: Ref<'_>) -> Outcome<New> {
    let old = slf.value.put(gil.exclusive(), Some(value.own(gil)));
    Ok(old.unwrap_or_else(|| none(gil)))
}

/// `replace(old, new)`: sets the value to `new` if it is the object `old`, and returns whether it was. The caller holds `old`,
/// so nothing is freed here.
fn replace(gil: Gil<'_>, slf: &Object<Reference>, args: Args<'_>) -> Outcome<New> {
    let [old, new] = args.positional() else {
        return Err(errors::fail(gil, type_error(), "replace() takes 2 arguments"));
    };
    let x = gil.unobserved("Ref.replace compares and sets");
    let same = slf.value.is(x, *old);
    if same {
        release(gil, slf.value.put(x, Some(new.own(gil))));
    }
    Ok(boolean(gil, same))
}

/// `_golib._items(dict)`: a list in which each key of a dict of Refs is followed by the Ref's value, all taken at one moment.
fn items(gil: Gil<'_>, _: &Object<Module>, dict: Ref<'_>) -> Outcome<New> {
    let dict = dict.as_raw();
    // SAFETY: a dict whose values are Refs. Nothing is allocated between the look at its size and the end of the walk, so no
    // Python code runs.
    unsafe {
        loop {
            let n = ffi::PyDict_Size(dict);
            let list = New::made(ffi::PyList_New(2 * n))?;
            let _whole = gil.unobserved("_items copies a dict's items of one moment");
            if ffi::PyDict_Size(dict) != n {
                list.release(gil); // the collector ran, and a finalizer changed the dict
                continue;
            }
            let (mut at, mut i) = (0, 0);
            let (mut key, mut cell) = (std::ptr::null_mut(), std::ptr::null_mut());
            while i < 2 * n && ffi::PyDict_Next(dict, &mut at, &mut key, &mut cell) != 0 {
                let cell = crate::ffi::class::this::<Reference>(cell);
                let value = cell.value.get(gil).unwrap_or_else(|| none(gil));
                let list = list.get().as_raw();
                ffi::PyList_SET_ITEM(list, i, Ref::borrowed(key).own(gil).give());
                ffi::PyList_SET_ITEM(list, i + 1, value.give());
                i += 2;
            }
            return Ok(list);
        }
    }
}

/// The function `_items`.
pub(crate) const ITEMS: Method<Module> =
    Method::one(c"_items", items, c"For the Python part of golib.");

static METHODS: Methods<Reference, 3> = Methods([
    Method::one(
        c"swap",
        swap,
        c"swap($self, value, /)
--

Sets it to value; what it was.",
    ),
    Method::fast(
        c"replace",
        replace,
        c"replace($self, old, new, /)
--

Sets it to new if it is the very object old; says whether it was.",
    ),
    Method::END,
]);

// SAFETY: `value` is a Slot.
static VALUE: Members<2> = unsafe {
    Members::one::<Reference>(c"value", offset_of!(Reference, value), c"What it refers to.")
};

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::<Reference>::new(c"golib._golib.Ref", DOC)
        .constructor(new)
        .methods(&METHODS)
        .member(&VALUE)
        .make(gil, &REFERENCE)
}

const DOC: &std::ffi::CStr = c"Ref(value, /)
--

A reference that is read and replaced atomically.";
