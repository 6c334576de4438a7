//! How long the M that sleeps in the poller stays out of it while its help is not needed.
//!
//! A goroutine of the host's runs on one P only. While an M has that P, what becomes ready is for that M to run, which polls
//! by itself as soon as its queue is empty, and takes all that has come at once, unless somebody sleeps in the poller. Such a
//! sleeper wakes for one event after the other, only to pass it on: for a busy server that is two switches of threads a
//! request. So it naps between two sleeps, longer while goroutines come and go on that P. If none do, since one computes or
//! sits in a call, the sleeper is needed.
//!
//! # Invariants
//! 1. Used by the M that has just slept in the poller: one at a time, by invariant 2 of `mod`.

use crate::prim::{AtomicI64, AtomicU32, Ordering};

/// The first nap, and the longest: so late may an event be seen if the M with the P stops polling.
const SHORTEST_NS: i64 = 500_000;
const LONGEST_NS: i64 = 1_000_000;
/// Sleeps in a row that found the P taken before the first nap.
const ROW: u32 = 3;

/// See the header.
pub(crate) struct Naps {
    /// Sleeps in a row that found the P taken.
    row: AtomicU32,
    /// The last nap; 0: none yet.
    ns: AtomicI64,
    /// How many turns goroutines had had on the P when it began.
    turns: AtomicU32,
}

impl Naps {
    pub(crate) fn new() -> Self {
        Naps { row: AtomicU32::new(0), ns: AtomicI64::new(0), turns: AtomicU32::new(0) }
    }

    /// The sleeper ran what it found.
    pub(crate) fn served(&self) {
        self.row.store(0, Ordering::Relaxed);
        self.ns.store(0, Ordering::Relaxed);
    }

    /// Another M has the P that the sleeper's findings need, on which goroutines have had so many `turns`. How long to nap.
    pub(crate) fn refused(&self, turns: u32) -> Option<i64> {
        let row = self.row.load(Ordering::Relaxed) + 1;
        self.row.store(row, Ordering::Relaxed);
        if row < ROW {
            return None;
        }
        let last = self.ns.load(Ordering::Relaxed);
        if last != 0 && self.turns.load(Ordering::Relaxed) == turns {
            self.served();
            return None;
        }
        let ns = (2 * last).clamp(SHORTEST_NS, LONGEST_NS);
        self.ns.store(ns, Ordering::Relaxed);
        self.turns.store(turns, Ordering::Relaxed);
        Some(ns)
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{Naps, LONGEST_NS, ROW, SHORTEST_NS};

    #[test]
    fn the_naps_grow_while_goroutines_take_turns_and_end_when_one_stays() {
        let (naps, mut turns) = (Naps::new(), u32::MAX - 2);
        for _ in 1..ROW {
            assert_eq!(naps.refused(turns), None);
        }
        let mut expected = SHORTEST_NS;
        for _ in 0..10 {
            assert_eq!(naps.refused(turns), Some(expected));
            expected = (2 * expected).min(LONGEST_NS);
            turns = turns.wrapping_add(1);
        }
        turns = turns.wrapping_sub(1);
        assert_eq!(naps.refused(turns), None, "nobody has had a turn since the last nap");
        for _ in 1..ROW {
            assert_eq!(naps.refused(turns), None);
        }
        assert_eq!(naps.refused(turns), Some(SHORTEST_NS));
    }

    #[test]
    fn a_sleeper_that_can_run_what_it_finds_does_not_nap() {
        let naps = Naps::new();
        for turns in 0..100 {
            assert_eq!(naps.refused(turns), None);
            naps.served();
        }
    }
}
