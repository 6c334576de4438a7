//! The class `golib.Goroutine`.

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};

use pyo3::ffi;

use super::handle::{clear, GoroutineObj, GOROUTINE};
use super::methods;
use super::unread::finalize;
use crate::core::asyncio;
use crate::cpython::object;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, instance, Table};

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe { obj::visit_all(slf, (*instance::<GoroutineObj>(slf)).references(), visit, arg) }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone, unless the finalizer makes another.
    unsafe {
        if (*instance::<GoroutineObj>(slf)).unread
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
        let g = instance::<GoroutineObj>(slf);
        if !(*g).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        clear(slf);
        obj::clear(&raw mut (*g).name);
        free_instance(slf);
    }
}

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(GoroutineObj, weaklist)));

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_am_await, asyncio::await_ as *const c_void),
        raw::slot(ffi::Py_tp_finalize, finalize as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, methods::repr as *const c_void),
        raw::slot(ffi::Py_tp_methods, methods::METHODS.0.as_ptr().cast()),
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
