//! Since when goroutines wait, for dumps. A park does not read the clock: sysmon looks now and then who
//! waits, and notes the time for those that did not wait at its last look.
//!
//! Go: runtime/mgcmark.go (waitsince, set by the collector)

use crate::prim::Ordering;
use crate::runtime::object::g::GWAITING;
use crate::runtime::proc::kick;
use crate::runtime::sched::Sched;

/// How many Gs are looked at under one lock of the list.
const PART: usize = 1024;

/// An M has a P: it may run something.
#[inline(always)]
pub(crate) fn runs(s: &Sched) {
    if s.waits.rests() {
        rest_ends(s);
    }
}

#[cold]
#[inline(never)]
fn rest_ends(s: &Sched) {
    s.waits.stirred();
    kick::kick(s);
}

/// Looks if it is due. Called by sysmon.
pub(crate) fn look(s: &Sched, now: i64, idle: bool) {
    if s.waits.take_due(now, idle) {
        stamp(s, now);
    }
}

/// Stamps with `now` every waiter that has no stamp yet.
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
            // A waiter that resumes meanwhile loses its stamp when it waits again; until then it appears to have
            // waited a moment longer.
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
    use super::stamp;
    use crate::chan::chan;
    use crate::runtime::object::gref::GRef;
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
}
