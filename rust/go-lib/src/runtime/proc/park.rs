//! Leaving the CPU: gopark, gosched.
//!
//! The waiter links its sudogs under the channel's lock and calls `gopark`, which leaves the
//! goroutine's stack; `leave` has the hand-shake with whoever wakes it. An OS thread sleeps on its M's note: see
//! `threadpark`.
//!
//! Go: runtime/proc.go (gopark, Gosched)

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::{ParkArgs, M, NEVER};
use crate::runtime::object::timers::Timers;
use crate::runtime::object::wait::{WaitError, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::leave::{gopreempt_m, gosched_m, mcall, park_m};
use crate::runtime::proc::threadpark::thread_park;
use crate::runtime::proc::{direct, enter_rt_on, getm, kick, leave_rt, relay};
use crate::runtime::sched::sched;

/// Parks the calling goroutine or thread until its wait is claimed; returns the winner.
///
/// `unlockf(gp, arg)` is called once the wait can be claimed. After any result but `Peer` the
/// caller takes its own sudogs out of their queues.
///
/// # Safety
/// The locks that `unlockf` releases are held; `arg` is what it expects.
#[inline]
pub(crate) unsafe fn gopark(
    unlockf: unsafe fn(*mut G, *mut ()),
    arg: *mut (),
    reason: WaitReason,
    deadline_ns: Option<i64>,
) -> Wake {
    let m = getm();
    let gp = m.curg.get();
    // SAFETY: curg is valid and ours.
    let g = unsafe { &*gp };
    g.waitreason.set(reason);
    if g.kind.get() == Kind::Thread {
        // SAFETY: the caller's duty.
        return unsafe { thread_park(m, gp, unlockf, arg, deadline_ns) };
    }
    enter_rt_on(m);
    let args = ParkArgs { unlockf, arg, deadline_ns: deadline_ns.unwrap_or(NEVER) };
    // SAFETY: on the goroutine's stack, inside the runtime. The resuming thread has left the runtime.
    unsafe {
        if direct::serves(m, g) {
            direct::park(m, gp, &args);
        } else {
            let next = relay::next(m, g);
            if next.is_null() {
                m.park_args.set(args);
                mcall(m, gp, park_m);
            } else {
                relay::switch(m, gp, next, Some(&args));
            }
            relay::settle();
        }
    }
    let wake = g.wait.outcome();
    if deadline_ns.is_some() && wake != Wake::Timeout {
        // SAFETY: the timer is ours.
        unsafe { Timers::disarm(&g.timer) };
    }
    wake
}

/// Lets the other runnable goroutines run first.
pub(crate) fn gosched() {
    let m = getm();
    let gp = m.curg.get();
    // SAFETY: curg is valid.
    if unsafe { (*gp).kind.get() } == Kind::Thread {
        std::thread::yield_now();
        return;
    }
    enter_rt_on(m);
    if !others_want_p(m) {
        leave_rt(m);
        return;
    }
    // SAFETY: on the goroutine's stack, inside the runtime.
    unsafe {
        if direct::serves(m, &*gp) {
            direct::gosched(m, gp);
        } else {
            let next = relay::next(m, &*gp);
            if next.is_null() {
                mcall(m, gp, gosched_m);
            } else {
                relay::switch(m, gp, next, None);
            }
            relay::settle();
        }
    }
}

/// Yields if sysmon has asked the calling goroutine to. To be called in code that computes for long without a park, but
/// takes a lock now and then.
#[inline(always)]
pub(crate) fn yield_if_asked() {
    if kick::wants_a_yield() {
        yield_if_it_is_us();
    }
}

#[cold]
#[inline(never)]
fn yield_if_it_is_us() {
    let m = getm();
    // A host's goroutine, or g0, may be here instead, long after the other was asked.
    // SAFETY: curg is valid, if there is one.
    let is_rust = unsafe { m.curg.get().as_ref() }.is_some_and(|g| g.kind.get() == Kind::Go);
    if is_rust && m.yield_asked.load(Ordering::Relaxed) {
        m.yield_asked.store(false, Ordering::Relaxed);
        enter_rt_on(m);
        if !others_want_p(m) {
            leave_rt(m);
            return;
        }
        // SAFETY: on the goroutine's stack, inside the runtime.
        unsafe {
            mcall(m, m.curg.get(), gopreempt_m);
            relay::settle();
        }
    }
}

/// True if a switch could run somebody else: the common case of a lone goroutine stays on its
/// stack.
#[inline]
fn others_want_p(m: &M) -> bool {
    let pp = m.pp();
    if pp.is_null() {
        return true;
    }
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*pp };
    !p.is_idle_inside()
        || p.timers.next_when() != NEVER
        || sched().runqsize.load(Ordering::Relaxed) != 0
        || p.stop.load(Ordering::Relaxed)
        || sched().is_ending()
        || crate::runtime::sched::debug_migrate()
}

unsafe fn nothing_to_unlock(_: *mut G, _: *mut ()) {}

/// Parks without a waker; only an interrupt or the deadlock detector ends it.
pub(crate) fn park_forever(reason: WaitReason) -> WaitError {
    loop {
        // SAFETY: no locks to release.
        match unsafe { gopark(nothing_to_unlock, std::ptr::null_mut(), reason, None) } {
            Wake::Interrupt => return WaitError::Interrupted,
            Wake::Deadlock => return WaitError::Deadlock,
            Wake::Peer | Wake::Timeout => {}
        }
    }
}
