//! An event that can be taken back: set wakes all who wait, until it is cleared others go through.
//!
//! # Invariants
//! 1. `set` is written, and the queue read, under its lock; so a wait that begins after a `clear`
//!    is not woken by a `set` before it.
//!
//! Go: a channel that is closed and made anew

use crate::prim::{AtomicBool, Ordering};
use crate::runtime::block::sema::{deadline, At, SemaQ};
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;

/// The event.
pub struct Flag {
    set: AtomicBool,
    q: SemaQ,
}

impl Default for Flag {
    fn default() -> Self {
        Self::new()
    }
}

impl Flag {
    /// An event that is not set.
    pub fn new() -> Self {
        Flag { set: AtomicBool::new(false), q: SemaQ::new() }
    }

    /// True while it is set.
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the Release in set.
        self.set.load(Ordering::Acquire)
    }

    /// Sets it and wakes all who wait.
    pub fn set(&self) {
        self.q.lock.lock();
        // Release: publishes what was done before to readers without the lock.
        self.set.store(true, Ordering::Release);
        // SAFETY: the lock is held.
        let woken = unsafe { self.q.take_all() };
        self.q.lock.unlock();
        woken.ready();
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.q.lock.lock();
        // Relaxed: it publishes nothing.
        self.set.store(false, Ordering::Relaxed);
        self.q.lock.unlock();
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
        if self.is_set() {
            self.q.lock.unlock();
            return Ok(());
        }
        // SAFETY: the lock is held.
        unsafe { self.q.park(At::Back, 0, reason, deadline, |_| ()) }.map(|_| ())
    }
}
