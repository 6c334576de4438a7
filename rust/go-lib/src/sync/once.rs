//! [`Once`] and [`OnceCell`]: done by the first, awaited by the others.
//!
//! Go: sync/once.go, sync/oncefunc.go

use std::fmt;
use std::sync::OnceLock;

use crate::prim::const_new;
use crate::sync::Mutex;

/// Runs a function once.
///
/// # Examples
/// ```
/// let once = go_lib::sync::Once::new();
/// let mut n = 0;
/// once.call_once(|| n += 1);
/// once.call_once(|| n += 1);
/// assert_eq!(n, 1);
/// ```
#[derive(Default)]
pub struct Once {
    done: OnceLock<()>,
    running: Mutex<()>,
}

impl Once {
    const_new! {
        /// One that has not run.
        ///
        /// # Examples
        /// ```
        /// assert!(!go_lib::sync::Once::new().is_completed());
        /// ```
        pub fn new() -> Self {
            Once { done: OnceLock::new(), running: Mutex::new(()) }
        }
    }

    /// Runs `f`, unless some call has been made before; returns when that has returned.
    ///
    /// A call that panics counts, as in Go. Calling it in `f` is a deadlock.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// let once = go_lib::sync::Once::new();
    /// once.call_once(|| println!("first"));
    /// once.call_once(|| unreachable!());
    /// ```
    pub fn call_once(&self, f: impl FnOnce()) {
        struct Done<'a>(&'a OnceLock<()>);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                let _ = self.0.set(());
            }
        }
        if self.is_completed() {
            return;
        }
        let _running = self.running.lock();
        if !self.is_completed() {
            let _done = Done(&self.done);
            f();
        }
    }

    /// True once a call has returned.
    ///
    /// # Examples
    /// ```
    /// let once = go_lib::sync::Once::new();
    /// once.call_once(|| ());
    /// assert!(once.is_completed());
    /// ```
    pub fn is_completed(&self) -> bool {
        self.done.get().is_some()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("completed", &self.is_completed()).finish()
    }
}

/// A value that is made once, on first need.
///
/// # Examples
/// ```
/// let cell = go_lib::sync::OnceCell::new();
/// assert_eq!(*cell.get_or_init(|| 7), 7);
/// assert_eq!(*cell.get_or_init(|| 8), 7);
/// ```
pub struct OnceCell<T> {
    value: OnceLock<T>,
    making: Mutex<()>,
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> OnceCell<T> {
    const_new! {
        /// An empty cell.
        ///
        /// # Examples
        /// ```
        /// assert!(go_lib::sync::OnceCell::<u32>::new().get().is_none());
        /// ```
        pub fn new() -> Self {
            OnceCell { value: OnceLock::new(), making: Mutex::new(()) }
        }
    }

    /// The value, if it has been made.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// let cell = go_lib::sync::OnceCell::new();
    /// cell.set(1).unwrap();
    /// assert_eq!(cell.get(), Some(&1));
    /// ```
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value; makes it with `f` if nobody has. If `f` panics the cell stays empty, and the next
    /// one makes it.
    ///
    /// Blocks: the goroutine or the OS thread, while another makes the value.
    ///
    /// # Examples
    /// ```
    /// let cell = go_lib::sync::OnceCell::new();
    /// assert_eq!(cell.get_or_init(|| "made"), &"made");
    /// ```
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.value.get() {
            return value;
        }
        let _making = self.making.lock();
        // Nobody else initialises it, so this does not wait on std's lock.
        self.value.get_or_init(f)
    }

    /// Puts a value into the empty cell.
    ///
    /// Blocks: the goroutine or the OS thread, while another makes the value.
    ///
    /// # Errors
    /// The value, if there is one already.
    ///
    /// # Examples
    /// ```
    /// let cell = go_lib::sync::OnceCell::new();
    /// assert_eq!((cell.set(1), cell.set(2)), (Ok(()), Err(2)));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let _making = self.making.lock();
        self.value.set(value)
    }

    /// The value, if it was made.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(go_lib::sync::OnceCell::<u32>::new().into_inner(), None);
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}
