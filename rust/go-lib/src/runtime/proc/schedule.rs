//! The loop of an M.
//!
//! # Invariants
//! 1. The loop runs on g0 with `in_rt == 1`; a goroutine runs with `in_rt == 0`.
//!
//! Go: runtime/proc.go (schedule, execute)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::M;
use crate::runtime::proc::attach::{attach, detach};
use crate::runtime::proc::run::runs_now;
use crate::runtime::proc::{exit, find, firstrun, leave_rt, lists, locked, procs, stop, throw};
use crate::runtime::sched::{debug_migrate, sched};
use crate::sys::{arch, sanitizer};

/// Runs goroutines until the M ends.
pub(crate) fn schedule(m: &'static M) {
    loop {
        let gp = next(m);
        if gp.is_null() {
            return;
        }
        execute(m, gp);
        // The goroutine left by mcall; its context is saved.
        let gp = m.curg.get();
        match m.mcall_fn.take() {
            // SAFETY: on g0, with the goroutine that just left.
            Some(f) => unsafe { f((m as *const M).cast_mut(), gp) },
            None => throw("a goroutine left without mcall"),
        }
        m.curg.set(ptr::null_mut());
    }
}

/// The goroutine to run next; waits for it. Null: the M ends.
fn next(m: &'static M) -> *mut G {
    loop {
        if sched().is_ending() {
            exit::stop_this_m(m);
        }
        if !m.lockedg.get().is_null() {
            return locked::stoplockedm(m);
        }
        if m.pp().is_null() {
            if m.ends.get() {
                return ptr::null_mut();
            }
            detach(m);
            if !lists::take_stranded_p(m) {
                stop::stopm(m);
            }
            continue;
        }
        // SAFETY: inside the runtime the P is ours.
        if unsafe { (*m.pp()).stop.load(Ordering::Relaxed) } {
            procs::give_up_p(m);
            continue;
        }
        let gp = find::find_runnable(m);
        if gp.is_null() {
            continue;
        }
        // SAFETY: a G from a queue is valid.
        if !unsafe { (*gp).lockedm.load(Ordering::Relaxed) }.is_null() {
            locked::startlockedm(m, gp);
            continue;
        }
        if debug_migrate() && goes_elsewhere(m, gp) && stop::pass_p_on(m, gp) {
            continue;
        }
        if firstrun::ready_to_run(m, gp) {
            return gp;
        }
    }
}

/// The migration soak: whether another M must run `gp`, taken from a queue. That is so for each host goroutine after
/// one that ran on `m`, and for one that ran on `m` last, however the P came back here.
fn goes_elsewhere(m: &M, gp: *mut G) -> bool {
    // SAFETY: taken from a queue: ours.
    let g = unsafe { &*gp };
    // Relaxed: only compared.
    let ran_here = ptr::eq(g.m.load(Ordering::Relaxed), m);
    g.kind.get() == Kind::Host && (ran_here || !m.attached.get().is_null())
}

/// Runs `gp` until it leaves its stack.
#[inline(always)]
fn execute(m: &'static M, gp: *mut G) {
    // SAFETY: taken from a queue: ours.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Host {
        attach(m, g.host_state.load(Ordering::Relaxed));
        if sched().is_ending() {
            // at_exit waits for Ms inside the runtime: it saw this one attach, so stop here.
            exit::stop_this_m(m);
        }
    } else {
        detach(m);
    }
    runs_now(m, g);
    leave_rt(m);
    // SAFETY: gp's context is saved and nobody else runs it.
    unsafe {
        let stack = *g.stack.get();
        sanitizer::leaves_for(stack.lo, stack.hi);
        arch::resume(m.g0_sp.as_ptr(), g.sched_sp.get());
    }
    sanitizer::has_come();
}
