//! The loop of an M and the entry of a goroutine.
//!
//! # Invariants
//! 1. The loop runs on g0 with `in_rt == 1`; a goroutine runs with `in_rt == 0`.
//! 2. `attached` is the host state attached on this thread. It may be the state of a goroutine
//!    that has parked or ended: that is sound as long as this M holds P 0, since only P 0's M runs
//!    host goroutines. It is detached before P 0 is given away (`detach`).
//!
//! Go: runtime/proc.go (schedule, execute, gogo)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::embedder;
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{
    exit, find, getm, leave_rt, locked, newproc, procs, relay, sysmon, throw, wake,
};
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
        if sched().exiting.load(Ordering::Relaxed) {
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
            if !wake::take_stranded_p(m) {
                wake::stopm(m);
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
        if debug_migrate() && goes_elsewhere(m, gp) && wake::pass_p_on(m, gp) {
            continue;
        }
        if newproc::ready_to_run(m, gp) {
            return gp;
        }
    }
}

/// The migration soak: whether another M is to run `gp`, taken from a queue. That is so for each host goroutine after one
/// that ran on `m`, and for one that ran on `m` last, however the P came back here.
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
        if sched().exiting.load(Ordering::Relaxed) {
            // at_exit waits for Ms inside the runtime: it saw us attach, do not go on.
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

/// Makes `g`, taken from a queue, the goroutine that runs on `m`.
#[inline(always)]
pub(crate) fn runs_now(m: &M, g: &G) {
    casgstatus(g, GRUNNABLE, GRUNNING);
    m.curg.set((g as *const G).cast_mut());
    // Release: others read m through g; pairs with Acquire in GRef::pthread.
    g.m.store((m as *const M).cast_mut(), Ordering::Release);
    // SAFETY: inside the runtime the P is ours.
    unsafe {
        let p = &*m.pp();
        if sysmon::sleeps() && (p.timers.next_when() != NEVER || !p.is_idle_inside()) {
            sysmon::kick(sched());
        }
        let tick = &p.schedtick;
        // Relaxed, no RMW: one writer; sysmon only compares.
        tick.store(tick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// Makes `state` the attached one.
#[inline(always)]
fn attach(m: &M, state: *mut ()) {
    let from = m.attached.get();
    if from == state {
        return;
    }
    attach_slow(m, from, state);
}

#[inline]
fn attach_slow(m: &M, from: *mut (), state: *mut ()) {
    let Some(t) = embedder::table() else { throw("a host goroutine without a host") };
    // SAFETY: on g0, no lock held, both states by 2 ours.
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
    if let Some(t) = embedder::table() {
        // SAFETY: on g0, no lock held; attached by us.
        unsafe { (t.detach)(from) };
    }
}

/// The first function on a goroutine's stack; a host goroutine's may be followed by others there.
///
/// For a host goroutine there is no landing pad here and nothing to drop: by the embedder's
/// invariant 3 a forced unwinding may pass.
pub(crate) unsafe extern "C-unwind" fn goentry() -> ! {
    sanitizer::has_come();
    let mut gp = getm().curg.get();
    // SAFETY: curg is the goroutine that runs here; after its end nothing of it is left on the stack.
    unsafe {
        while (*gp).kind.get() == Kind::Go {
            relay::settle();
            newproc::run_start(gp);
            gp = newproc::succeed_or_exit(gp);
        }
        let Some(t) = embedder::table() else { throw("a host goroutine without a host") };
        loop {
            let (host, state) = (&(*gp).host, &(*gp).host_state);
            if !(t.main)(host.load(Ordering::Relaxed), state.load(Ordering::Relaxed)) {
                newproc::goexit(gp, false);
            }
            gp = newproc::succeed_or_exit(gp);
        }
    }
}
