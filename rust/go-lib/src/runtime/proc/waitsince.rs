//! Since when goroutines wait, for dumps. A park does not read the clock: sysmon looks now and then who
//! waits, and notes the time for those that did not wait at its last look.
//!
//! Go: runtime/mgcmark.go (waitsince, set by the collector)

use std::sync::atomic::AtomicBool;

use crate::prim::{AtomicI64, Ordering};
use crate::runtime::object::g::GWAITING;
use crate::runtime::object::m::NEVER;
use crate::runtime::proc::sysmon;
use crate::runtime::sched::{sched, Sched};
use crate::sys::clock::nanotime;

/// Between two looks while something runs, and from that on to the next: a dump shows minutes.
const BUSY_NS: i64 = 10_000_000_000;
/// While nothing runs. Whoever runs first after such a look has the next one come soon.
const IDLE_NS: i64 = 60_000_000_000;
/// So many Gs are looked at under the lock of the list.
const PART: usize = 1024;

/// When sysmon is to look next.
pub(crate) struct WaitStamps {
    next_ns: AtomicI64,
    /// Nothing ran at the last look. An atomic of std's: the models have no sysmon.
    rests: AtomicBool,
}

impl WaitStamps {
    /// Off.
    pub(crate) fn new() -> Self {
        WaitStamps { next_ns: AtomicI64::new(NEVER), rests: AtomicBool::new(false) }
    }

    /// On, before sysmon starts.
    pub(crate) fn begin(&self) {
        self.rests.store(false, Ordering::Relaxed);
        self.next_ns.store(nanotime() + BUSY_NS, Ordering::Relaxed);
    }

    /// When the next look is due.
    pub(crate) fn next_when(&self) -> i64 {
        self.next_ns.load(Ordering::Relaxed)
    }

    /// An M has a P: it may run something.
    #[inline(always)]
    pub(crate) fn runs(&self) {
        // Acquire: pairs with the Release in look.
        if self.rests.load(Ordering::Acquire) {
            self.rest_ends();
        }
    }

    #[cold]
    #[inline(never)]
    fn rest_ends(&self) {
        self.stirred();
        sysmon::kick(sched());
    }

    /// Something has been running since the last look.
    pub(crate) fn stirred(&self) {
        self.rests.store(false, Ordering::Relaxed);
        self.next_ns.fetch_min(nanotime() + BUSY_NS, Ordering::Relaxed);
    }

    /// Looks if it is due. Called by sysmon.
    pub(crate) fn look(&self, s: &Sched, now: i64, idle: bool) {
        if now >= self.next_when() {
            self.next_ns.store(now + if idle { IDLE_NS } else { BUSY_NS }, Ordering::Relaxed);
            // Release: whoever sees it brings the time forward after it was set; pairs with the Acquire of
            // `runs`.
            self.rests.store(idle, Ordering::Release);
            stamp(s, now);
        } else if !idle && self.rests.load(Ordering::Relaxed) {
            self.stirred();
        }
    }
}

/// Who waits and was not seen to before waits since `now`.
fn stamp(s: &Sched, now: i64) {
    let mut at = 0;
    loop {
        let all = s.allgs.lock();
        let end = all.len().min(at + PART);
        if at >= end {
            return;
        }
        for gp in &all[at..end] {
            // SAFETY: Gs are never freed.
            let g = unsafe { &*gp.0 };
            // One that goes on meanwhile forgets it when it waits again, or has waited for a moment more.
            if g.status.load(Ordering::Relaxed) == GWAITING
                && g.waitsince.load(Ordering::Relaxed) == 0
            {
                g.waitsince.store(now as u64, Ordering::Relaxed);
            }
        }
        at = end;
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{stamp, WaitStamps, BUSY_NS, IDLE_NS};
    use crate::chan::chan;
    use crate::runtime::embedder::GRef;
    use crate::runtime::proc::getg;
    use crate::runtime::sched::sched;
    use crate::runtime::traceback::header;
    use crate::sys::clock::nanotime;

    const MINUTE_NS: i64 = 60_000_000_000;

    fn wait_until_parked(g: GRef) {
        while g.status_text() != "chan receive" {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_dump_says_for_how_many_minutes_a_goroutine_has_waited() {
        let (tx, rx) = chan::<()>(0);
        let (me_tx, me_rx) = chan(1);
        crate::go(move || {
            // SAFETY: a goroutine's own G.
            me_tx.send(GRef::new(getg()));
            while rx.recv().is_some() {}
        });
        let g = me_rx.recv().expect("it was sent");
        wait_until_parked(g);
        assert!(header(g).ends_with("[chan receive]:"), "{}", header(g));
        stamp(sched(), nanotime() - 2 * MINUTE_NS - 1);
        assert!(header(g).ends_with("[chan receive, 2 minutes]:"), "{}", header(g));
        stamp(sched(), nanotime());
        assert!(header(g).ends_with("[chan receive, 2 minutes]:"), "what was noted stays");
        // The next wait is another one.
        tx.send(());
        wait_until_parked(g);
        assert!(header(g).ends_with("[chan receive]:"), "{}", header(g));
        tx.close();
    }

    #[test]
    fn looks_are_rare_and_come_soon_after_something_ran() {
        let stamps = WaitStamps::new();
        stamps.look(sched(), nanotime(), true);
        assert_eq!(stamps.next_when(), i64::MAX, "off");
        stamps.next_ns.store(0, crate::prim::Ordering::Relaxed);
        let before = nanotime();
        stamps.look(sched(), before, true);
        assert!(stamps.next_when() >= before + IDLE_NS);
        stamps.stirred();
        let soon = stamps.next_when();
        assert!(soon >= before + BUSY_NS && soon <= nanotime() + BUSY_NS);
        stamps.stirred();
        assert_eq!(stamps.next_when(), soon, "it is not put off");
    }

    #[test]
    fn whatever_runs_after_a_rest_brings_the_next_look_forward() {
        let stamps = WaitStamps::new();
        let look = |idle| {
            let now = nanotime();
            stamps.next_ns.store(now.min(stamps.next_when()), crate::prim::Ordering::Relaxed);
            stamps.look(sched(), now, idle);
            now
        };
        let at = look(false);
        stamps.runs();
        assert_eq!(stamps.next_when(), at + BUSY_NS, "there was no rest");
        assert_eq!(look(true) + IDLE_NS, stamps.next_when());
        stamps.runs();
        let soon = stamps.next_when();
        assert!(soon <= nanotime() + BUSY_NS);
        stamps.runs();
        assert_eq!(stamps.next_when(), soon, "the rest is over");
        // It was not told, but sees it.
        let at = look(true);
        assert_eq!(stamps.next_when(), at + IDLE_NS);
        stamps.look(sched(), at, false);
        assert!(stamps.next_when() <= nanotime() + BUSY_NS);
    }
}
