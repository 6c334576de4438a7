//! The class `golib.Goroutine`.

use std::mem::{offset_of, size_of};
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject};

use super::handle::{Goroutine, GoroutineObj, GOROUTINE};
use super::methods;
use super::unread::finalize;
use crate::core::asyncio;
use crate::cpython::object;
use crate::ffi::class::this;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{answer, Method};
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, Table};

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse, with the GIL.
    unsafe {
        let x = Gil::assume().exclusive();
        let objects = this::<Goroutine>(slf).references().map(|slot| slot.as_raw(x));
        obj::visit_all(slf, objects, visit, arg)
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, with the GIL.
    unsafe { this::<Goroutine>(slf).clear(Gil::assume()) };
    0
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone, unless the finalizer makes another.
    unsafe {
        if this::<Goroutine>(slf).unread.get(Gil::assume().exclusive())
            && ffi::PyObject_CallFinalizerFromDealloc(slf) < 0
        {
            return;
        }
        ffi::PyObject_GC_UnTrack(slf.cast());
        object::trashcan(slf, dealloc, free);
    }
}

unsafe extern "C-unwind" fn free(slf: Raw) {
    // SAFETY: called by dealloc.
    unsafe {
        let (gil, g) = (Gil::assume(), this::<Goroutine>(slf));
        if g.weaklist.is_in_use() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        g.clear(gil);
        g.name.clear(gil);
        free_instance(slf);
    }
}

unsafe extern "C-unwind" fn at_end(slf: Raw) {
    // SAFETY: a tp_finalize: the handle may be passed to code that keeps it.
    unsafe { finalize(Gil::assume(), this::<Goroutine>(slf)) };
}

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(size_of::<PyObject>() + offset_of!(Goroutine, weaklist)));

unsafe extern "C-unwind" fn awaits(slf: Raw) -> Raw {
    // SAFETY: a slot: the GIL is held, and the caller holds the instance.
    unsafe { answer(asyncio::await_(Gil::assume(), this::<Goroutine>(slf))) }
}

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_am_await, awaits as *const c_void),
        raw::slot(ffi::Py_tp_finalize, at_end as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, methods::repr_slot as *const c_void),
        raw::slot(ffi::Py_tp_methods, Method::table(&methods::METHODS).cast_const().cast()),
        raw::slot(ffi::Py_tp_getset, methods::PROPERTIES.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of GoroutineObj.
    unsafe {
        let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        let class = raw::make_type::<GoroutineObj>(c"golib.Goroutine", flags, &mut slots);
        GOROUTINE.set(class);
        class
    }
}

const DOC: &std::ffi::CStr = c"A goroutine's handle, as go() and spawn() return it.

The goroutine runs whether or not the handle is kept. An exception that ends it waits in
the handle for join() or exception(); if the handle dies unread, it is reported.

>>> g = golib.go(len, 'four')
>>> g.join()
4";
