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
use pyo3::ffi;

use super::child;
use super::handle::{Goroutine, GOROUTINE};
use super::unread::finalize;
use crate::core::context::ambient;
use crate::cpython::ThreadState;
use crate::ffi::class::{this, Object};
use crate::ffi::gil::Gil;
use crate::ffi::python::clear_error;
use crate::ffi::refs::{self, New};

/// How often to look again for what destructors leave behind. They may leave something each time; at a thread's end
/// CPython does not even look twice.
const MOST_ROUNDS: u32 = 1000;

/// Ends the goroutine with the handle `g`, which is done, and gives the runtime's reference back. True: the state may
/// serve another goroutine.
///
/// # Safety
/// On the goroutine's own stack, `ts` attached; no frame of its function is left.
#[inline]
pub(super) unsafe fn end(gil: Gil<'_>, g: &Object<Goroutine>, ts: ThreadState) -> bool {
    // SAFETY: as the caller says; by 1 the runtime's reference is ours to give back.
    unsafe {
        let retired = if is_bare(gil, g) { ts.retire() } else { None };
        let (g, clean) = match retired {
            Some(clean) => (g, clean),
            None => release(gil, g, ts),
        };
        ts.leave_thread();
        child::end_if_forked(gil, g);
        embedder::set_host(ptr::null_mut());
        let own = New::owned(g.object().as_raw());
        if own.get().is_shared(gil) {
            // Something keeps it, if only its group, as a member that failed: by 3 of the module.
            ffi::PyObject_GC_Track(own.get().as_raw().cast());
        }
        own.release(gil);
        clean
    }
}

/// True if nothing is left that only this goroutine holds.
#[inline(always)]
fn is_bare(gil: Gil<'_>, g: &Object<Goroutine>) -> bool {
    let x = gil.exclusive();
    g.holder.get(x).is_null()
        && (g.object().is_shared(gil)
            || (!g.weaklist.is_in_use() && g.references().iter().all(|slot| slot.is_empty(x))))
}

/// Releases until nothing is left; the payload, which may have become another, and whether the state may be reused. By 4 of
/// the module nothing here needs dropping.
///
/// # Safety
/// As of [`end`].
#[inline(never)]
unsafe fn release<'g>(
    gil: Gil<'g>,
    mut g: &'g Object<Goroutine>,
    ts: ThreadState,
) -> (&'g Object<Goroutine>, bool) {
    // SAFETY: as the caller says.
    unsafe {
        let mut reusable = true;
        for _ in 0..MOST_ROUNDS {
            g = strip(gil, g);
            if is_bare(gil, g) {
                if let Some(clean) = ts.retire() {
                    return (g, clean && reusable);
                }
            }
            reusable &= ts.drop_leftovers();
            if is_bare(gil, g) {
                if let Some(clean) = ts.retire() {
                    return (g, clean && reusable);
                }
            }
        }
        ts.abandon();
        g.holder.set(gil.exclusive(), ptr::null());
        // By 1 it lives forever.
        let _ = g.object().own(gil).give();
        (g, ts.retire().unwrap_or(false) && reusable)
    }
}

/// Releases the objects that the payload alone holds; returns the new payload.
fn strip<'g>(gil: Gil<'g>, g: &'g Object<Goroutine>) -> &'g Object<Goroutine> {
    let x = gil.exclusive();
    let holder = g.holder.replace(x, ptr::null());
    if !holder.is_null() {
        // SAFETY: the handle's share.
        unsafe { ambient::end(holder) };
    }
    if g.object().is_shared(gil) {
        return g;
    }
    if g.unread.get(x) {
        finalize(gil, g);
        if g.object().is_shared(gil) {
            return g;
        }
    }
    if g.weaklist.is_in_use() {
        return replace(gil, g);
    }
    g.drop_references(gil);
    g.name.clear(gil);
    g
}

/// Lets the handle die, whose weak references have callbacks; the payload is another handle meanwhile.
fn replace<'g>(gil: Gil<'g>, g: &'g Object<Goroutine>) -> &'g Object<Goroutine> {
    let Some(other) = bare_handle(gil, Goroutine::new()) else {
        clear_error(gil);
        return g;
    };
    // SAFETY: nobody has seen it. The goroutine's reference to its payload passes from one to the other.
    unsafe {
        let new = this::<Goroutine>(other.give());
        new.set_g(g.g());
        refs::release(gil, new.name.put(gil.exclusive(), g.name.get(gil)));
        new.done.set();
        child::inherit_child(g.object().as_raw(), new.object().as_raw());
        embedder::set_host(new.object().as_raw().cast());
        New::owned(g.object().as_raw()).release(gil);
        new
    }
}

/// A handle that nobody else knows, nor the collector: by 3 of the module. None: an exception is set.
#[inline(always)]
pub(super) fn bare_handle(gil: Gil<'_>, fields: Goroutine) -> Option<New> {
    Some(GOROUTINE.get(gil).ok()?.make_bare(gil, fields).ok()?.into_new())
}
