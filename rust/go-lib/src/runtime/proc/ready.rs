//! Coming back: goready, and what it does inside the runtime.
//!
//! Go: runtime/proc.go (goready, ready)

use crate::prim::Ordering;
use crate::runtime::object::doorbell;
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GWAITING};
use crate::runtime::object::m::M;
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{enter_rt, kick, leave_rt, wake};
use crate::runtime::sched::sched;

/// Readies a G whose wait the caller claimed.
///
/// # Safety
/// The caller won the claim; no runtime lock is held.
#[inline]
pub(crate) unsafe fn goready(gp: *mut G) {
    event::pass(gp, Event::Unblocks);
    // SAFETY: Gs are never freed.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Thread {
        // A thread-G's M is its own. SAFETY: Ms are never freed; without one it is a doorbell's.
        unsafe {
            match g.m.load(Ordering::Relaxed).as_ref() {
                Some(m) => m.park.wakeup(),
                None => doorbell::ring(gp),
            }
        }
        return;
    }
    let m = enter_rt();
    // SAFETY: the claim made us the owner.
    unsafe { make_runnable(m, gp, true) };
    if !m.curg.get().is_null() {
        leave_rt(m);
    }
}

/// `goready` inside the runtime.
///
/// # Safety
/// As `goready`; the calling thread is inside the runtime with `m`.
#[inline(always)]
pub(crate) unsafe fn ready(m: &M, gp: *mut G, next: bool) {
    event::pass(gp, Event::Unblocks);
    // SAFETY: Gs are never freed.
    unsafe {
        if (*gp).kind.get() == Kind::Thread {
            (*(*gp).m.load(Ordering::Relaxed)).park.wakeup();
            return;
        }
        make_runnable(m, gp, next);
    }
}

/// `ready`, for a goroutine whose timer has expired.
///
/// # Safety
/// As `ready`.
pub(crate) unsafe fn ready_from_timer(m: &M, gp: *mut G) {
    let pp = m.pp();
    // SAFETY: the caller's duty; inside the runtime the P is ours.
    unsafe {
        let sleeps = (*gp).kind.get() == Kind::Host && (*gp).waitreason.get() == WaitReason::Sleep;
        if sleeps && !pp.is_null() && (*pp).is_home_of(gp) {
            event::pass(gp, Event::Unblocks);
            casgstatus(&*gp, GWAITING, GRUNNABLE);
            (*pp).hostq.put_sleeper(gp);
            kick::kick(sched());
        } else {
            ready(m, gp, false);
        }
    }
}

/// Queues a goroutine that no longer waits where it will run.
///
/// # Safety
/// It is the caller's; the calling thread is inside the runtime with `m`.
#[inline(always)]
pub(crate) unsafe fn make_runnable(m: &M, gp: *mut G, next: bool) {
    // SAFETY: the caller's duty: it is in no queue.
    unsafe {
        casgstatus(&*gp, GWAITING, GRUNNABLE);
        wake::runqput_any(m, gp, next);
    }
}
