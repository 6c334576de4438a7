//! [`Cond`]: waiting for a condition that a mutex guards.
//!
//! Go: sync/cond.go

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::prim::const_new;
use crate::runtime::block::sema::CondCore;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::sync::mutex::{Mutex, MutexGuard};

/// A mutex that [`Cond::wait`] can give up and take again: [`Mutex`] and `std::sync::Mutex`.
///
/// # Examples
/// ```
/// use go_lib::sync::CondMutex;
/// let m = std::sync::Mutex::new(1);
/// assert_eq!(*m.lock_again(), 1);
/// ```
pub trait CondMutex {
    /// Gives access to the guarded value; dropping it unlocks.
    type Guard<'a>
    where
        Self: 'a;

    /// Locks it; a poisoned one too.
    fn lock_again(&self) -> Self::Guard<'_>;
}

impl<T: ?Sized> CondMutex for Mutex<T> {
    type Guard<'a>
        = MutexGuard<'a, T>
    where
        Self: 'a;

    fn lock_again(&self) -> MutexGuard<'_, T> {
        self.lock()
    }
}

impl<T: ?Sized> CondMutex for std::sync::Mutex<T> {
    type Guard<'a>
        = std::sync::MutexGuard<'a, T>
    where
        Self: 'a;

    fn lock_again(&self) -> std::sync::MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pointer to a mutex works too: `cond.wait(&arc_of_mutex, guard)`.
macro_rules! cond_mutex_behind {
    ($($pointer:ty),*) => {$(
        impl<L: CondMutex + ?Sized> CondMutex for $pointer {
            type Guard<'a>
                = L::Guard<'a>
            where
                Self: 'a;

            fn lock_again(&self) -> L::Guard<'_> {
                (**self).lock_again()
            }
        }
    )*};
}

cond_mutex_behind!(&L, Arc<L>, Box<L>);

/// A condition variable: waiters resume when notified, in the order in which they came.
///
/// # Examples
/// ```
/// use go_lib::sync::{Cond, Mutex};
/// use std::sync::Arc;
/// go_lib::run(|| {
///     let shared = Arc::new((Mutex::new(false), Cond::new()));
///     let other = shared.clone();
///     go_lib::go!(move || {
///         *other.0.lock() = true;
///         other.1.notify_one();
///     });
///     let mut ready = shared.0.lock();
///     while !*ready {
///         ready = shared.1.wait(&shared.0, ready);
///     }
/// });
/// ```
#[derive(Default)]
pub struct Cond {
    core: CondCore,
}

impl Cond {
    const_new! {
        /// One that nobody waits on.
        ///
        /// # Examples
        /// ```
        /// go_lib::sync::Cond::new().notify_all(); // nobody: nothing happens
        /// ```
        pub fn new() -> Self {
            Cond { core: CondCore::new() }
        }
    }

    /// Gives `guard`, which is `mutex`'s, up, waits to be notified and locks `mutex` again.
    ///
    /// Nobody is woken for nothing, but the condition may have changed again by the time the lock
    /// is taken: wait in a loop.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// use go_lib::sync::Cond;
    /// use std::sync::{Arc, Mutex};
    /// let shared = Arc::new((Mutex::new(0), Cond::new()));
    /// let other = shared.clone();
    /// let thread = std::thread::spawn(move || {
    ///     *other.0.lock().unwrap() += 1;
    ///     other.1.notify_all();
    /// });
    /// let mut n = shared.0.lock().unwrap();
    /// while *n == 0 {
    ///     n = shared.1.wait(&shared.0, n);
    /// }
    /// thread.join().unwrap();
    /// ```
    pub fn wait<'a, L: CondMutex>(&self, mutex: &'a L, guard: L::Guard<'a>) -> L::Guard<'a> {
        match self.core.wait(Wait::Block, || drop(guard)) {
            Ok(()) => mutex.lock_again(),
            Err(e) => std::panic::panic_any(e.to_string()),
        }
    }

    /// As [`Cond::wait`], but not longer than `timeout`, and with whether it was notified.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a wait that timed out has taken no
    /// notification.
    ///
    /// # Examples
    /// ```
    /// use go_lib::sync::{Cond, Mutex};
    /// let (m, c) = (Mutex::new(()), Cond::new());
    /// let (_guard, notified) = c.wait_timeout(&m, m.lock(), std::time::Duration::from_millis(1));
    /// assert!(!notified);
    /// ```
    pub fn wait_timeout<'a, L: CondMutex>(
        &self,
        mutex: &'a L,
        guard: L::Guard<'a>,
        timeout: Duration,
    ) -> (L::Guard<'a>, bool) {
        match self.core.wait(Wait::Until(deadline_after(timeout)), || drop(guard)) {
            Ok(()) => (mutex.lock_again(), true),
            Err(WaitError::Timeout) => (mutex.lock_again(), false),
            Err(e) => std::panic::panic_any(e.to_string()),
        }
    }

    /// Wakes the waiter that has waited longest. Go: `Cond.Signal`.
    ///
    /// Blocks: nothing. The mutex need not be held.
    ///
    /// # Examples
    /// ```
    /// go_lib::sync::Cond::new().notify_one();
    /// ```
    pub fn notify_one(&self) {
        self.core.notify(1);
    }

    /// Wakes all current waiters. Go: `Cond.Broadcast`.
    ///
    /// Blocks: nothing. The mutex need not be held.
    ///
    /// # Examples
    /// ```
    /// go_lib::sync::Cond::new().notify_all();
    /// ```
    pub fn notify_all(&self) {
        self.core.notify_all();
    }
}

impl fmt::Debug for Cond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cond")
    }
}
