//! The host's end: stopping the Ms that can be stopped.
//!
//! # Invariants
//! 1. After `stop_the_ms` no M attaches the interpreter from g0: each one stops at its next look. A
//!    running goroutine continues until it parks, as a daemon thread would.

use crate::prim::{heavy_fence, Ordering};
use crate::runtime::object::m::M;
use crate::runtime::proc::attach::detach;
use crate::runtime::sched::{sched, Sched};
use crate::sys::clock::nanotime;
use crate::sys::thread;

/// Stops scheduling for good; waits, a second at most, until every M that was about to attach the
/// interpreter has stopped. The caller has given the interpreter up. True if all did.
pub fn stop_the_ms() -> bool {
    const PATIENCE_NS: i64 = 1_000_000_000;
    const LOOK_NS: i64 = 50_000;
    let s = sched();
    // SeqCst: pairs with is_exiting and with sysmon's look, which set what is read below.
    s.exiting.store(true, Ordering::SeqCst);
    // Acquire: pairs with the Release of `grow`.
    if s.gomaxprocs.load(Ordering::Acquire) == 0 {
        return true;
    }
    for p in s.procs() {
        // Release: the thread that takes this back sees `exiting`; pairs with the Acquire in find.
        p.timers_due.store(true, Ordering::Release);
    }
    heavy_fence();
    let end = nanotime() + PATIENCE_NS;
    while nanotime() < end {
        s.sysmon_note.wakeup();
        if s.sysmon_stopped.load(Ordering::SeqCst) && none_schedules(s) {
            return true;
        }
        thread::usleep_ns(LOOK_NS);
    }
    false
}

/// True once [`stop_the_ms`] was called. SeqCst pairs with the store there: this look is in one order with that call and
/// with what the host does around both.
pub fn is_exiting() -> bool {
    sched().exiting.load(Ordering::SeqCst)
}

/// sysmon's look: true if it is to stop, and counts as stopped.
pub(crate) fn sysmon_stops(s: &Sched) -> bool {
    // SeqCst: both pair with stop_the_ms, which sets the one and waits for the other.
    let ending = s.exiting.load(Ordering::SeqCst);
    if ending {
        s.sysmon_stopped.store(true, Ordering::SeqCst);
    }
    ending
}

/// No M is on its way to a host goroutine. One that sleeps may be woken at any moment, but then takes the
/// lock, and sees that the host is ending.
pub(crate) fn none_schedules(s: &Sched) -> bool {
    let inner = s.inner.lock();
    inner.allm.iter().all(|&m| {
        // SAFETY: Ms are never freed.
        let mr = unsafe { &*m };
        // Acquire: pairs with the Release of leave_rt and of stop_this_m.
        mr.in_rt.load(Ordering::Acquire) == 0
            || mr.stopped.load(Ordering::Acquire) != 0
            || inner.midle.contains(&m)
            || mr.locked_asleep.get()
    })
}

/// Ends this M's work; the thread sleeps until the process ends.
#[cold]
pub(crate) fn stop_this_m(m: &'static M) -> ! {
    detach(m);
    // Release: the interpreter was given up before; pairs with the Acquire in none_schedules.
    m.stopped.store(1, Ordering::Release);
    loop {
        m.park.clear();
        m.park.sleep();
    }
}
