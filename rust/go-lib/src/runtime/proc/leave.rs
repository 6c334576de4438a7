//! Off the stack: what is done with a goroutine that has left it.
//!
//! # The hand-shake of a wait
//! On g0 `park_m` makes the status Gwaiting, opens the claim word, arms the
//! timer and only then calls `unlockf`, which lets go of the lock: so whoever can find the sudogs
//! finds a G that may be readied. A timer or an interrupt can win before `unlockf` has run; the G
//! then runs elsewhere and waits for the channel's lock, since it must take its sudogs out. A host
//! goroutine that holds P 0 does all of this on its own stack: see `direct`. When a Rust goroutine is left
//! for another one, that other one does it: see `relay`.
//!
//! Go: runtime/proc.go (mcall, park_m, gosched_m)

use crate::prim::Ordering;
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GRUNNING, GWAITING};
use crate::runtime::object::host;
use crate::runtime::object::m::{McallFn, ParkArgs, M, NEVER};
use crate::runtime::proc::attach::detach;
use crate::runtime::proc::ready::make_runnable;
use crate::runtime::proc::status::casgstatus;
#[cfg(not(golib_loom))]
use crate::runtime::proc::upcall;
use crate::runtime::proc::{pinned_by_panic, wake};
use crate::runtime::sched::sched;
#[cfg(not(golib_loom))]
use crate::sys::sanitizer;

/// Leaves the running goroutine's stack; `f` runs on g0. Returns when the goroutine resumes,
/// perhaps on another thread.
///
/// # Safety
/// Called on a goroutine's stack, inside the runtime.
#[inline(always)]
pub(crate) unsafe fn mcall(m: &M, gp: *mut G, f: McallFn) {
    m.mcall_fn.set(Some(f));
    // SAFETY: g0_sp was saved when this goroutine was entered; the loop on g0 waits there.
    #[cfg(not(golib_loom))]
    unsafe {
        sanitizer::leaves_for_g0();
        crate::sys::arch::leave((*gp).sched_sp.as_ptr(), m.g0_sp.get());
        sanitizer::has_come();
    }
    #[cfg(golib_loom)]
    {
        let _ = gp;
        crate::prim::context_is_saved();
    }
}

/// The second half of `gopark`, on g0.
///
/// # Safety
/// `gp` just left its stack on `m`, which is inside the runtime; `park_args` are its own.
pub(crate) unsafe fn park_m(m: *mut M, gp: *mut G) {
    // SAFETY: g0's caller passes its own M.
    let m = unsafe { &*m };
    let args = m.park_args.get();
    pin_if_needed(m, gp);
    let without_p = m.pp().is_null();
    if without_p {
        // Relaxed: the interpreter, given up next, orders it; see `fork::before_fork`.
        sched().unlocking.fetch_add(1, Ordering::Relaxed);
        leave_host_without_p(m);
    }
    m.curg.set(std::ptr::null_mut());
    // SAFETY: the caller's duty; the context of gp is saved.
    let opened = unsafe { make_claimable(m, gp, &args) };
    if without_p {
        // Release: the locks are free; pairs with the Acquire in `fork::before_fork`.
        sched().unlocking.fetch_sub(1, Ordering::Release);
    }
    if !opened {
        refused(m, gp);
    }
}

/// Everything a park does with a goroutine that is off its stack, or that nobody else can run.
///
/// # Safety
/// `gp` runs on `m`, which is inside the runtime; `args` are its own. Afterwards another M may run it,
/// unless `m` alone can.
#[inline(always)]
pub(crate) unsafe fn open_wait(m: &M, gp: *mut G, args: &ParkArgs) {
    // SAFETY: the caller's duty.
    if !unsafe { make_claimable(m, gp, args) } {
        refused(m, gp);
    }
}

/// Lets wakers at the wait; false: it was refused, and nobody else readies `gp`.
///
/// # Safety
/// As [`open_wait`].
#[inline(always)]
unsafe fn make_claimable(m: &M, gp: *mut G, args: &ParkArgs) -> bool {
    // SAFETY: Gs are never freed.
    let g = unsafe { &*gp };
    casgstatus(g, GRUNNING, GWAITING);
    g.waitsince.store(0, Ordering::Relaxed);
    event::pass(gp, Event::Blocks(g.waitreason.get()));
    let opened = g.wait.begin();
    // SAFETY: the parker's duty.
    unsafe {
        if opened && args.deadline_ns != NEVER {
            arm(m, gp, args.deadline_ns);
        }
        (args.unlockf)(gp, args.arg);
    }
    opened
}

/// Arms the timer of the wait that `gp` has opened.
///
/// # Safety
/// As [`open_wait`].
#[inline(never)]
unsafe fn arm(m: &M, gp: *mut G, when: i64) {
    // SAFETY: Gs are never freed.
    let generation = unsafe { (*gp).wait.generation() };
    // SAFETY: gp's timer is disarmed after each wait; Ps are never freed.
    wake::arm_timer(m, when, |timers| unsafe { timers.arm(gp, when, generation) });
}

/// An interrupt was pending: `gp` is runnable again at once.
#[cold]
#[inline(never)]
fn refused(m: &M, gp: *mut G) {
    event::pass(gp, Event::Unblocks);
    // SAFETY: nobody else readies it.
    unsafe { make_runnable(m, gp, true) };
}

/// An M that lost its P gives the interpreter up before its goroutine can be found: another M may
/// attach the same state at once. With P 0 nobody else can, so the state stays attached.
#[inline(always)]
pub(crate) fn leave_host_without_p(m: &M) {
    if m.pp().is_null() {
        // A goroutine that has just forked may be the first that leaves its stack in the child.
        #[cfg(not(golib_loom))]
        upcall::ensure_started();
        detach(m);
    }
}

/// Keeps the M for `gp` if it must resume on this thread; returns true if so.
#[inline(always)]
pub(crate) fn pin_if_needed(m: &M, gp: *mut G) -> bool {
    // SAFETY: gp just left this M.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Host {
        pin_host_if_needed(m, gp)
    } else {
        pin_if(m, gp, g.lock_depth.get() > 0 || pinned_by_panic(g))
    }
}

/// `pin_if_needed` for a host goroutine.
#[inline(always)]
pub(crate) fn pin_host_if_needed(m: &M, gp: *mut G) -> bool {
    // SAFETY: gp runs on this M, or has just left it.
    let g = unsafe { &*gp };
    let caller = m.caller.replace(std::ptr::null());
    let may_migrate = || {
        let state = g.host_state.load(Ordering::Relaxed);
        // SAFETY: the goroutine's state is attached here and the goroutine is parked.
        host::table().is_some_and(|t| unsafe { (t.may_migrate)(state, caller) })
    };
    pin_if(m, gp, g.lock_depth.get() > 0 || !may_migrate())
}

#[inline(always)]
fn pin_if(m: &M, gp: *mut G, pinned: bool) -> bool {
    if pinned {
        keep_m(m, gp);
    }
    pinned
}

/// Queues a goroutine that has left its stack: with its M's P, or for one.
///
/// # Safety
/// As [`park_m`].
pub(crate) unsafe fn gosched_m(m: *mut M, gp: *mut G) {
    // SAFETY: as park_m. Runnable, in no queue, its context saved.
    unsafe {
        stops_running(&*m, gp);
        wake::runqput_any(&*m, gp, false);
    }
}

/// Puts a goroutine that has used up its time slice into the global queue. In its P's ring it would come before those
/// in the global queue, which is looked at first only once in 61 times; here that means once in 61 slices.
pub(crate) unsafe fn gopreempt_m(m: *mut M, gp: *mut G) {
    let s = sched();
    // SAFETY: as gosched_m.
    unsafe {
        stops_running(&*m, gp);
        s.globrunqput(&mut s.inner.lock(), gp);
    }
    wake::wake_for_global(s);
}

/// The goroutine that has left its stack on `m` no longer runs.
///
/// # Safety
/// As `park_m`.
unsafe fn stops_running(m: &M, gp: *mut G) {
    pin_if_needed(m, gp);
    leave_host_without_p(m);
    // SAFETY: Gs are never freed.
    casgstatus(unsafe { &*gp }, GRUNNING, GRUNNABLE);
    m.curg.set(std::ptr::null_mut());
}

/// Ties the goroutine that is leaving to this M.
#[cold]
#[inline(never)]
pub(crate) fn keep_m(m: &M, gp: *mut G) {
    m.lockedg.set(gp);
    // SAFETY: gp is leaving this M. Release: pairs with the
    // Acquire in startlockedm.
    unsafe { (*gp).lockedm.store((m as *const M).cast_mut(), Ordering::Release) };
}
