//! [`Mutex`]: mutual exclusion that parks goroutines.
//!
//! Go: sync/mutex.go

#![allow(unsafe_code, reason = "gives out the value that the lock guards")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::prim::const_new;
use crate::runtime::block::sema::MutexCore;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::{Wait, WaitError};

/// A value that one goroutine or thread at a time may use.
///
/// A goroutine that waits is parked; the guard may be held across anything that parks, and the
/// goroutine may resume on another thread. Nothing is poisoned: a panic unlocks. Waiters are served
/// as in Go: newcomers may win for a millisecond, then it is handed over in order.
///
/// # Examples
/// ```
/// use go_lib::sync::{Mutex, WaitGroup};
/// use std::sync::Arc;
/// let sum = go_lib::run(|| {
///     let (sum, wg) = (Arc::new(Mutex::new(0)), WaitGroup::new());
///     for i in 0..10 {
///         let sum = sum.clone();
///         wg.go(move || *sum.lock() += i);
///     }
///     wg.wait();
///     let total = *sum.lock();
///     total
/// });
/// assert_eq!(sum, 45);
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    core: MutexCore,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives exclusive access to the value.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: owning the mutex is owning the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    const_new! {
        /// An unlocked mutex.
        ///
        /// # Examples
        /// ```
        /// let m = go_lib::sync::Mutex::new(1);
        /// assert_eq!(*m.lock(), 1);
        /// ```
        pub fn new(value: T) -> Self {
            Mutex { core: MutexCore::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value; nobody else can have it.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(go_lib::sync::Mutex::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks it until the guard is dropped.
    ///
    /// Blocks: the goroutine or the OS thread. Locking it again in the same goroutine is a
    /// deadlock. Go: `Mutex.Lock`.
    ///
    /// # Examples
    /// ```
    /// let m = go_lib::sync::Mutex::new(1);
    /// *m.lock() += 1;
    /// assert_eq!(*m.lock(), 2);
    /// ```
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.core.lock(Wait::Block) {
            Ok(()) => MutexGuard::new(self),
            Err(e) => std::panic::panic_any(e.to_string()),
        }
    }

    /// Locks it if nobody holds it. Go: `Mutex.TryLock`.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// let m = go_lib::sync::Mutex::new(1);
    /// let guard = m.lock();
    /// assert!(m.try_lock().is_none());
    /// drop(guard);
    /// assert!(m.try_lock().is_some());
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.core.try_lock().then(|| MutexGuard::new(self))
    }

    /// Locks it if it can within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a wait that timed out leaves nothing.
    ///
    /// # Errors
    /// [`WaitError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let m = go_lib::sync::Mutex::new(1);
    /// let _guard = m.lock();
    /// assert!(m.lock_timeout(std::time::Duration::from_millis(1)).is_err());
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, WaitError> {
        self.core.lock(Wait::Until(deadline_after(timeout)))?;
        Ok(MutexGuard::new(self))
    }

    /// The value, without locking: we are borrowed exclusively.
    ///
    /// # Examples
    /// ```
    /// let mut m = go_lib::sync::Mutex::new(1);
    /// *m.get_mut() = 2;
    /// assert_eq!(m.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_struct("Mutex").field("value", &&*guard).finish(),
            None => f.write_str("Mutex { <locked> }"),
        }
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

/// Access to the value of a locked [`Mutex`]; dropping it unlocks.
///
/// It may be dropped by another goroutine than the one that locked.
///
/// # Examples
/// ```
/// let m = go_lib::sync::Mutex::new(vec![1]);
/// let mut guard = m.lock();
/// guard.push(2);
/// assert_eq!(guard.len(), 2);
/// ```
#[must_use = "the mutex is unlocked at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    of: &'a Mutex<T>,
    /// Shared and sent as an exclusive borrow of the value is.
    value: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The guard of a lock that was just taken.
    #[inline]
    fn new(of: &'a Mutex<T>) -> Self {
        MutexGuard { of, value: PhantomData }
    }
}

super::never_poisoned!(MutexGuard);

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while the lock is held.
        unsafe { &*self.of.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while the lock is held, and we are borrowed mutably.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // We are the proof.
        self.of.core.unlock_held();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
