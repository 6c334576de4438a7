//! [`RwLock`]: many readers or one writer, parking goroutines.
//!
//! Go: sync/rwmutex.go

#![allow(unsafe_code, reason = "gives out the value that the lock guards")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::prim::const_new;
use crate::runtime::block::sema::RwMutexCore;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::{Wait, WaitError};

/// A value that many may read, or one may change.
///
/// A waiting writer stops new readers, and a writer that ends lets in the readers that wait, so
/// nobody starves. For the same reason a goroutine that reads must not read again: beside a waiting
/// writer that is a deadlock, as in Go. Nothing is poisoned. Guards may be held across anything that
/// parks.
///
/// # Examples
/// ```
/// use go_lib::sync::RwLock;
/// let lock = RwLock::new(vec![1]);
/// lock.write().push(2);
/// assert_eq!(lock.read().len(), 2);
/// ```
#[derive(Default)]
pub struct RwLock<T: ?Sized> {
    core: RwMutexCore,
    value: UnsafeCell<T>,
}

// SAFETY: readers share the value, a writer has it alone.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

impl<T> RwLock<T> {
    const_new! {
        /// An unlocked lock.
        ///
        /// # Examples
        /// ```
        /// assert_eq!(*go_lib::sync::RwLock::new(1).read(), 1);
        /// ```
        pub fn new(value: T) -> Self {
            RwLock { core: RwMutexCore::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value; nobody else can have it.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(go_lib::sync::RwLock::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks it for reading until the guard is dropped. Go: `RWMutex.RLock`.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// let (a, b) = (lock.read(), lock.read());
    /// assert_eq!(*a + *b, 2);
    /// ```
    pub fn read(&self) -> ReadGuard<'_, T> {
        match self.core.rlock(Wait::Block) {
            Ok(()) => ReadGuard { of: self, value: PhantomData },
            Err(e) => std::panic::panic_any(e.to_string()),
        }
    }

    /// Locks it for writing until the guard is dropped. Go: `RWMutex.Lock`.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// *lock.write() += 1;
    /// assert_eq!(*lock.read(), 2);
    /// ```
    pub fn write(&self) -> WriteGuard<'_, T> {
        match self.core.lock(Wait::Block) {
            Ok(()) => WriteGuard { of: self, value: PhantomData },
            Err(e) => std::panic::panic_any(e.to_string()),
        }
    }

    /// Locks it for reading if it can at once. Go: `RWMutex.TryRLock`.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// let _writing = lock.write();
    /// assert!(lock.try_read().is_none());
    /// ```
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.core.rlock(Wait::Try).ok().map(|()| ReadGuard { of: self, value: PhantomData })
    }

    /// Locks it for writing if it can at once. Go: `RWMutex.TryLock`.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// let _reading = lock.read();
    /// assert!(lock.try_write().is_none());
    /// ```
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.core.lock(Wait::Try).ok().map(|()| WriteGuard { of: self, value: PhantomData })
    }

    /// Locks it for reading if it can within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a wait that timed out leaves nothing.
    ///
    /// # Errors
    /// [`WaitError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// let _writing = lock.write();
    /// assert!(lock.read_timeout(std::time::Duration::from_millis(1)).is_err());
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>, WaitError> {
        self.core.rlock(Wait::Until(deadline_after(timeout)))?;
        Ok(ReadGuard { of: self, value: PhantomData })
    }

    /// Locks it for writing if it can within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a wait that timed out leaves nothing, also
    /// not to the readers that waited behind it.
    ///
    /// # Errors
    /// [`WaitError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let lock = go_lib::sync::RwLock::new(1);
    /// let _reading = lock.read();
    /// assert!(lock.write_timeout(std::time::Duration::from_millis(1)).is_err());
    /// assert!(lock.try_read().is_some());
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_, T>, WaitError> {
        self.core.lock(Wait::Until(deadline_after(timeout)))?;
        Ok(WriteGuard { of: self, value: PhantomData })
    }

    /// The value, without locking: we are borrowed exclusively.
    ///
    /// # Examples
    /// ```
    /// let mut lock = go_lib::sync::RwLock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(guard) => f.debug_struct("RwLock").field("value", &&*guard).finish(),
            None => f.write_str("RwLock { <locked> }"),
        }
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

/// Shared access to the value of an [`RwLock`]; dropping it ends reading.
///
/// # Examples
/// ```
/// let lock = go_lib::sync::RwLock::new("text");
/// assert_eq!(lock.read().len(), 4);
/// ```
#[must_use = "the lock is released at once"]
pub struct ReadGuard<'a, T: ?Sized> {
    of: &'a RwLock<T>,
    value: PhantomData<&'a T>,
}

super::never_poisoned!(ReadGuard);
super::never_poisoned!(WriteGuard);

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while we read.
        unsafe { &*self.of.value.get() }
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // We read: it cannot fail.
        let _ = self.of.core.runlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Exclusive access to the value of an [`RwLock`]; dropping it ends writing.
///
/// # Examples
/// ```
/// let lock = go_lib::sync::RwLock::new(String::new());
/// lock.write().push('x');
/// assert_eq!(*lock.read(), "x");
/// ```
#[must_use = "the lock is released at once"]
pub struct WriteGuard<'a, T: ?Sized> {
    of: &'a RwLock<T>,
    /// Shared and sent as an exclusive borrow of the value is.
    value: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while we write.
        unsafe { &*self.of.value.get() }
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while we write, and we are borrowed mutably.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // We write: it cannot fail.
        let _ = self.of.core.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
