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
use crate::runtime::m::NEVER;
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
