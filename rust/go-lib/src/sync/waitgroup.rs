//! [`WaitGroup`].
//!
//! Go: sync/waitgroup.go

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::block::sema::WaitGroupCore;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::{Wait, WaitError};

/// Waits until as many goroutines are done as were added.
///
/// A clone is the same group. It may be used again as soon as the counter has reached zero, also
/// before everybody who waited has returned (Go forbids that).
///
/// # Examples
/// ```
/// use go_lib::sync::WaitGroup;
/// go_lib::run(|| {
///     let wg = WaitGroup::new();
///     for _ in 0..10 {
///         wg.go(|| println!("working"));
///     }
///     wg.wait();
/// });
/// ```
#[derive(Clone, Default)]
pub struct WaitGroup {
    core: Arc<WaitGroupCore>,
}

impl WaitGroup {
    /// A group with a counter of zero.
    ///
    /// # Examples
    /// ```
    /// go_lib::sync::WaitGroup::new().wait(); // nothing to wait for
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `delta`, which may be negative; at zero all waiters resume.
    ///
    /// Blocks: nothing. Panics: if the counter would fall below zero.
    ///
    /// # Examples
    /// ```
    /// let wg = go_lib::sync::WaitGroup::new();
    /// wg.add(2);
    /// wg.add(-2);
    /// wg.wait();
    /// ```
    #[inline]
    pub fn add(&self, delta: i64) {
        if let Err(e) = self.core.add(delta) {
            std::panic::panic_any(e.to_string());
        }
    }

    /// One is done: `add(-1)`.
    ///
    /// Panics: if the counter is zero.
    ///
    /// # Examples
    /// ```
    /// let wg = go_lib::sync::WaitGroup::new();
    /// wg.add(1);
    /// wg.done();
    /// wg.wait();
    /// ```
    #[inline]
    pub fn done(&self) {
        self.add(-1);
    }

    /// Waits until the counter is zero.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// go_lib::run(|| {
    ///     let wg = go_lib::sync::WaitGroup::new();
    ///     wg.add(1);
    ///     let wg2 = wg.clone();
    ///     go_lib::go!(move || wg2.done());
    ///     wg.wait();
    /// });
    /// ```
    #[inline]
    pub fn wait(&self) {
        if let Err(e) = self.core.wait(Wait::Block) {
            std::panic::panic_any(e.to_string());
        }
    }

    /// Waits until the counter is zero, but not longer than `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a wait that timed out leaves nothing.
    ///
    /// # Errors
    /// [`WaitError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let wg = go_lib::sync::WaitGroup::new();
    /// wg.add(1);
    /// assert!(wg.wait_timeout(std::time::Duration::from_millis(1)).is_err());
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitError> {
        self.core.wait(Wait::Until(deadline_after(timeout)))
    }

    /// The counter.
    pub(crate) fn count(&self) -> i64 {
        self.core.count()
    }

    /// Runs `f` as a goroutine of the group: it counts from now until it ends, also by a panic.
    ///
    /// Blocks: nothing. Panics: if no thread can be had to run it. Go: `WaitGroup.Go`.
    ///
    /// # Examples
    /// ```
    /// go_lib::run(|| {
    ///     let wg = go_lib::sync::WaitGroup::new();
    ///     wg.go(|| ());
    ///     wg.wait();
    /// });
    /// ```
    #[track_caller]
    pub fn go<R>(&self, f: impl FnOnce() -> R + Send + 'static) {
        struct Done(WaitGroup);
        impl Drop for Done {
            fn drop(&mut self) {
                self.0.done();
            }
        }
        self.add(1);
        let done = Done(self.clone());
        crate::go(move || {
            let _done = done;
            f();
        });
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.core.count()).finish()
    }
}
