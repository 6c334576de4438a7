//! All events pass here: each change of a goroutine's status, and each wait as it begins, is claimed and ends. The sink is
//! empty and costs nothing; a tracer takes its place.

use crate::runtime::object::wait::Wake;
use crate::runtime::object::waitreason::WaitReason;

/// An event in the life of a goroutine, or of an OS thread that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Its status changes; see `proc::status`.
    Status { from: u32, to: u32 },
    /// It begins to wait, and can be claimed next.
    Blocks(WaitReason),
    /// Its wait is claimed.
    Claimed(Wake),
    /// Its wait is over: the claimer readies it.
    Unblocks,
}

/// `event` happens to the one that `of` stands for: its G, or, for [`Event::Claimed`], the claim word in it.
#[inline(always)]
pub(crate) fn pass<T>(of: *const T, event: Event) {
    #[cfg(all(test, not(golib_loom)))]
    record::take(of.addr(), event);
    #[cfg(not(all(test, not(golib_loom))))]
    let _ = (of, event);
}

/// The sink of the crate's own tests.
#[cfg(all(test, not(golib_loom)))]
pub(crate) mod record {
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    use super::Event;

    static ON: AtomicBool = AtomicBool::new(false);
    static SEEN: Mutex<(Range<usize>, Vec<Event>)> = Mutex::new((0..0, Vec::new()));

    pub(super) fn take(at: usize, event: Event) {
        if ON.load(Ordering::Relaxed) {
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.0.contains(&at) {
                seen.1.push(event);
            }
        }
    }

    /// The events of the goroutine whose G lies in `at` while `f` runs.
    pub(crate) fn events_of(at: Range<usize>, f: impl FnOnce()) -> Vec<Event> {
        let exchange = |at| {
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *seen, (at, Vec::new())).1
        };
        exchange(at);
        ON.store(true, Ordering::Relaxed);
        f();
        ON.store(false, Ordering::Relaxed);
        exchange(0..0)
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;

    use super::record::events_of;
    use super::Event::{Blocks, Claimed, Status, Unblocks};
    use crate::chan::chan;
    use crate::runtime::object::g::{G, GRUNNABLE, GRUNNING, GWAITING};
    use crate::runtime::object::gref::GRef;
    use crate::runtime::object::wait::Wake;
    use crate::runtime::object::waitreason::WaitReason;
    use crate::runtime::proc::getg;

    fn wait_until_parked(g: GRef) {
        // The wait is opened after its event.
        while g.status_text() != "chan receive" || !g.g().wait.is_waiting() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_tracer_would_see_a_wait_from_its_claim_to_the_next_one() {
        let (tx, rx) = chan::<()>(0);
        let (me_tx, me_rx) = chan(1);
        let went_on = Arc::new(AtomicBool::new(false));
        let theirs = went_on.clone();
        crate::go(move || {
            me_tx.send(GRef::new(getg()));
            rx.recv();
            theirs.store(true, Ordering::Release);
            rx.recv();
        });
        let g = me_rx.recv().expect("it was sent");
        wait_until_parked(g);
        let at = g.gp.addr();
        let events = events_of(at..at + size_of::<G>(), || {
            tx.send(());
            while !went_on.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            wait_until_parked(g);
        });
        let expected = [
            Claimed(Wake::Peer),
            Unblocks,
            Status { from: GWAITING, to: GRUNNABLE },
            Status { from: GRUNNABLE, to: GRUNNING },
            Status { from: GRUNNING, to: GWAITING },
            Blocks(WaitReason::ChanReceive),
        ];
        assert_eq!(events, expected);
        tx.send(());
    }
}
