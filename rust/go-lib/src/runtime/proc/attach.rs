//! Which host state is attached on an M.
//!
//! # Invariants
//! 1. `attached` is the host state attached on this thread. It may be the state of a goroutine
//!    that has parked or ended: that is sound as long as this M holds P 0, since only P 0's M runs
//!    host goroutines. It is detached before P 0 is given away (`detach`).

use std::ptr;

use crate::runtime::object::host;
use crate::runtime::object::m::M;
use crate::runtime::proc::throw;

/// Makes `state` the attached one.
#[inline(always)]
pub(crate) fn attach(m: &M, state: *mut ()) {
    let from = m.attached.get();
    if from == state {
        return;
    }
    attach_slow(m, from, state);
}

#[inline]
fn attach_slow(m: &M, from: *mut (), state: *mut ()) {
    let Some(t) = host::table() else { throw("a host goroutine without a host") };
    // SAFETY: on g0, no lock held, both states by 1 ours.
    unsafe {
        if from.is_null() {
            (t.attach)(state);
        } else {
            (t.swap)(from, state);
        }
    }
    m.attached.set(state);
}

/// Gives the interpreter up if this M holds it.
#[inline(always)]
pub(crate) fn detach(m: &M) {
    let from = m.attached.get();
    if !from.is_null() {
        detach_slow(m, from);
    }
}

#[cold]
fn detach_slow(m: &M, from: *mut ()) {
    m.attached.set(ptr::null_mut());
    if let Some(t) = host::table() {
        // SAFETY: on g0, no lock held; attached by us.
        unsafe { (t.detach)(from) };
    }
}
