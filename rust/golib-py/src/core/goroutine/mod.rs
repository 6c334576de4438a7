//! `golib.Goroutine`: a goroutine's handle, and what runs on its stack.
//!
//! | file | holds |
//! |---|---|
//! | [`spawn`] | making handles and starting their goroutines: `go`, `spawn` |
//! | [`life`] | what runs on a goroutine's stack, from its entry to its end |
//! | [`end`] | its last steps: what it alone holds is released |
//! | [`methods`] | the handle's methods |
//! | [`unread`] | exceptions that nobody has read yet, and their report at exit |
//!
//! The handle is the runtime's payload for the goroutine: it holds the function until it has run, then the result.
//!
//! # Invariants
//! 1. While the goroutine lives the runtime owns one reference to its payload, which [`goroutine_main`] gives back as its
//!    last step.
//! 2. `result` or `error` is set before `done` is, and not changed afterwards but by the collector.
//! 3. The collector knows a handle once its goroutine has ended: until then the runtime holds it, so that it and what it
//!    refers to are no garbage, and most handles never have to be looked at.
//! 4. On the stack of a goroutine, between its entry and its function, nothing needs dropping and nothing catches: at
//!    exit CPython may end the thread by unwinding it.
//! 5. `holder` is set by whoever first needs it, and taken at the goroutine's end; after `done` again, for what runs then.
//!
//! Go: runtime/proc.go (newproc, goexit)

mod end;
mod life;
mod methods;
mod spawn;
mod unread;

use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::{Event, GRef};
use pyo3::ffi::{self, PyObject};

use crate::core::context::ambient::Holder;
use crate::cpython::object;
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{self, free_instance, instance, Table};

pub(crate) use life::{goroutine_main, set_child_root, END_OF_CHILD};
pub(crate) use methods::{RENAMED, SUMMARY};
pub(crate) use spawn::{arguments_of, check_function, go, rest_of_call, spawn, start, Spec};
pub(crate) use unread::{forget_unread, report_unread};

/// An instance of `golib.Goroutine`.
#[repr(C)]
pub(crate) struct GoroutineObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// The runtime's goroutine; set before anybody else sees the handle.
    gref: MaybeUninit<GRef>,
    /// Until it has run.
    function: Raw,
    args: Raw,
    /// Null if there are none.
    kwargs: Raw,
    /// The contextvars that it starts with; null: none, and after the start.
    context: Raw,
    /// Null until somebody asks or the function is released.
    name: Raw,
    /// By 2.
    result: Raw,
    error: Raw,
    /// What its next or current wait is to raise.
    pending: Raw,
    /// The code that started it, and where in it; null for a main goroutine.
    origin: Raw,
    origin_lasti: c_int,
    /// `error` was neither read nor reported.
    unread: bool,
    /// The main goroutine of a `run` on the main thread: it has that thread's ident, and stands in for it.
    pub(crate) is_main: bool,
    /// Its ambient contexts and its group; null until it needs one. By 5.
    holder: *const Holder,
    done: Event,
}

/// The type `golib.Goroutine`.
pub(crate) static GOROUTINE: Global = Global::new();
/// `golib._report.uncaught(goroutine, error)`.
pub(crate) static UNCAUGHT: Global = Global::new();

impl GoroutineObj {
    /// Takes the exception that somebody left for this goroutine: an owned reference, or null.
    ///
    /// # Safety
    /// `slf` is a handle; the GIL is held.
    pub(crate) unsafe fn take_pending(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            ptr::replace(&raw mut (*g).pending, ptr::null_mut())
        }
    }

    /// What it returned, or null with its exception set, which counts as read.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended.
    pub(crate) unsafe fn outcome(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            unread::is_read(g);
            if (*g).error.is_null() {
                // Null only after the collector has cleared it.
                let result = if (*g).result.is_null() { ffi::Py_None() } else { (*g).result };
                ffi::Py_INCREF(result);
                return result;
            }
            ffi::Py_INCREF((*g).error);
            errors::restore((*g).error);
            ptr::null_mut()
        }
    }

    /// Its ambient contexts; null if it never needed any.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    #[inline]
    pub(crate) unsafe fn holder(slf: Raw) -> *const Holder {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).holder }
    }

    /// Sets what [`holder`](Self::holder) gives; the handle takes a share of it over.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has none.
    pub(crate) unsafe fn set_holder(slf: Raw, holder: *const Holder) {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).holder = holder };
    }

    /// The exception that ended it, borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn error(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).error }
    }

    /// The exception that ended it is told elsewhere: it is not reported. Borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has ended, or is about to.
    pub(crate) unsafe fn read_error(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            unread::is_read(g);
            (*g).error
        }
    }

    /// Something is left for it to raise.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn has_pending(slf: Raw) -> bool {
        // SAFETY: the caller's duty.
        unsafe { !(*instance::<GoroutineObj>(slf)).pending.is_null() }
    }

    /// The runtime's goroutine.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn gref(slf: Raw) -> GRef {
        // SAFETY: set before anybody sees the handle.
        unsafe { (*instance::<GoroutineObj>(slf)).gref.assume_init() }
    }

    /// Set at its end.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); the handle outlives the use.
    pub(crate) unsafe fn done<'a>(slf: Raw) -> &'a Event {
        // SAFETY: the caller's duty.
        unsafe { &(*instance::<GoroutineObj>(slf)).done }
    }

    /// Leaves `error` (taken over) for the goroutine to raise, and ends its wait if it waits in an operation of ours.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn interrupt(slf: Raw, error: Raw) {
        // SAFETY: the caller's duty.
        unsafe {
            let old = ptr::replace(&raw mut (*instance::<GoroutineObj>(slf)).pending, error);
            ffi::Py_XDECREF(old);
            Self::gref(slf).interrupt();
        }
    }
}

impl GoroutineObj {
    fn references(&self) -> [Raw; 9] {
        [
            self.function,
            self.args,
            self.kwargs,
            self.context,
            self.name,
            self.result,
            self.error,
            self.pending,
            self.origin,
        ]
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe { obj::visit_all(slf, (*instance::<GoroutineObj>(slf)).references(), visit, arg) }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        for slot in [
            &raw mut (*g).function,
            &raw mut (*g).args,
            &raw mut (*g).kwargs,
            &raw mut (*g).context,
            &raw mut (*g).result,
            &raw mut (*g).error,
            &raw mut (*g).pending,
            &raw mut (*g).origin,
        ] {
            obj::clear(slot);
        }
    }
    0
}

/// Reports an exception that nobody has read and nobody can read any more.
unsafe extern "C-unwind" fn finalize(slf: Raw) {
    // SAFETY: a tp_finalize: the handle may be shown to others, who may keep it.
    unsafe {
        if unread::is_read(instance::<GoroutineObj>(slf)) {
            let error = errors::fetch();
            unread::report(slf);
            if !error.is_null() {
                errors::restore(error);
            }
        }
    }
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

// The event owns nothing: a handle is freed without dropping it.
const _: () = assert!(!std::mem::needs_drop::<Event>());

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
        raw::slot(ffi::Py_am_await, crate::types::asyncio::await_ as *const c_void),
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
