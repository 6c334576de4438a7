//! Tuples, lists and dicts: the functions of the C API that are used of them, as in [`python`](super::python).

use std::ptr;

use pyo3::ffi::{self, Py_ssize_t};

use crate::ffi::gil::Gil;
use crate::ffi::python::{none, status_of};
use crate::ffi::refs::{New, Outcome, Ref};

/// A tuple of `items`, which it takes over.
#[inline]
pub(crate) fn tuple_taking<const N: usize>(gil: Gil<'_>, items: [New; N]) -> Outcome<New> {
    // SAFETY: new, with room for the items, each of which is set before anybody sees it.
    unsafe {
        match New::made(ffi::PyTuple_New(N as Py_ssize_t)) {
            Ok(tuple) => {
                for (i, item) in items.into_iter().enumerate() {
                    ffi::PyTuple_SET_ITEM(tuple.get().as_raw(), i as Py_ssize_t, item.give());
                }
                Ok(tuple)
            }
            Err(raised) => {
                items.into_iter().for_each(|item| item.release(gil));
                Err(raised)
            }
        }
    }
}

/// A tuple of items that were made just now, if all could be.
pub(crate) fn tuple_made<const N: usize>(gil: Gil<'_>, items: [Outcome<New>; N]) -> Outcome<New> {
    let mut failed = None;
    // None stands in for what could not be made.
    let items = items
        .map(|item| item.map_err(|raised| failed = Some(raised)).unwrap_or_else(|()| none(gil)));
    match failed {
        None => tuple_taking(gil, items),
        Some(raised) => {
            items.into_iter().for_each(|item| item.release(gil));
            Err(raised)
        }
    }
}

/// A tuple of `items`.
#[inline]
pub(crate) fn tuple<const N: usize>(gil: Gil<'_>, items: [Ref<'_>; N]) -> Outcome<New> {
    tuple_of(gil, &items)
}

/// A tuple of as many references of its own.
#[inline]
pub(crate) fn tuple_of(gil: Gil<'_>, items: &[Ref<'_>]) -> Outcome<New> {
    // SAFETY: new, with room for the items, each of which is set before anybody sees it.
    unsafe {
        let tuple = New::made(ffi::PyTuple_New(items.len() as Py_ssize_t))?;
        for (i, item) in items.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.get().as_raw(), i as Py_ssize_t, item.own(gil).give());
        }
        Ok(tuple)
    }
}

/// A tuple of `n` items, which `item` makes; it runs no Python code.
pub(crate) fn tuple_with(
    _gil: Gil<'_>,
    n: usize,
    mut item: impl FnMut(usize) -> New,
) -> Outcome<New> {
    // SAFETY: new, with room for the items, each of which is set before anybody sees it.
    unsafe {
        let tuple = New::made(ffi::PyTuple_New(n as Py_ssize_t))?;
        for i in 0..n {
            ffi::PyTuple_SET_ITEM(tuple.get().as_raw(), i as Py_ssize_t, item(i).give());
        }
        Ok(tuple)
    }
}

/// `tuple(object)`. Runs Python code.
pub(crate) fn to_tuple(_gil: Gil<'_>, object: Ref<'_>) -> Outcome<New> {
    // SAFETY: alive.
    unsafe { New::made(ffi::PySequence_Tuple(object.as_raw())) }
}

/// The items of a tuple.
///
/// # Safety
/// `tuple` is one.
pub(crate) unsafe fn items<'a>(tuple: Ref<'a>) -> &'a [Ref<'a>] {
    // SAFETY: a tuple holds its items, and never changes; a Ref has a pointer's layout.
    unsafe {
        let first = (&raw const (*tuple.as_raw().cast::<ffi::PyTupleObject>()).ob_item).cast();
        std::slice::from_raw_parts(first, ffi::PyTuple_GET_SIZE(tuple.as_raw()) as usize)
    }
}

/// `[]`.
pub(crate) fn list(_gil: Gil<'_>) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyList_New(0)) }
}

/// `list.append(item)`, of a list.
pub(crate) fn append(_gil: Gil<'_>, list: Ref<'_>, item: Ref<'_>) -> Outcome<()> {
    // SAFETY: both are alive.
    status_of(unsafe { ffi::PyList_Append(list.as_raw(), item.as_raw()) }).map(|_| ())
}

/// `list.clear()`, of a list. Runs Python code, once the list is empty.
pub(crate) fn clear(_gil: Gil<'_>, list: Ref<'_>) {
    // SAFETY: alive. Emptying a list needs no memory, so it does not fail.
    unsafe { ffi::PyList_SetSlice(list.as_raw(), 0, Py_ssize_t::MAX, ptr::null_mut()) };
}

/// The items of a list.
///
/// # Safety
/// `list` is one, and does not change while the result is in use.
pub(crate) unsafe fn list_items<'a>(list: Ref<'a>) -> &'a [Ref<'a>] {
    // SAFETY: the caller says that it stays; a Ref has a pointer's layout.
    unsafe {
        let list = list.as_raw().cast::<ffi::PyListObject>();
        let n = ffi::PyList_GET_SIZE(list.cast()) as usize;
        if n == 0 {
            return &[];
        }
        std::slice::from_raw_parts((*list).ob_item.cast(), n)
    }
}

/// `{}`.
pub(crate) fn dict(_gil: Gil<'_>) -> Outcome<New> {
    // SAFETY: the GIL is held.
    unsafe { New::made(ffi::PyDict_New()) }
}

/// `dict[key] = value`. Runs Python code.
pub(crate) fn set_item(_gil: Gil<'_>, dict: Ref<'_>, key: Ref<'_>, value: Ref<'_>) -> Outcome<()> {
    // SAFETY: all are alive.
    status_of(unsafe { ffi::PyDict_SetItem(dict.as_raw(), key.as_raw(), value.as_raw()) })?;
    Ok(())
}

/// A dict with the items of any mapping. Runs Python code.
pub(crate) fn copy_of(gil: Gil<'_>, mapping: Ref<'_>) -> Outcome<New> {
    let dict = dict(gil)?;
    // SAFETY: both are alive.
    match status_of(unsafe { ffi::PyDict_Update(dict.get().as_raw(), mapping.as_raw()) }) {
        Ok(_) => Ok(dict),
        Err(raised) => {
            dict.release(gil);
            Err(raised)
        }
    }
}
