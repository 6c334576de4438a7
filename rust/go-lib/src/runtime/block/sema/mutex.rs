//! The goroutines' mutex, with Go's two modes.
//!
//! *Normal*: a waiter that is woken competes with those who just come; they run already, so they
//! often win, which is what makes it fast. *Starving*: a waiter that lost for more than a
//! millisecond asks to be next; unlock then hands the mutex over in order of arrival, and newcomers
//! queue up. The last waiter, or one that waited less, ends that mode.
//!
//! # Invariants
//! 1. `state`: LOCKED; WOKEN: a waiter was woken and has not yet looked; STARVING; WAITED: the
//!    queue may not be empty.
//! 2. The word is changed without the queue's lock only by setting LOCKED when neither LOCKED nor STARVING is set, and
//!    by clearing LOCKED, which its holder does. So STARVING without LOCKED is a mutex on its way to a starving
//!    waiter: under the queue's lock the unlocker alone decides.
//! 3. Not LOCKED and the queue not empty implies WOKEN, or an unlocker that has cleared LOCKED and is about to look at
//!    the queue: nobody is forgotten.
//!
//! # Memory ordering
//! Taking LOCKED is Acquire, clearing it Release. A hand-over is ordered by the queue's lock and by
//! readying the waiter.
//!
//! Go: internal/sync/mutex.go

use std::fmt;

use crate::prim::{const_new, spin_hint, AtomicU32, Ordering};
use crate::runtime::block::sema::{At, SemaQ};
use crate::runtime::object::g::Kind;
use crate::runtime::object::sudog::Sudog;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::park::yield_if_asked;
use crate::runtime::proc::ready::goready;
use crate::runtime::proc::{self, getg, procs};
use crate::sys::clock::nanotime;

const LOCKED: u32 = 1;
const WOKEN: u32 = 2;
const STARVING: u32 = 4;
const WAITED: u32 = 8;

/// A waiter that loses for longer asks for the hand-over. In a model, where time does not pass,
/// it does so at once.
const STARVING_NS: i64 = if cfg!(golib_loom) { -1 } else { 1_000_000 };

/// Rounds of spinning and pauses in each, before the first wait: Go's.
const SPIN_ROUNDS: u32 = 4;
const SPIN_PAUSES: u32 = 30;

/// The mutex was not locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnlockOfUnlocked;

impl fmt::Display for UnlockOfUnlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sync: unlock of unlocked mutex")
    }
}

impl std::error::Error for UnlockOfUnlocked {}

/// A mutex without data.
pub struct MutexCore {
    state: AtomicU32,
    q: SemaQ,
}

impl Default for MutexCore {
    fn default() -> Self {
        Self::new()
    }
}

impl MutexCore {
    const_new! {
        /// An unlocked mutex.
        pub fn new() -> Self {
            MutexCore { state: AtomicU32::new(0), q: SemaQ::new() }
        }
    }

    /// True if somebody holds it.
    pub fn is_locked(&self) -> bool {
        // Relaxed: a snapshot.
        self.state.load(Ordering::Relaxed) & LOCKED != 0
    }

    /// True if the next unlock hands it over. For its holder.
    #[cfg(golib_loom)]
    pub(crate) fn is_starving(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STARVING != 0
    }

    /// Takes it if it is free and nobody starves.
    #[inline]
    pub fn try_lock(&self) -> bool {
        let old = self.state.load(Ordering::Relaxed);
        // Acquire: pairs with the Release in unlock.
        old & (LOCKED | STARVING) == 0
            && self
                .state
                .compare_exchange(old, old | LOCKED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Locks it.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`]; then it is not held.
    #[inline]
    pub fn lock(&self, wait: Wait) -> Result<(), WaitError> {
        yield_if_asked();
        // Acquire: pairs with the Release in unlock.
        if self.state.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Ok(());
        }
        self.lock_slow(wait)
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self, wait: Wait) -> Result<(), WaitError> {
        if self.try_lock() || (wait != Wait::Try && self.spin()) {
            return Ok(());
        }
        let caller = proc::caller();
        let mut since = 0;
        // The bit to clear when looking: the WOKEN that was set for this waiter.
        let mut awoke = 0;
        let mut starving = 0;
        loop {
            self.q.lock.lock();
            if self.take_or_announce(awoke, starving) {
                self.q.lock.unlock();
                return Ok(());
            }
            // An error may leave WAITED set in vain, which the next unlock finds out; by 1 and 3 that
            // unlock also wakes whoever else waits.
            let deadline = self.q.deadline(wait)?;
            let at = if since == 0 { At::Back } else { At::Front };
            if since == 0 {
                since = nanotime();
            } else {
                proc::set_caller(caller);
            }
            let left = |empty| {
                if empty {
                    // Relaxed: the lock orders it.
                    self.state.fetch_and(!(WAITED | STARVING), Ordering::Relaxed);
                }
            };
            // SAFETY: the lock is held.
            let handed_over =
                unsafe { self.q.park(at, since as usize, WaitReason::MutexLock, deadline, left)? };
            if handed_over {
                return Ok(());
            }
            awoke = WOKEN;
            if nanotime() - since > STARVING_NS {
                starving = STARVING;
            }
        }
    }

    /// Under the queue's lock: takes the mutex (true), or announces a waiter.
    fn take_or_announce(&self, awoke: u32, starving: u32) -> bool {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let free = old & (LOCKED | STARVING) == 0;
            let new = if free { old | LOCKED } else { old | WAITED | starving } & !awoke;
            // Acquire: pairs with the Release in unlock.
            match self.state.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return free,
                Err(now) => old = now,
            }
        }
    }

    /// Waits a little for a holder that runs on another CPU; true if that got the mutex.
    fn spin(&self) -> bool {
        // SAFETY: our own G. A host's goroutines never run beside their holder.
        let may_run_beside = unsafe { (*getg()).kind.get() } != Kind::Host;
        if cfg!(golib_loom) || !may_run_beside || procs::gomaxprocs() < 2 {
            return false;
        }
        for _ in 0..SPIN_ROUNDS {
            for _ in 0..SPIN_PAUSES {
                spin_hint();
            }
            let old = self.state.load(Ordering::Relaxed);
            if old & STARVING != 0 {
                return false;
            }
            if old & LOCKED == 0 && self.try_lock() {
                return true;
            }
        }
        false
    }

    /// Unlocks it; the caller need not have locked it.
    ///
    /// # Errors
    /// It is not locked.
    #[inline]
    pub fn unlock(&self) -> Result<(), UnlockOfUnlocked> {
        let mut old = LOCKED;
        while old & LOCKED != 0 {
            let new = old & !LOCKED;
            // Release: pairs with Acquire in lock.
            match self.state.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if old != LOCKED {
                        self.unlocked(old);
                    }
                    return Ok(());
                }
                Err(now) => old = now,
            }
        }
        Err(UnlockOfUnlocked)
    }

    /// As [`unlock`](Self::unlock) for a caller that knows that it is locked.
    #[inline]
    pub(crate) fn unlock_held(&self) {
        // Release: pairs with Acquire in lock.
        let old = self.state.fetch_sub(LOCKED, Ordering::Release);
        debug_assert_ne!(old & LOCKED, 0, "unlock of unlocked mutex");
        if old != LOCKED {
            self.unlocked(old);
        }
    }

    /// LOCKED was cleared from `old`: hands the mutex over to a starving waiter, or wakes one.
    #[cold]
    #[inline(never)]
    fn unlocked(&self, old: u32) {
        if old & (WOKEN | STARVING) == WOKEN {
            // It looks, and its unlock sees to those behind it.
            return;
        }
        self.q.lock.lock();
        // Relaxed: our own RMW came before, and the lock orders those of others that matter.
        let old = self.state.load(Ordering::Relaxed);
        if old & LOCKED != 0 || old & (WOKEN | STARVING) == WOKEN {
            // A newcomer has it, whose unlock looks at the queue; or as above.
            self.q.lock.unlock();
            return;
        }
        // SAFETY: the lock is held; readied below.
        let sg = unsafe { self.q.q.dequeue_claimed() };
        let more = if self.q.q.is_empty() { 0 } else { WAITED };
        if old & STARVING != 0 {
            self.hand_over(old, sg, more);
        } else {
            self.announce_woken(if sg.is_null() { 0 } else { WOKEN } | more);
        }
        self.q.lock.unlock();
        if !sg.is_null() {
            // SAFETY: claimed above; its sudog is gone once it runs, so its G is read before.
            unsafe { goready((*sg).g) };
        }
    }

    /// Under the queue's lock, by 2: makes the claimed waiter `sg` the holder; null: ends that mode.
    fn hand_over(&self, old: u32, sg: *mut Sudog, more: u32) {
        let mut new = old & !WAITED | more;
        if sg.is_null() {
            new &= !STARVING;
        } else {
            // SAFETY: a claimed sudog is ours until its G is readied.
            let since = unsafe {
                (*sg).success.set(true);
                (*sg).tag as i64
            };
            new |= LOCKED;
            if more == 0 || nanotime() - since <= STARVING_NS {
                new &= !STARVING;
            }
        }
        // Release: pairs with Acquire in lock: publishes the holder's writes.
        self.state.store(new, Ordering::Release);
    }

    /// Under the queue's lock: sets WOKEN and WAITED as `bits` say. Newcomers may take the mutex meanwhile.
    fn announce_woken(&self, bits: u32) {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let new = old & !WAITED | bits;
            // Relaxed: an RMW passes on what the unlock released.
            match self.state.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::{MutexCore, UnlockOfUnlocked, LOCKED, STARVING, WAITED, WOKEN};
    use crate::runtime::object::wait::{Wait, WaitError};

    fn word(mutex: &MutexCore) -> u32 {
        mutex.state.load(Ordering::Relaxed)
    }

    /// Waits until somebody is in the queue.
    fn until_queued(mutex: &MutexCore) {
        loop {
            mutex.q.lock.lock();
            let queued = !mutex.q.q.is_empty();
            mutex.q.lock.unlock();
            if queued {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_unlock_beside_a_woken_waiter_wakes_nobody_else() {
        let (mutex, got) = (MutexCore::new(), AtomicU32::new(0));
        mutex.lock(Wait::Block).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                mutex.lock(Wait::Block).unwrap();
                got.store(1, Ordering::Relaxed);
                mutex.unlock().unwrap();
            });
            until_queued(&mutex);
            // As if another waiter had been woken, and had not looked yet.
            mutex.state.fetch_or(WOKEN, Ordering::Relaxed);
            mutex.unlock().unwrap();
            assert_eq!(word(&mutex), WOKEN | WAITED);
            // Newcomers take it, and leave it so too.
            assert!(mutex.try_lock());
            assert_eq!(word(&mutex), LOCKED | WOKEN | WAITED);
            mutex.unlock().unwrap();
            until_queued(&mutex);
            assert_eq!((word(&mutex), got.load(Ordering::Relaxed)), (WOKEN | WAITED, 0));
            // That other waiter looks, and its unlock wakes the one in the queue.
            mutex.q.lock.lock();
            assert!(mutex.take_or_announce(WOKEN, 0));
            mutex.q.lock.unlock();
            assert_eq!(word(&mutex), LOCKED | WAITED);
            mutex.unlock().unwrap();
        });
        assert_eq!((word(&mutex), got.into_inner()), (0, 1));
    }

    #[test]
    fn one_that_starves_gets_it_from_the_unlock_also_beside_a_woken_waiter() {
        let (mutex, handed) = (MutexCore::new(), AtomicU32::new(0));
        let looked = AtomicBool::new(false);
        mutex.lock(Wait::Block).unwrap();
        let newcomer = std::thread::scope(|scope| {
            scope.spawn(|| {
                mutex.lock(Wait::Block).unwrap();
                handed.store(word(&mutex), Ordering::Relaxed);
                while !looked.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                mutex.unlock().unwrap();
            });
            until_queued(&mutex);
            mutex.state.fetch_or(WOKEN | STARVING, Ordering::Relaxed);
            let before = mutex.try_lock();
            mutex.unlock().unwrap();
            let after = mutex.try_lock();
            if after {
                mutex.unlock().unwrap();
            }
            looked.store(true, Ordering::Relaxed);
            (before, after)
        });
        assert_eq!(newcomer, (false, false), "a newcomer got what was handed over");
        assert_eq!(
            handed.into_inner() & (LOCKED | STARVING),
            LOCKED,
            "the last one ends that mode"
        );
    }

    #[test]
    fn one_who_waits_in_vain_leaves_a_mutex_that_can_be_had() {
        let mutex = MutexCore::new();
        assert_eq!(mutex.unlock(), Err(UnlockOfUnlocked));
        mutex.lock(Wait::Block).unwrap();
        assert_eq!(mutex.lock(Wait::Try), Err(WaitError::WouldBlock));
        assert_eq!(mutex.lock(Wait::Until(0)), Err(WaitError::Timeout));
        let soon = crate::runtime::clock::now() + 200_000;
        assert_eq!(mutex.lock(Wait::Until(soon)), Err(WaitError::Timeout));
        assert!(mutex.is_locked());
        mutex.unlock().unwrap();
        assert_eq!(word(&mutex), 0);
        assert_eq!(mutex.unlock(), Err(UnlockOfUnlocked));
        assert!(mutex.try_lock());
    }
}
