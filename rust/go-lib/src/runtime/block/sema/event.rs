//! A one-shot event: set once, wakes all who wait; later waits return at once.
//!
//! # Invariants
//! 1. `state` only grows: UNSET, WAITED (somebody may wait), SET.
//! 2. WAITED is set, and the queue read, under its lock: a waiter that queued up is found by the
//!    `set` that saw WAITED, one that comes later sees SET.
//!
//! Go: a channel that is only ever closed

use crate::prim::{AtomicU32, Ordering};
use crate::runtime::block::sema::{deadline, At, SemaQ};
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;

const UNSET: u32 = 0;
const WAITED: u32 = 1;
const SET: u32 = 2;

/// The event.
pub struct Event {
    state: AtomicU32,
    q: SemaQ,
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Self {
        Event { state: AtomicU32::new(UNSET), q: SemaQ::new() }
    }

    /// True once it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the Release in set.
        self.state.load(Ordering::Acquire) == SET
    }

    /// Sets it and wakes all who wait; false if it was set before. The caller keeps the event
    /// alive until this returns.
    pub fn set(&self) -> bool {
        // AcqRel: Release publishes what was done before the event; by 2 Acquire is not needed for
        // the queue, whose lock orders it, but for the loser of two sets.
        match self.state.swap(SET, Ordering::AcqRel) {
            UNSET => true,
            WAITED => {
                self.q.lock.lock();
                // SAFETY: the lock is held.
                let woken = unsafe { self.q.take_all() };
                self.q.lock.unlock();
                woken.ready();
                true
            }
            _ => false,
        }
    }

    /// Takes it back. Nobody waits for it, and nobody is setting it.
    pub fn reset(&self) {
        self.state.store(UNSET, Ordering::Relaxed);
    }

    /// Waits until it is set.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait(&self, wait: Wait, reason: WaitReason) -> Result<(), WaitError> {
        if self.is_set() {
            return Ok(());
        }
        let deadline = deadline(wait)?;
        self.q.lock.lock();
        // Acquire: pairs with the Release in set, should it be set by now.
        let old = self.state.compare_exchange(UNSET, WAITED, Ordering::Acquire, Ordering::Acquire);
        if old == Err(SET) {
            self.q.lock.unlock();
            return Ok(());
        }
        // SAFETY: the lock is held.
        unsafe { self.q.park(At::Back, 0, reason, deadline, |_| ()) }.map(|_| ())
    }
}
