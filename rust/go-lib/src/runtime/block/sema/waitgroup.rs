//! WaitGroup: waits until a counter reaches zero.
//!
//! # Invariants
//! 1. `state` is `counter << 1 | waited`; the counter is never negative.
//! 2. `waited` is set under the queue's lock, while the counter is not zero.
//! 3. The step to zero with `waited` set is made under that lock: it takes exactly the waiters of
//!    this round, so that the group may be used again at once. All other steps need no lock.
//!
//! # Memory ordering
//! A step down is Release and pairs with the Acquire by which a wait looks at the counter:
//! everything done before `done` is seen after `wait`. Steps are RMWs, so the last one carries the
//! releases of all.
//!
//! Go: sync/waitgroup.go

use std::fmt;

use crate::prim::{AtomicI64, Ordering};
use crate::runtime::block::sema::{deadline, At, SemaQ};
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;

const WAITED: i64 = 1;
const ONE: i64 = 2;

/// Why a step was refused; the counter is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitGroupError {
    /// It would fall below zero.
    Negative,
    /// It would not fit.
    TooLarge,
}

impl fmt::Display for WaitGroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitGroupError::Negative => "sync: negative WaitGroup counter",
            WaitGroupError::TooLarge => "sync: WaitGroup counter out of range",
        })
    }
}

impl std::error::Error for WaitGroupError {}

/// The counter and its waiters.
pub struct WaitGroupCore {
    state: AtomicI64,
    q: SemaQ,
}

impl Default for WaitGroupCore {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitGroupCore {
    /// A counter of zero.
    pub fn new() -> Self {
        WaitGroupCore { state: AtomicI64::new(0), q: SemaQ::new() }
    }

    /// The counter.
    pub fn count(&self) -> i64 {
        // Relaxed: a snapshot.
        self.state.load(Ordering::Relaxed) >> 1
    }

    /// The state after a step from `old`.
    fn step(old: i64, delta: i64) -> Result<i64, WaitGroupError> {
        let new = delta.checked_mul(ONE).and_then(|d| old.checked_add(d)).ok_or(if delta < 0 {
            WaitGroupError::Negative
        } else {
            WaitGroupError::TooLarge
        })?;
        if new < 0 {
            return Err(WaitGroupError::Negative);
        }
        Ok(new)
    }

    /// Adds `delta` to the counter; at zero all waiters resume.
    ///
    /// # Errors
    /// See [`WaitGroupError`].
    pub fn add(&self, delta: i64) -> Result<(), WaitGroupError> {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let new = Self::step(old, delta)?;
            if new == WAITED {
                return self.add_to_zero(delta);
            }
            // AcqRel: see the header.
            match self.state.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
    }

    /// The step of 3, or whatever it is by the time the lock is held.
    #[cold]
    #[inline(never)]
    fn add_to_zero(&self, delta: i64) -> Result<(), WaitGroupError> {
        self.q.lock.lock();
        let mut old = self.state.load(Ordering::Relaxed);
        let zero = loop {
            let new = match Self::step(old, delta) {
                Ok(new) => new,
                Err(e) => {
                    self.q.lock.unlock();
                    return Err(e);
                }
            };
            let zero = new == WAITED;
            // AcqRel: see the header. By 3 `waited` is cleared together with the step.
            match self.state.compare_exchange_weak(
                old,
                if zero { 0 } else { new },
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break zero,
                Err(now) => old = now,
            }
        };
        if !zero {
            self.q.lock.unlock();
            return Ok(());
        }
        // SAFETY: the lock is held.
        let woken = unsafe { self.q.take_all() };
        self.q.lock.unlock();
        // From here on the group may be gone: a waiter may own it.
        woken.ready();
        Ok(())
    }

    /// Waits until the counter is zero.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait(&self, wait: Wait) -> Result<(), WaitError> {
        // Acquire: see the header.
        if self.state.load(Ordering::Acquire) >> 1 == 0 {
            return Ok(());
        }
        let deadline = deadline(wait)?;
        self.q.lock.lock();
        // Acquire: see the header. The RMW makes the step to zero see `waited`, or us the zero.
        let mut old = self.state.load(Ordering::Acquire);
        loop {
            if old >> 1 == 0 {
                self.q.lock.unlock();
                return Ok(());
            }
            // Acquire: see the header.
            match self.state.compare_exchange_weak(
                old,
                old | WAITED,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        let left = |empty| {
            if empty {
                // Relaxed: the lock orders it; a step that sees the bit too long only locks.
                self.state.fetch_and(!WAITED, Ordering::Relaxed);
            }
        };
        // SAFETY: the lock is held.
        unsafe { self.q.park(At::Back, 0, WaitReason::WaitGroupWait, deadline, left) }.map(|_| ())
    }
}
