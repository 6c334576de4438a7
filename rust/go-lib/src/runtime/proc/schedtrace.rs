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

use crate::prim::Ordering;
use crate::runtime::sched::Sched;

/// Prints the line if it is due. Called by sysmon.
pub(crate) fn look(s: &Sched) {
    if let Some(ms) = s.trace.take_due() {
        eprintln!("{}", line(s, ms));
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

    use super::line;
    use crate::prim::Ordering;
    use crate::runtime::object::g::{Kind, G};
    use crate::runtime::object::m::M;
    use crate::runtime::object::p::P;
    use crate::runtime::proc::lists::pidleput;
    use crate::runtime::sched::Sched;

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
}
