//! `GOLIB_DEBUG=schedtrace=N`: a line about the scheduler every N milliseconds, on stderr.
//!
//! ```text
//! SCHED 1004ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 idlethreads=2 runqueue=0 [0 3] hostqueue=12
//! ```
//! sysmon prints it, so that it also comes when nothing runs, and does not hide a deadlock as an
//! armed timer would. `hostqueue` is ours: the goroutines that wait for the host's interpreter.
//!
//! Go: runtime/proc.go (schedtrace), GODEBUG

use std::fmt::Write;

use crate::prim::{AtomicI64, Ordering};
use crate::runtime::object::m::NEVER;
use crate::runtime::sched::Sched;
use crate::sys::clock::nanotime;

/// How often, and when next.
pub(crate) struct SchedTrace {
    period_ns: AtomicI64,
    next_ns: AtomicI64,
    began_ns: AtomicI64,
}

impl SchedTrace {
    /// Off.
    pub(crate) fn new() -> Self {
        SchedTrace {
            period_ns: AtomicI64::new(0),
            next_ns: AtomicI64::new(NEVER),
            began_ns: AtomicI64::new(0),
        }
    }

    /// On, before sysmon starts. A period that is no positive number of milliseconds is ignored.
    pub(crate) fn begin(&self, period_ms: &str) {
        const NS_PER_MS: i64 = 1_000_000;
        let period_ns = period_ms.parse::<i64>().unwrap_or(0).saturating_mul(NS_PER_MS);
        if period_ns > 0 {
            let now = nanotime();
            // Relaxed: sysmon's thread starts afterwards, and is the only one to use them then.
            self.period_ns.store(period_ns, Ordering::Relaxed);
            self.began_ns.store(now, Ordering::Relaxed);
            self.next_ns.store(now.saturating_add(period_ns), Ordering::Relaxed);
        }
    }

    /// When the next line is due; [`NEVER`] while it is off.
    pub(crate) fn next_when(&self) -> i64 {
        self.next_ns.load(Ordering::Relaxed)
    }

    /// Prints the line if it is due. Called by sysmon.
    pub(crate) fn look(&self, s: &Sched) {
        let next = self.next_when();
        if next == NEVER {
            return;
        }
        let now = nanotime();
        if now >= next {
            let period = self.period_ns.load(Ordering::Relaxed);
            self.next_ns.store(next.max(now - period) + period, Ordering::Relaxed);
            let line = line(s, (now - self.began_ns.load(Ordering::Relaxed)) / 1_000_000);
            eprintln!("{line}");
        }
    }
}

/// The line `ms` after the start.
fn line(s: &Sched, ms: i64) -> String {
    let (idleprocs, threads, idlethreads) = {
        let inner = s.inner.lock();
        (inner.pidle.len(), s.nthreads.load(Ordering::Relaxed), inner.midle.len())
    };
    let mut text = format!(
        "SCHED {ms}ms: gomaxprocs={} idleprocs={idleprocs} threads={threads} spinningthreads={} \
         idlethreads={idlethreads} runqueue={} [",
        s.gomaxprocs.load(Ordering::Relaxed),
        s.nmspinning.load(Ordering::Relaxed),
        s.runqsize.load(Ordering::Relaxed),
    );
    for (i, p) in s.procs().enumerate() {
        let space = if i == 0 { "" } else { " " };
        // Writing to a String does not fail.
        let _ = write!(text, "{space}{}", p.runq.len());
    }
    let host = s.procs().next().map_or(0, |p| p.hostq.len());
    let _ = write!(text, "] hostqueue={host}");
    text
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::ptr;

    use super::{line, SchedTrace};
    use crate::prim::Ordering;
    use crate::runtime::object::g::{Kind, G};
    use crate::runtime::object::m::{M, NEVER};
    use crate::runtime::object::p::P;
    use crate::runtime::proc::wake::pidleput;
    use crate::runtime::sched::Sched;
    use crate::sys::clock::nanotime;

    #[test]
    fn a_line_says_what_the_scheduler_holds() {
        let s: &'static Sched = Box::leak(Box::new(Sched::new()));
        assert_eq!(
            line(s, 0),
            "SCHED 0ms: gomaxprocs=0 idleprocs=0 threads=0 spinningthreads=0 idlethreads=0 \
             runqueue=0 [] hostqueue=0"
        );
        for (i, place) in s.allp[..3].iter().enumerate() {
            place.store(Box::into_raw(Box::new(P::new(i as u32))), Ordering::Release);
        }
        s.gomaxprocs.store(3, Ordering::Release);
        s.nthreads.store(7, Ordering::Relaxed);
        s.nmspinning.store(1, Ordering::Relaxed);
        let gs: &[G] = Vec::leak((0..8).map(|_| G::new(Kind::Go)).collect());
        let mut gs = gs.iter().map(|g| ptr::from_ref(g).cast_mut());
        let [p, q, _] = [0, 1, 2].map(|i| s.p(i));
        let m: &'static M = Box::leak(Box::new(M::new(1, false, s)));
        // SAFETY: the scheduler is the test's alone.
        unsafe {
            let mut inner = s.inner.lock();
            pidleput(s, &mut inner, &*q);
            inner.midle.extend([ptr::from_ref(m).cast_mut(); 2]);
            gs.by_ref().take(2).for_each(|gp| s.globrunqput(&mut inner, gp));
            gs.by_ref().take(3).for_each(|gp| assert!((*p).runq.put(gp, true).is_none()));
            gs.by_ref().take(1).for_each(|gp| assert!((*q).runq.put(gp, false).is_none()));
            gs.for_each(|gp| (*p).hostq.put(gp, false));
        }
        assert_eq!(
            line(s, 1004),
            "SCHED 1004ms: gomaxprocs=3 idleprocs=1 threads=7 spinningthreads=1 idlethreads=2 \
             runqueue=2 [3 1 0] hostqueue=2"
        );
    }

    #[test]
    fn a_period_that_is_no_number_of_milliseconds_or_beyond_the_clock_is_none() {
        for period in ["", "0", "-5", "1.5", "soon", "99999999999999999999", "9223372036854775807"]
        {
            let trace = SchedTrace::new();
            trace.begin(period);
            assert_eq!(trace.next_when(), NEVER, "{period}");
            trace.look(&Sched::new());
            assert_eq!(trace.next_when(), NEVER);
        }
    }

    #[test]
    fn a_late_line_does_not_make_up_for_those_that_were_missed() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        let trace = SchedTrace::new();
        let now = nanotime();
        trace.begin("3600000");
        let first = trace.next_when();
        assert!((now + HOUR_NS..=nanotime() + HOUR_NS).contains(&first));
        trace.look(&Sched::new());
        assert_eq!(trace.next_when(), first, "too early");
        // Ten periods ago.
        trace.next_ns.store(now - 10 * HOUR_NS, Ordering::Relaxed);
        let before = nanotime();
        trace.look(&Sched::new());
        assert!(trace.next_when() >= before, "at once again: {}", before - trace.next_when());
        assert!(trace.next_when() <= nanotime() + HOUR_NS);
    }
}
