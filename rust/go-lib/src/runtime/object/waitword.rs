//! The claim word of a G's waits: one compare-and-swap decides who ends a wait.
//!
//! ```text
//!   63                              8   7       6..0
//!  | generation of the wait          | PENDING | state |
//!
//!  IDLE ──begin──► WAITING ──claim──► PEER | TIMER | INTERRUPT | DEADLOCK ──begin──► WAITING
//! ```
//! A peer, a close, a timer, an interrupt compete by one CAS from WAITING. The winner must ready
//! the G; the losers leave no trace (they try the next waiter). PENDING is an interrupt that found
//! the G not waiting: `begin` refuses and the operation returns interrupted.
//!
//! Go: runtime/HACKING.md

use crate::prim::{AtomicU64, Ordering};
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::wait::Wake;

const STATE_MASK: u64 = 0x7f;
const PENDING: u64 = 0x80;
const GENERATION: u64 = 0x100;
const IDLE: u64 = 0;
const WAITING: u64 = 1;
const PEER: u64 = 2;
const TIMER: u64 = 3;
const INTERRUPT: u64 = 4;
const DEADLOCK: u64 = 5;

/// The claim word of a G's waits.
pub(crate) struct WaitWord(AtomicU64);

impl WaitWord {
    pub(crate) fn new() -> Self {
        WaitWord(AtomicU64::new(0))
    }

    /// The generation that the next wait will have.
    #[inline]
    pub(crate) fn next_generation(&self) -> u64 {
        // Relaxed: only the G itself changes the generation.
        (self.0.load(Ordering::Relaxed) & !(STATE_MASK | PENDING)).wrapping_add(GENERATION)
    }

    /// The generation of the wait that the G has opened last. Called by the G's M.
    pub(crate) fn generation(&self) -> u64 {
        // Relaxed: as above; claims leave it.
        self.0.load(Ordering::Relaxed) & !(STATE_MASK | PENDING)
    }

    /// Opens a wait. False: an interrupt is pending; the wait counts as claimed by it.
    #[inline]
    pub(crate) fn begin(&self) -> bool {
        let old = self.0.load(Ordering::Relaxed);
        debug_assert_ne!(old & STATE_MASK, WAITING);
        let new = (old & !(STATE_MASK | PENDING)).wrapping_add(GENERATION);
        // Release: the claimer sees what the G wrote before (its sudogs); pairs with the Acquire of
        // claim. The RMW makes begin and `interrupt` see one another.
        if old & PENDING == 0
            && self
                .0
                .compare_exchange(old, new | WAITING, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        {
            return true;
        }
        // Not waiting, and pending already: nobody else changes it now. Relaxed: a RMW passes the
        // Release of `interrupt` on to readers with Acquire (`take_pending`, `is_pending`).
        self.0.swap(new | PENDING | INTERRUPT, Ordering::Relaxed);
        false
    }

    /// Makes the wait unclaimable forever: the G's thread does not exist in a forked child.
    pub(crate) fn kill(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn claim(&self, by: u64) -> bool {
        let mut w = self.0.load(Ordering::Relaxed);
        while w & STATE_MASK == WAITING {
            // Acquire: pairs with begin. The claimer's goready publishes what it wrote.
            match self.0.compare_exchange_weak(
                w,
                w & !STATE_MASK | by,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return self.claimed(by),
                Err(now) => w = now,
            }
        }
        false
    }

    /// Tells of a claim; true.
    #[inline(always)]
    fn claimed(&self, by: u64) -> bool {
        event::pass(self, Event::Claimed(Self::wake_of(by)));
        true
    }

    /// The operation's own waker claims the wait.
    #[inline]
    pub(crate) fn claim_peer(&self) -> bool {
        self.claim(PEER)
    }

    /// A timer claims the wait it was armed for.
    pub(crate) fn claim_timer(&self, generation: u64) -> bool {
        self.claim_generation(generation, TIMER)
    }

    /// The deadlock detector claims whatever wait there is.
    pub(crate) fn claim_deadlock(&self) -> bool {
        self.claim(DEADLOCK)
    }

    fn claim_generation(&self, generation: u64, by: u64) -> bool {
        let mut w = self.0.load(Ordering::Relaxed);
        while w & !PENDING == generation | WAITING {
            // Acquire: pairs with the Release of begin.
            match self.0.compare_exchange_weak(
                w,
                generation | by | w & PENDING,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return self.claimed(by),
                Err(now) => w = now,
            }
        }
        false
    }

    /// Asks the G to leave its wait: claims it if there is one (true: the caller must ready the
    /// G), else leaves the request pending for its next wait.
    pub(crate) fn interrupt(&self) -> bool {
        let mut w = self.0.load(Ordering::Relaxed);
        loop {
            let new = if w & STATE_MASK == WAITING {
                w & !STATE_MASK | INTERRUPT | PENDING
            } else {
                w | PENDING
            };
            // AcqRel: Acquire as in claim; Release publishes the interrupt's reason, and pairs with
            // `take_pending` and `is_pending`.
            match self.0.compare_exchange_weak(w, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if w & STATE_MASK == WAITING => return self.claimed(INTERRUPT),
                Ok(_) => return false,
                Err(now) => w = now,
            }
        }
    }

    /// True while somebody may still claim the wait.
    pub(crate) fn is_waiting(&self) -> bool {
        // Relaxed: a look that decides nothing alone.
        self.0.load(Ordering::Relaxed) & STATE_MASK == WAITING
    }

    /// True when an interrupt has been asked for and not yet taken.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        // Acquire: pairs with the Release in interrupt.
        self.0.load(Ordering::Acquire) & PENDING != 0
    }

    /// Takes a pending interrupt. True if there was one.
    pub(crate) fn take_pending(&self) -> bool {
        // AcqRel: Acquire pairs with the Release in interrupt.
        self.0.fetch_and(!PENDING, Ordering::AcqRel) & PENDING != 0
    }

    /// The winner of the wait that was just claimed.
    #[inline]
    pub(crate) fn outcome(&self) -> Wake {
        // Relaxed: the claimer readies the G afterwards, and that publishes what it wrote; the
        // reason of an interrupt comes with `take_pending` and `is_pending`.
        Self::wake_of(self.0.load(Ordering::Relaxed))
    }

    fn wake_of(word: u64) -> Wake {
        match word & STATE_MASK {
            PEER => Wake::Peer,
            TIMER => Wake::Timeout,
            DEADLOCK => Wake::Deadlock,
            // IDLE: a killed wait.
            _ => Wake::Interrupt,
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::Barrier;

    use super::WaitWord;
    use crate::runtime::object::wait::Wake;
    use crate::test_rng::Rng;

    #[test]
    fn a_claim_word_does_as_the_picture_says() {
        let mut rng = Rng::new("a_claim_word");
        let word = WaitWord::new();
        let (mut waits, mut pending, mut generation) = (false, false, 0);
        let mut last = Wake::Interrupt;
        let mut claimed = |waits: &mut bool, by: Wake| {
            if *waits {
                last = by;
            }
            (std::mem::take(waits), last)
        };
        for _ in 0..30_000 {
            let (got, (expected, outcome)) = match rng.below(8) {
                0 | 1 if !waits => {
                    generation = word.next_generation();
                    waits = !pending;
                    assert_eq!(word.begin(), waits);
                    if pending {
                        waits = true;
                        assert_eq!(claimed(&mut waits, Wake::Interrupt).1, word.outcome());
                    }
                    continue;
                }
                2 => (word.claim_peer(), claimed(&mut waits, Wake::Peer)),
                3 => (word.claim_deadlock(), claimed(&mut waits, Wake::Deadlock)),
                4 => (word.claim_timer(generation), claimed(&mut waits, Wake::Timeout)),
                5 => {
                    pending = true;
                    (word.interrupt(), claimed(&mut waits, Wake::Interrupt))
                }
                6 => {
                    assert_eq!(word.take_pending(), pending);
                    pending = false;
                    continue;
                }
                _ => {
                    let other = generation.wrapping_sub(0x100 * (1 + rng.below(3)));
                    assert!(!word.claim_timer(other), "a timer of an earlier wait");
                    continue;
                }
            };
            assert_eq!(got, expected);
            if got {
                assert_eq!(word.outcome(), outcome);
            }
            assert_eq!((word.is_waiting(), word.is_pending()), (waits, pending));
            assert_eq!(word.generation(), generation);
        }
    }

    #[test]
    fn of_all_who_claim_a_wait_one_wins() {
        const ROUNDS: u32 = 1_000;
        let (word, wins, turn) = (WaitWord::new(), AtomicU32::new(0), Barrier::new(3));
        let claims: [fn(&WaitWord) -> bool; 3] = [
            |word| word.claim_peer(),
            |word| word.claim_timer(word.generation()),
            |word| word.interrupt(),
        ];
        std::thread::scope(|scope| {
            for (i, claim) in claims.into_iter().enumerate() {
                let (word, wins, turn) = (&word, &wins, &turn);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        if turn.wait().is_leader() {
                            word.take_pending();
                            assert!(word.begin());
                        }
                        turn.wait();
                        wins.fetch_add(u32::from(claim(word)), Ordering::Relaxed);
                        turn.wait();
                        assert_eq!(wins.load(Ordering::Relaxed), round + 1, "claimer {i}");
                    }
                });
            }
        });
    }

    #[test]
    fn a_killed_wait_is_nobodys() {
        let word = WaitWord::new();
        assert!(word.begin());
        let generation = word.generation();
        word.kill();
        assert!(!word.claim_peer() && !word.claim_timer(generation) && !word.claim_deadlock());
        assert!(!word.interrupt(), "who interrupts it must not ready it");
    }
}
