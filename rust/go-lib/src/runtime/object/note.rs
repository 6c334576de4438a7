//! A one-shot event on which one OS thread sleeps.
//!
//! # Invariants
//! 1. `wakeup` before `sleep` is not lost: the sleeper finds the word set.
//! 2. Only the owner calls `clear`, and looks afterwards at what its wakers set before `wakeup`.
//! 3. An owner that sleeps elsewhere (in the network poller) says so in the word: of two, the waker
//!    finds that, and ends the other sleep, or the owner finds that it was woken.
//!
//! Go: runtime/lock_futex.go (note)

use crate::prim::{const_new, futex_wait, futex_wake, AtomicU32, FutexWait, Ordering};

const WOKEN: u32 = 1;
/// By 3.
const ELSEWHERE: u32 = 2;

/// The event.
pub(crate) struct Note {
    key: AtomicU32,
}

impl Note {
    const_new! {
        pub(crate) fn new() -> Self {
            Note { key: AtomicU32::new(0) }
        }
    }

    /// Readies the note for another round.
    pub(crate) fn clear(&self) {
        // Acquire: a wake-up that is wiped out here has published what the owner looks at next; pairs
        // with the Release of notify.
        self.key.swap(0, Ordering::Acquire);
    }

    /// Wakes the sleeper, now or when it comes. True: it sleeps elsewhere, where the caller has to wake
    /// it.
    pub(crate) fn notify(&self) -> bool {
        // Release: what the waker did happens before the sleeper continues; pairs with sleep.
        match self.key.swap(WOKEN, Ordering::Release) {
            0 => futex_wake(&self.key, 1),
            ELSEWHERE => return true,
            _ => (),
        }
        false
    }

    /// As [`notify`](Self::notify), for an owner that sleeps nowhere else.
    pub(crate) fn wakeup(&self) {
        let elsewhere = self.notify();
        debug_assert!(!elsewhere);
    }

    /// The owner is about to sleep elsewhere. False: it has been woken already.
    pub(crate) fn begin_elsewhere(&self) -> bool {
        // Acquire if it fails: pairs with the Release of notify.
        self.key.compare_exchange(0, ELSEWHERE, Ordering::Relaxed, Ordering::Acquire).is_ok()
    }

    /// The owner is back; a wake-up that came meanwhile stays.
    pub(crate) fn end_elsewhere(&self) {
        // Relaxed: it tells the owner nothing; `woken` and `clear` do.
        let _ = self.key.compare_exchange(ELSEWHERE, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sleeps until woken.
    pub(crate) fn sleep(&self) {
        while !self.woken() {
            futex_wait(&self.key, 0, None);
        }
    }

    /// Sleeps until woken or `deadline_ns`; false on a timeout.
    pub(crate) fn sleep_until(&self, deadline_ns: i64) -> bool {
        while !self.woken() {
            if futex_wait(&self.key, 0, Some(deadline_ns)) == FutexWait::TimedOut {
                return self.woken();
            }
        }
        true
    }

    /// One wait, which a signal may end.
    pub(crate) fn sleep_once(&self, deadline_ns: Option<i64>) -> FutexWait {
        if self.woken() {
            return FutexWait::Woken;
        }
        futex_wait(&self.key, 0, deadline_ns)
    }

    /// True once `wakeup` was called.
    pub(crate) fn woken(&self) -> bool {
        // Acquire: pairs with the Release of wakeup.
        self.key.load(Ordering::Acquire) != 0
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Note;
    use crate::prim::FutexWait;
    use crate::sys::clock::nanotime;

    #[test]
    fn a_wake_up_that_comes_first_is_kept_until_it_is_cleared() {
        let note = Note::new();
        note.wakeup();
        note.wakeup();
        note.sleep();
        assert!(note.woken() && note.sleep_until(0));
        assert_eq!(note.sleep_once(None), FutexWait::Woken);
        note.clear();
        assert!(!note.woken() && !note.sleep_until(0));
        assert_eq!(note.sleep_once(Some(0)), FutexWait::TimedOut);
    }

    #[test]
    fn a_sleep_until_a_time_does_not_end_before() {
        let note = Note::new();
        for ns in [1, 1_000, 100_000, 2_000_000] {
            let until = nanotime() + ns;
            assert!(!note.sleep_until(until));
            assert!(nanotime() >= until);
        }
    }

    #[test]
    fn of_a_waker_and_an_owner_that_sleeps_elsewhere_one_finds_the_other() {
        let note = Note::new();
        assert!(note.begin_elsewhere());
        assert!(note.notify(), "the waker has to end the other sleep");
        note.end_elsewhere();
        assert!(note.woken(), "a wake-up was lost when the owner came back");
        assert!(!note.begin_elsewhere(), "the owner would sleep though it was woken");
        assert!(!note.notify());
        note.clear();
        assert!(note.begin_elsewhere());
        note.end_elsewhere();
        assert!(!note.woken(), "it came back by itself");
    }

    #[test]
    fn two_threads_wake_one_another_thousands_of_times() {
        const ROUNDS: u32 = 3_000;
        let (notes, turn) = ([Note::new(), Note::new()], AtomicU32::new(0));
        std::thread::scope(|scope| {
            for me in 0..2 {
                let (notes, turn) = (&notes, &turn);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        if (me, round) != (0, 0) {
                            match round % 3 {
                                0 => notes[me].sleep(),
                                1 => assert!(notes[me].sleep_until(i64::MAX)),
                                _ => while notes[me].sleep_once(None) != FutexWait::Woken {},
                            }
                            while !notes[me].woken() {
                                notes[me].sleep();
                            }
                            notes[me].clear();
                        }
                        assert_eq!(turn.load(Ordering::Relaxed), 2 * round + me as u32);
                        turn.store(2 * round + me as u32 + 1, Ordering::Relaxed);
                        notes[1 - me].wakeup();
                    }
                });
            }
        });
    }
}
