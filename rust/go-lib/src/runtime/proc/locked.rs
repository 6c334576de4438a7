//! Goroutines that keep their M: locked by the user, pinned by foreign frames or a panic.
//!
//! A pinned goroutine that parks keeps its M to itself: the M gives its P away and sleeps until
//! the goroutine is picked to run, and runs nothing else meanwhile. An M shared with a pinned
//! goroutine would let two goroutines into one thread-owned lock, or stall one for the other.
//!
//! # Invariants
//! 1. From `leave::keep_m` until it runs again, `gp.lockedm == m` and `m.lockedg == gp`.
//!
//! Go: runtime/proc.go (stoplockedm, startlockedm, LockOSThread)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::G;
use crate::runtime::object::m::M;
use crate::runtime::proc::attach::detach;
use crate::runtime::proc::{checkdead, exit, firstrun, getg, lists, stop, threadpark, wake};
use crate::runtime::sched::{sched, Sched};

/// Sleeps until this M's goroutine must run; returns it, with a P acquired.
pub(crate) fn stoplockedm(m: &'static M) -> *mut G {
    detach(m);
    let s = sched();
    if !m.pp().is_null() {
        let p = lists::releasep(m);
        wake::handoffp(s, p);
    }
    let gp = m.lockedg.get();
    checkdead::locked_sleeps(s, m, true);
    checkdead::look(s);
    let p = loop {
        threadpark::sleep_locked(m, gp);
        m.park.clear();
        let p = lists::take_nextp(m);
        if !p.is_null() || s.is_ending() {
            break p;
        }
        // A late wake-up from the time when this M was the poller: it already had the P when that arrived.
    };
    if !wakes(s, m) {
        exit::stop_this_m(m);
    }
    // SAFETY: startlockedm handed us a P and the G.
    unsafe {
        lists::acquirep(m, &*p);
        (*gp).lockedm.store(ptr::null_mut(), Ordering::Relaxed);
    }
    m.lockedg.set(ptr::null_mut());
    firstrun::ready_to_run(m, gp);
    gp
}

/// `m` has woken from its sleep for a goroutine. False: the host is ending, and the goroutine must
/// not resume.
pub(crate) fn wakes(s: &Sched, m: &M) -> bool {
    checkdead::locked_sleeps(s, m, false);
    // Relaxed: if `exit::none_schedules` saw us asleep, the lock orders its `exiting` before this.
    !s.is_ending()
}

/// Hands this M's P to the M that is kept for `gp`, and sleeps.
pub(crate) fn startlockedm(m: &'static M, gp: *mut G) {
    // SAFETY: gp came from a queue: ours; its lockedm is never freed. Acquire: pairs with the Release in
    // keep_m.
    let mp = unsafe { &*(*gp).lockedm.load(Ordering::Acquire) };
    wake::reset_spinning(m);
    detach(m);
    let p = lists::releasep(m);
    // Release: the other M owns the P when it wakes; pairs with the Acquire in take_nextp.
    mp.nextp.store(std::ptr::from_ref(p).cast_mut(), Ordering::Release);
    mp.park.wakeup();
    stop::stopm(m);
}

/// See `embedder::lock_os_thread`.
pub(crate) fn lock_os_thread() {
    // SAFETY: our own G.
    unsafe {
        let depth = &(*getg()).lock_depth;
        depth.set(depth.get() + 1);
    }
}

/// See `embedder::unlock_os_thread`.
pub(crate) fn unlock_os_thread() -> bool {
    // SAFETY: our own G.
    unsafe {
        let depth = &(*getg()).lock_depth;
        let held = depth.get() > 0;
        depth.set(depth.get().saturating_sub(1));
        held
    }
}
