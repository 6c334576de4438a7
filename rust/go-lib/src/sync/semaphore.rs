//! [`Semaphore`]: a limited number at a time.
//!
//! Go: golang.org/x/sync/semaphore

use std::fmt;
use std::time::Duration;

use crate::prim::const_new;
use crate::runtime::block::sema::SemaphoreCore;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::{Wait, WaitError};

/// Permits that are taken and given back; callers that find too few wait, in order.
///
/// # Examples
/// ```
/// use go_lib::sync::{Semaphore, WaitGroup};
/// use std::sync::Arc;
/// go_lib::run(|| {
///     let (three_at_a_time, wg) = (Arc::new(Semaphore::new(3)), WaitGroup::new());
///     for _ in 0..10 {
///         let permits = three_at_a_time.clone();
///         wg.go(move || {
///             permits.acquire(1);
///             go_lib::gosched();
///             permits.release(1);
///         });
///     }
///     wg.wait();
/// });
/// ```
pub struct Semaphore {
    core: SemaphoreCore,
}

impl Semaphore {
    const_new! {
        /// A semaphore of `size` permits.
        ///
        /// # Examples
        /// ```
        /// assert!(go_lib::sync::Semaphore::new(2).try_acquire(2));
        /// ```
        pub fn new(size: usize) -> Self {
            Semaphore { core: SemaphoreCore::new(size) }
        }
    }

    fn check(&self, n: usize) {
        assert!(n <= self.core.size(), "semaphore: {n} of {} permits wished", self.core.size());
    }

    /// Takes `n` permits. Nobody overtakes: a large wish is not starved by small ones.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: if it has fewer permits (Go's waits
    /// forever).
    ///
    /// # Examples
    /// ```
    /// let s = go_lib::sync::Semaphore::new(2);
    /// s.acquire(2);
    /// assert!(!s.try_acquire(1));
    /// ```
    pub fn acquire(&self, n: usize) {
        self.check(n);
        if let Err(e) = self.core.acquire(n, Wait::Block) {
            std::panic::panic_any(e.to_string());
        }
    }

    /// Takes `n` permits if they are free and nobody waits; says whether it did.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// assert!(!go_lib::sync::Semaphore::new(1).try_acquire(2));
    /// ```
    pub fn try_acquire(&self, n: usize) -> bool {
        self.core.acquire(n, Wait::Try).is_ok()
    }

    /// Takes `n` permits if it can within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: as [`Semaphore::acquire`]. Cancel: a wait
    /// that timed out holds nothing and keeps nobody waiting.
    ///
    /// # Errors
    /// [`WaitError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let s = go_lib::sync::Semaphore::new(1);
    /// s.acquire(1);
    /// assert!(s.acquire_timeout(1, std::time::Duration::from_millis(1)).is_err());
    /// ```
    pub fn acquire_timeout(&self, n: usize, timeout: Duration) -> Result<(), WaitError> {
        self.check(n);
        self.core.acquire(n, Wait::Until(deadline_after(timeout)))
    }

    /// Gives `n` permits back.
    ///
    /// Blocks: nothing. Panics: if fewer are held.
    ///
    /// # Examples
    /// ```
    /// let s = go_lib::sync::Semaphore::new(1);
    /// s.acquire(1);
    /// s.release(1);
    /// assert!(s.try_acquire(1));
    /// ```
    pub fn release(&self, n: usize) {
        if let Err(e) = self.core.release(n) {
            std::panic::panic_any(e.to_string());
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("size", &self.core.size())
            .field("free", &self.core.free())
            .finish()
    }
}
