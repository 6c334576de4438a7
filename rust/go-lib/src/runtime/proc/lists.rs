//! The idle lists, and who holds which P.
//!
//! # Invariants
//! 1. `midle` holds exactly the Ms that sleep (or are about to) in `stop::stopm`; taking one out includes setting its
//!    `nextp` and waking it. One that leaves by itself may end (`idle`).
//! 2. A P on `pidle` has status PIDLE; taking it off makes it PRUNNING.
//!
//! Go: runtime/proc.go (pidleput, pidleget, mget, acquirep, releasep)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::{P, PIDLE, PRUNNING};
use crate::runtime::proc::waitsince;
use crate::runtime::sched::{debug_migrate, sched, Inner, Sched};

/// Puts `p` on the idle list.
pub(crate) fn pidleput(s: &Sched, inner: &mut Inner, p: &P) {
    p.status.store(PIDLE, Ordering::Relaxed);
    let at = (p as *const P).cast_mut();
    if p.has_right() {
        inner.pidle.insert(0, at); // taken last by Rust work
    } else {
        inner.pidle.push(at);
    }
    s.npidle.fetch_add(1, Ordering::Relaxed);
}

/// Any idle P, now the caller's.
pub(crate) fn pidleget(s: &Sched, inner: &mut Inner) -> Option<&'static P> {
    let p = inner.pidle.pop()?;
    s.npidle.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: Ps are never freed.
    let p = unsafe { &*p };
    p.status.store(PRUNNING, Ordering::Relaxed);
    Some(p)
}

/// Takes `p` off the idle list if it is there; true: it is the caller's.
pub(crate) fn pidletake(s: &Sched, inner: &mut Inner, p: &P) -> bool {
    let Some(i) = inner.pidle.iter().position(|&q| ptr::eq(q, p)) else {
        return false;
    };
    inner.pidle.remove(i);
    s.npidle.fetch_sub(1, Ordering::Relaxed);
    p.status.store(PRUNNING, Ordering::Relaxed);
    true
}

/// This M takes the idle `p`.
pub(crate) fn take_idle_p(m: &M, s: &Sched, p: &P) -> bool {
    let taken = pidletake(s, &mut s.inner.lock(), p);
    if taken {
        acquirep(m, p);
    }
    taken
}

/// This M takes some idle P.
pub(crate) fn take_any_idle_p(m: &M, s: &Sched) -> bool {
    let p = pidleget(s, &mut s.inner.lock());
    if let Some(p) = p {
        acquirep(m, p);
    }
    p.is_some()
}

/// Takes an idle P that has work: no thread could be had for it.
pub(crate) fn take_stranded_p(m: &M) -> bool {
    let s = sched();
    s.refused.load(Ordering::Relaxed) != 0
        && s.procs().any(|p| !p.is_idle_inside() && take_idle_p(m, s, p))
}

/// Ties `p`, which is the caller's, to this M.
pub(crate) fn acquirep(m: &M, p: &P) {
    // Release: sysmon reads m through p; pairs with Acquire in take_p and is_blocked.
    p.m.store((m as *const M).cast_mut(), Ordering::Release);
    // Relaxed: others only compare it.
    m.stints.store(m.stints.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    m.p.store((p as *const P).cast_mut(), Ordering::Relaxed);
    waitsince::runs(sched());
}

/// Unties this M's P, which stays the caller's to give away.
pub(crate) fn releasep(m: &M) -> &'static P {
    let pp = m.p.swap(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: callers hold a P.
    let p = unsafe { &*pp };
    p.m.store(ptr::null_mut(), Ordering::Relaxed);
    p
}

/// Takes an idle M: the newest one, the poller last. In the migration soak the oldest, so that
/// goroutines meet every thread.
pub(crate) fn mget(inner: &mut Inner) -> Option<&'static M> {
    let n = inner.midle.len();
    if n == 0 {
        return None;
    }
    let mut at = if debug_migrate() { 0 } else { n - 1 };
    if inner.midle[at] == inner.poller && n > 1 {
        at = if at == 0 { 1 } else { at - 1 };
    }
    let m = inner.midle.remove(at);
    if m == inner.poller {
        inner.poller = ptr::null_mut();
        sched().poll_until.store(NEVER, Ordering::Relaxed);
    }
    // SAFETY: Ms are never freed.
    Some(unsafe { &*m })
}

/// The P that was handed to this sleeping M; null: not yet.
pub(crate) fn take_nextp(m: &M) -> *mut P {
    // Acquire: the P as its giver left it; pairs with the Release in startm and startlockedm. No swap: only a giver that took us off the idle list, or
    // the goroutine for which we are kept off its queue, writes it, so there is nothing to race for.
    let p = m.nextp.load(Ordering::Acquire);
    if !p.is_null() {
        m.nextp.store(ptr::null_mut(), Ordering::Relaxed);
    }
    p
}

/// Takes this M off the idle list; false: somebody else has taken it and will wake it.
pub(crate) fn leave_idle_list(s: &Sched, me: *mut M) -> bool {
    take_off_idle_list(s, &mut s.inner.lock(), me)
}

/// As `leave_idle_list`, under the lock.
pub(crate) fn take_off_idle_list(s: &Sched, inner: &mut Inner, me: *mut M) -> bool {
    if inner.poller == me {
        inner.poller = ptr::null_mut();
        s.poll_until.store(NEVER, Ordering::Relaxed);
    }
    match inner.midle.iter().position(|&m| m == me) {
        Some(i) => {
            inner.midle.remove(i);
            true
        }
        None => false,
    }
}
