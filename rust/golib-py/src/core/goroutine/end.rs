//! A goroutine's last steps: everything that it alone still holds is released on its own stack.
//!
//! Releasing an object may run Python code: the panic handler, a `__del__`, a weak reference's callback. That code may do
//! whatever a goroutine may: wait, open a `timeout`, fork, and leave something new behind. So the goroutine keeps its
//! payload, and with it its ambient contexts and its ident, until nothing is left to be released.
//!
//! # Invariants
//! 1. When the runtime's reference is given back, the handle is held by others, or holds nothing itself: either way no
//!    Python code runs.
//! 2. The thread state is empty then, and no longer found by its ident (`ThreadState::retire`).

use std::ptr;

use go_lib::runtime::embedder;
use pyo3::ffi::{self, PyObject};

use super::child;
use super::handle::{clear, GoroutineObj, GOROUTINE};
use super::unread::{self, finalize};
use crate::core::context::ambient;
use crate::cpython::ThreadState;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::instance;

/// How often what destructors leave behind is looked at again. They may do so forever; at a thread's end CPython does
/// not even look twice.
const MOST_ROUNDS: u32 = 1000;

/// Ends the goroutine with the handle `slf`, which is done, and gives the runtime's reference back. True: the state may
/// serve another goroutine.
///
/// # Safety
/// On the goroutine's own stack, `ts` attached; no frame of its function is left.
#[inline]
pub(super) unsafe fn end(slf: Raw, ts: ThreadState) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        if (*instance::<GoroutineObj>(slf)).unread && ffi::Py_REFCNT(slf) > 1 {
            unread::remember(instance::<GoroutineObj>(slf));
        }
        let retired = if is_bare(slf) { ts.retire() } else { None };
        let (slf, clean) = match retired {
            Some(clean) => (slf, clean),
            None => release(slf, ts),
        };
        ts.leave_thread();
        child::end_if_forked(slf);
        embedder::set_host(ptr::null_mut());
        if ffi::Py_REFCNT(slf) > 1 {
            // Something keeps it, if only its group, as a member that failed: by 3 of the module.
            ffi::PyObject_GC_Track(slf.cast());
        }
        ffi::Py_DECREF(slf);
        clean
    }
}

/// Nothing is left that only this goroutine holds.
#[inline(always)]
unsafe fn is_bare(slf: Raw) -> bool {
    // SAFETY: the goroutine's own handle.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        let held_by_others = ffi::Py_REFCNT(slf) > 1;
        (*g).holder.is_null()
            && (held_by_others
                || ((*g).weaklist.is_null() && (*g).references().iter().all(|r| r.is_null())))
    }
}

/// Releases until nothing is left; the payload, which may have become another, and whether the state may be reused.
#[inline(never)]
unsafe fn release(mut slf: Raw, ts: ThreadState) -> (Raw, bool) {
    // SAFETY: the caller's duty. By 4 of the module nothing here needs dropping.
    unsafe {
        let mut reusable = true;
        for _ in 0..MOST_ROUNDS {
            slf = strip(slf);
            if is_bare(slf) {
                if let Some(clean) = ts.retire() {
                    return (slf, clean && reusable);
                }
            }
            reusable &= ts.drop_leftovers();
            if is_bare(slf) {
                if let Some(clean) = ts.retire() {
                    return (slf, clean && reusable);
                }
            }
        }
        ts.abandon();
        (*instance::<GoroutineObj>(slf)).holder = ptr::null();
        // By 1 it lives forever.
        ffi::Py_INCREF(slf);
        (slf, ts.retire().unwrap_or(false) && reusable)
    }
}

/// Releases the objects that the payload alone holds; returns the new payload.
unsafe fn strip(slf: Raw) -> Raw {
    // SAFETY: the goroutine's own handle.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        let holder = ptr::replace(&raw mut (*g).holder, ptr::null());
        if !holder.is_null() {
            ambient::end(holder);
        }
        if ffi::Py_REFCNT(slf) > 1 {
            return slf;
        }
        if (*g).unread {
            finalize(slf);
            if ffi::Py_REFCNT(slf) > 1 {
                return slf;
            }
        }
        if !(*g).weaklist.is_null() {
            return replace(slf);
        }
        clear(slf);
        obj::clear(&raw mut (*g).name);
        slf
    }
}

/// Lets the handle die, whose weak references have callbacks; the payload is another handle meanwhile.
unsafe fn replace(slf: Raw) -> Raw {
    // SAFETY: the goroutine's own handle, which nobody else holds.
    unsafe {
        let other = ffi::PyObject_GC_New::<PyObject>(GOROUTINE.get().cast());
        if other.is_null() {
            ffi::PyErr_Clear();
            return slf;
        }
        let (old, new) = (instance::<GoroutineObj>(slf), instance::<GoroutineObj>(other));
        ptr::write_bytes(
            other.add(1).cast::<u8>(),
            0,
            size_of::<GoroutineObj>() - size_of::<PyObject>(),
        );
        (*new).gref = (*old).gref;
        (*new).name = (*old).name;
        ffi::Py_XINCREF((*new).name);
        ptr::write(&raw mut (*new).done, embedder::Event::new());
        (*new).done.set();
        child::inherit_child(slf, other);
        embedder::set_host(other.cast());
        ffi::Py_DECREF(slf);
        other
    }
}
