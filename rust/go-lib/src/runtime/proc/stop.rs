//! Putting Ms to sleep: on their note, until the earliest timer, or in the network poller.
//!
//! # Invariants
//! 1. At most one idle M is the poller: it sleeps until the earliest timer, in the network poller if somebody waits
//!    there. Its deadline is in `poll_until`; arming an earlier timer without a running P wakes it.
//!
//! Go: runtime/proc.go (stopm)

use crate::prim::{heavy_fence, Ordering};
use crate::runtime::clock::kernel_time;
use crate::runtime::object::g::G;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::{P, PIDLE};
use crate::runtime::proc::attach::detach;
use crate::runtime::proc::lists::{
    acquirep, leave_idle_list, releasep, take_any_idle_p, take_idle_p, take_nextp,
};
use crate::runtime::proc::wake::{reset_spinning, startm, wake_idle};
use crate::runtime::proc::{checkdead, idle};
use crate::runtime::sched::{sched, Sched};
use crate::sys::clock::nanotime;
use crate::sys::poll::Until;

/// How a sleep on the idle list ended.
#[derive(PartialEq, Eq)]
enum Stopped {
    /// The M has a P, or its thread ends.
    Done,
    /// A timer is due, or goroutines are ready, but no P is idle: the holders of Ps and sysmon will see it.
    NoP,
    /// Nothing is left to do for this M: what was ready is for another one.
    Again,
}

/// Sleeps until somebody hands this M a P, or as the poller until the earliest timer. Without a P afterwards: it must
/// look again, or its thread ends (`M::ends`).
pub(crate) fn stopm(m: &'static M) {
    let s = sched();
    // An M that lost its P while it looked for work (GOMAXPROCS shrank) stops looking.
    reset_spinning(m);
    loop {
        match stop_until(m, s, s.earliest_timer()) {
            Stopped::Done => return,
            Stopped::NoP => break,
            Stopped::Again if nap(m, s) => return,
            Stopped::Again => {}
        }
    }
    stop_until(m, s, NEVER);
}

/// Stays out of the network poller for a while, if it had better (`poller::naps`); true: somebody has handed this M a P.
fn nap(m: &'static M, s: &'static Sched) -> bool {
    if s.homes().any(|home| home.status.load(Ordering::Relaxed) == PIDLE) {
        return false; // Nobody else would poll.
    }
    let turns = |sum: u32, home: &P| sum.wrapping_add(home.schedtick.load(Ordering::Relaxed));
    let Some(ns) = s.netpoll.naps.refused(s.homes().fold(0, turns)) else {
        return false;
    };
    let me = (m as *const M).cast_mut();
    s.inner.lock().midle.push(me);
    if !m.park.sleep_until((nanotime() + ns).min(kernel_time(s.earliest_timer())))
        && leave_idle_list(s, me)
    {
        m.park.clear();
        return false;
    }
    take_promised_p(m);
    true
}

/// As `stopm`, with the time until which it sleeps.
fn stop_until(m: &'static M, s: &'static Sched, mut until: i64) -> Stopped {
    debug_assert!(m.attached.get().is_null());
    let me = (m as *const M).cast_mut();
    let in_netpoll;
    let patience;
    {
        let mut inner = s.inner.lock();
        in_netpoll = s.netpoll.begin_sleep();
        let earlier = until < s.poll_until.load(Ordering::Relaxed);
        if !in_netpoll && earlier && s.netpoll.is_polling() && !inner.poller.is_null() {
            // It stays in the network poller, and looks at the timers again.
            // SAFETY: Ms are never freed.
            unsafe { wake_idle(s, &*inner.poller) };
            until = NEVER;
        } else if in_netpoll || earlier {
            // This M may also replace a poller that would sleep longer; that one then wakes up once for nothing.
            inner.poller = me;
            s.poll_until.store(until, Ordering::Relaxed);
        } else {
            until = NEVER;
        }
        inner.midle.push(me);
        patience = if until == NEVER { idle::patience(s, &inner) } else { None };
    }
    if until != NEVER {
        // A timer armed meanwhile by a thread without a P either saw poll_until or is seen here;
        // pairs with the light fence in arm_timer.
        heavy_fence();
        let now_earliest = s.earliest_timer();
        if now_earliest < until {
            until = now_earliest;
        }
    }
    checkdead::look(s);
    if in_netpoll {
        return sleep_in_netpoll(m, s, until);
    }
    if until == NEVER {
        if !idle::sleep_or_end(m, s, patience) {
            return Stopped::Done;
        }
    } else if !m.park.sleep_until(kernel_time(until)) && leave_idle_list(s, me) {
        m.park.clear();
        return done_if(take_p_for_timers(m, s));
    }
    m.park.clear();
    let p = take_nextp(m);
    if p.is_null() {
        // Woken as the poller to look at the timers again.
        if !leave_idle_list(s, me) {
            // Meanwhile somebody else took us with a P: that wakeup is still to come.
            take_promised_p(m);
            return Stopped::Done;
        }
        return done_if(take_p_for_timers(m, s));
    }
    // SAFETY: handed to us.
    acquirep(m, unsafe { &*p });
    Stopped::Done
}

fn done_if(has_p: bool) -> Stopped {
    if has_p {
        Stopped::Done
    } else {
        Stopped::NoP
    }
}

/// Somebody took this M off the idle list: waits for the P that comes with it.
fn take_promised_p(m: &M) {
    let p = loop {
        m.park.sleep();
        m.park.clear();
        let p = take_nextp(m);
        if !p.is_null() {
            break p;
        }
        // An earlier wakeup, to look at the timers again.
    };
    // SAFETY: handed to us.
    acquirep(m, unsafe { &*p });
}

/// The rest of `stop_until` for the M that sleeps in the network poller.
fn sleep_in_netpoll(m: &'static M, s: &'static Sched, until: i64) -> Stopped {
    let ready = s
        .netpoll
        .sleep(&m.park, if until == NEVER { Until::Woken } else { Until::At(kernel_time(until)) });
    let me = (m as *const M).cast_mut();
    // Timers are due, or goroutines are ready that any P may run. Otherwise there is nothing, or what only one P may run.
    // (In a model a sleep in the poller ends at once, as if a timer were due.)
    let is_due = cfg!(golib_loom) || kernel_time(s.earliest_timer()) <= nanotime();
    let any_p = ready.has_go || is_due;
    let has_p = if leave_idle_list(s, me) {
        m.park.clear();
        match () {
            () if !any_p => ready.has_host && take_home(m, s),
            () if ready.is_empty() || ready.has_host => take_p_for_timers(m, s),
            () => take_any_idle_p(m, s),
        }
    } else {
        take_promised_p(m);
        true
    };
    if has_p {
        s.netpoll.naps.served();
        ready.inject(m);
        return Stopped::Done;
    }
    ready.inject_from_outside(s);
    if any_p {
        Stopped::NoP
    } else {
        Stopped::Again
    }
}

/// An idle P that runs the host's goroutines.
fn take_home(m: &M, s: &Sched) -> bool {
    s.homes().any(|home| take_idle_p(m, s, home))
}

/// An idle P for due timers: one that runs the host's goroutines if it can be had, for many of those sleep.
fn take_p_for_timers(m: &M, s: &Sched) -> bool {
    take_home(m, s) || take_any_idle_p(m, s)
}

/// The migration soak: leaves `gp`, a host goroutine that the caller took from a queue, to another M, with the P. False:
/// there is nobody to take it, and `gp` stays the caller's.
pub(crate) fn pass_p_on(m: &'static M, gp: *mut G) -> bool {
    /// A bound on threads that is not met: once this M sleeps the next one finds it. Two are enough, and one more for
    /// each goroutine that keeps its own.
    const ENOUGH: usize = 512;
    let s = sched();
    if s.inner.lock().midle.is_empty() && s.nthreads.load(Ordering::Relaxed) > ENOUGH {
        return false;
    }
    // SAFETY: a host goroutine, which only comes to an M with the right; so ours is P 0.
    unsafe { (*m.pp()).hostq.put(gp, true) };
    detach(m);
    let p = releasep(m);
    startm(s, p, false);
    stopm(m);
    true
}
