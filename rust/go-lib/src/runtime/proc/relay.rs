//! From one Rust goroutine straight to the next, without a turn on g0.
//!
//! Any M may run a Rust goroutine as soon as it can be found. So its stack is left first, while nobody can find it,
//! and the next goroutine does on its own stack what g0 would have done for it: queues it, or opens its wait
//! (`settle`). In the same way a goroutine that ends is followed by a new one on its own stack (`entry::succeed`).
//! Everything unusual is left to g0. For host goroutines see `direct`.
//!
//! # Invariants
//! 1. From the switch until `settle` the M is inside the runtime, and its `left` is the goroutine that
//!    was left; every other M still sees it as running.
//! 2. A thread that returns to a Rust goroutine's stack calls `settle` before anything else.
//! 3. Nothing here waits, or gives the P away: a channel may be locked.

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::{ParkArgs, M};
use crate::runtime::proc::leave::open_wait;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{firstrun, getm, leave_rt, looks, pinned_by_panic, run, wake};
#[cfg(not(golib_loom))]
use crate::sys::sanitizer;

/// The goroutine that can follow `g`, which runs on `m`, at once; it is the caller's. Null: g0 must find one.
///
/// # Safety
/// On the stack of `g`, inside the runtime.
#[inline(always)]
pub(crate) unsafe fn next(m: &M, g: &G) -> *mut G {
    if g.kind.get() != Kind::Go || g.lock_depth.get() > 0 || pinned_by_panic(g) {
        return ptr::null_mut();
    }
    // SAFETY: the caller's duty.
    unsafe { take_next(m, |next| next.sched_sp.get() != 0 || firstrun::first_run_at_once(m, next)) }
}

/// Takes the next goroutine from the P's ring, if g0 would take it from there and `accept` does; else
/// null, and nothing has changed.
///
/// # Safety
/// Inside the runtime.
#[inline(always)]
pub(crate) unsafe fn take_next(m: &M, accept: impl FnOnce(&G) -> bool) -> *mut G {
    let pp = m.pp();
    if pp.is_null() || cfg!(golib_loom) {
        return ptr::null_mut();
    }
    // SAFETY: inside the runtime the P is ours; a queued G is valid, and taken from there it is ours.
    unsafe {
        let p = &*pp;
        let Some(looks) = looks::near_look(p) else { return ptr::null_mut() };
        if p.stop.load(Ordering::Relaxed) || p.has_right() && !p.hostq.is_empty() {
            return ptr::null_mut();
        }
        let (next, _) = p.runq.get(true);
        if next.is_null() {
            return next;
        }
        if !(*next).lockedm.load(Ordering::Relaxed).is_null() || !accept(&*next) {
            p.runq.put_back(next);
            return ptr::null_mut();
        }
        p.looks.set(looks);
        next
    }
}

/// Leaves the stack of `gp` for that of `next`; returns when `gp` resumes. It waits then as `args` say; without them
/// it is queued.
///
/// # Safety
/// On the stack of `gp`, inside the runtime; `next` is the caller's and its context is saved; the duty
/// of `gopark`'s caller.
#[inline(always)]
pub(crate) unsafe fn switch(m: &M, gp: *mut G, next: *mut G, args: Option<&ParkArgs>) {
    m.left.set(gp);
    m.left_waits.set(args.is_some());
    if let Some(args) = args {
        m.park_args.set(*args);
    }
    // SAFETY: the caller's duty. By 1 nobody resumes gp before its context is saved.
    unsafe {
        run::runs_now(m, &*next);
        #[cfg(not(golib_loom))]
        {
            let stack = *(*next).stack.get();
            sanitizer::leaves_for(stack.lo, stack.hi);
            crate::sys::arch::relay((*gp).sched_sp.as_ptr(), (*next).sched_sp.get());
            sanitizer::has_come();
        }
    }
}

/// Does what the goroutine that was left for this one needs, if there was one, and leaves the runtime.
///
/// # Safety
/// On the stack of a goroutine that has just come back to it, or begins.
#[inline(always)]
pub(crate) unsafe fn settle() {
    let m = getm();
    let gp = m.left.get();
    if gp.is_null() {
        return;
    }
    m.left.set(ptr::null_mut());
    // SAFETY: by 1; its context is saved. Afterwards it is anybody's.
    unsafe {
        if m.left_waits.get() {
            open_wait(m, gp, &m.park_args.get());
        } else {
            casgstatus(&*gp, GRUNNING, GRUNNABLE);
            wake::runqput_any(m, gp, false);
        }
    }
    leave_rt(m);
}
