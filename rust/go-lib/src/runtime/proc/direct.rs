//! From one host goroutine straight to the next, without a turn on g0.
//!
//! Host goroutines run on P 0 only, and only its M takes them out of its queue. So as long as an M
//! is inside the runtime with P 0, nobody can run the host goroutine that it runs, even if it can
//! be found and claimed: its park can be done on its own stack, before its context is saved. If
//! then a goroutine comes next that has run before, and whose state can be attached without
//! waiting, its stack is switched to at once: one switch instead of two, and no turn of the
//! scheduler's loop. Everything unusual is left to g0. In the same way a goroutine that ends is
//! followed by a new one on its own stack (`entry::succeed`).
//!
//! Returns behind a switch are slow: the CPU predicts them from the calls that the left goroutine
//! made, rightly as long as both came here the same way. So there are few frames between an
//! operation and `gopark`, and all parks share that one.
//!
//! # Invariants
//! 1. The M holds P 0 and is inside the runtime until the context is saved: the switch itself leaves
//!    the runtime, after it.
//! 2. Nothing here waits, gives the interpreter up, or gives the P away.
//! 3. `curg` stays the leaving goroutine until the next one is chosen: a guard that is hit here is
//!    its own.

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GRUNNING};
use crate::runtime::object::host;
use crate::runtime::object::m::{ParkArgs, M};
use crate::runtime::proc::leave::{mcall, open_wait, pin_host_if_needed};
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{leave_rt, looks, run, wake};
#[cfg(not(golib_loom))]
use crate::sys::sanitizer;

/// True if `g`, which runs on `m`, can leave its stack this way: by 1.
#[inline(always)]
pub(crate) fn serves(m: &M, g: &G) -> bool {
    g.kind.get() == Kind::Host && !m.pp().is_null()
}

/// Parks `gp`; returns when it resumes. See `park::gopark`.
///
/// # Safety
/// On the stack of `gp`, inside the runtime, `serves` holds; the duty of `gopark`'s caller.
#[inline(always)]
pub(crate) unsafe fn park(m: &M, gp: *mut G, args: &ParkArgs) {
    let pinned = pin_host_if_needed(m, gp);
    // SAFETY: the caller's duty. From here on the wait can be claimed; by 1 nobody runs gp.
    unsafe {
        open_wait(m, gp, args);
        go_on(m, gp, pinned);
    }
}

/// Lets the others in P 0's queue run first; returns when `gp` resumes. See `park::gosched`.
///
/// # Safety
/// As [`park`].
#[inline(always)]
pub(crate) unsafe fn gosched(m: &M, gp: *mut G) {
    let pinned = pin_host_if_needed(m, gp);
    // SAFETY: the caller's duty. From here on it can be found; by 1 nobody runs it.
    unsafe {
        casgstatus(&*gp, GRUNNING, GRUNNABLE);
        wake::runqput_any(m, gp, false);
        go_on(m, gp, pinned);
    }
}

/// Leaves the stack of `gp`, which is queued or waits, for that of the goroutine to run next;
/// returns when `gp` resumes.
///
/// # Safety
/// As [`park`]; `pinned` says whether the M is kept for `gp`.
#[inline(always)]
unsafe fn go_on(m: &M, gp: *mut G, pinned: bool) {
    let next = if pinned { ptr::null_mut() } else { next(m, gp) };
    // SAFETY: on the goroutine's stack, inside the runtime; next, taken from the queue, is ours.
    unsafe {
        if next.is_null() {
            mcall(m, gp, has_parked);
            return;
        }
        run::runs_now(m, &*next);
        if next == gp {
            leave_rt(m);
            return;
        }
        switch(m, &*gp, &*next);
    }
}

/// On g0, for a goroutine that has parked on its own stack: there is nothing left to do.
unsafe fn has_parked(_m: *mut M, _gp: *mut G) {}

/// The goroutine to run next, its state attached; null if g0 must look for it.
#[inline(always)]
fn next(m: &M, gp: *mut G) -> *mut G {
    // SAFETY: by 1; queued Gs are valid.
    unsafe { take_next(m, |next| next == gp || can_follow(m, &*next)) }
}

/// Takes the next goroutine from P 0's queue, if g0 would take it and `accept` does; else null, and
/// nothing has changed.
///
/// # Safety
/// By 1.
#[inline(always)]
pub(crate) unsafe fn take_next(m: &M, accept: impl FnOnce(*mut G) -> bool) -> *mut G {
    // SAFETY: the caller's duty: the P is ours.
    unsafe {
        let p = &*m.pp();
        debug_assert!(p.has_right());
        let Some(looks) = looks::near_look(p) else { return ptr::null_mut() };
        let head = p.hostq.head();
        if head.gp().is_null() || !accept(head.gp()) {
            return ptr::null_mut();
        }
        p.looks.set(looks);
        p.hostq.take(head);
        head.gp()
    }
}

/// True if `next` can run on this M at once; its state is attached then.
#[inline(always)]
fn can_follow(m: &M, next: &G) -> bool {
    // A first run needs a stack; a goroutine with an M of its own needs that.
    if next.sched_sp.get() == 0 || !next.lockedm.load(Ordering::Relaxed).is_null() {
        return false;
    }
    let (from, to) = (m.attached.get(), next.host_state.load(Ordering::Relaxed));
    let Some(t) = host::table() else { return false };
    // SAFETY: both states are ours, `from` is attached, and nothing is locked.
    if from.is_null() || !unsafe { (t.swap_at_once)(from, to) } {
        return false;
    }
    m.attached.set(to);
    true
}

/// Saves the context of `g`, leaves the runtime, and continues as `next`.
///
/// # Safety
/// The context of `next` is saved, and this M owns it; by 1.
#[inline(always)]
unsafe fn switch(m: &M, g: &G, next: &G) {
    // SAFETY: the caller's duty.
    #[cfg(not(golib_loom))]
    unsafe {
        let stack = *next.stack.get();
        sanitizer::leaves_for(stack.lo, stack.hi);
        // As leave_rt: Release, after the context is saved; pairs with Acquire in take_p.
        crate::sys::arch::switch(g.sched_sp.as_ptr(), next.sched_sp.get(), m.in_rt.as_ptr());
        sanitizer::has_come();
    }
    #[cfg(golib_loom)]
    {
        let _ = (g, next);
        crate::prim::context_is_saved();
        leave_rt(m);
    }
}
