//! [`scope`]: goroutines that borrow from the function that starts them.
//!
//! # Invariants
//! 1. `scope` returns, or unwinds, only when each of its goroutines has dropped everything that may
//!    borrow: its function, and its result unless a handle has it.
//! 2. A handle cannot leave the scope: `'scope` is invariant, and whatever the closure returns must
//!    be valid for any `'scope`.
//! 3. So a goroutine's borrows may be declared `'static`: they outlive it.
//!
//! Go: none; a WaitGroup

use std::fmt;
use std::marker::PhantomData;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::thread;

use crate::prim::{AtomicUsize, Ordering};
use crate::runtime::block::sema::{Event, WaitGroupCore};
use crate::runtime::object::lock::Locked;
use crate::runtime::object::start::Start;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::newproc::newproc_go;
use crate::runtime::proc::throw;

/// The state that the goroutines of a scope share.
struct Running {
    group: WaitGroupCore,
    /// Goroutines that panicked and whose payload nobody has taken.
    unclaimed_panics: AtomicUsize,
}

/// Counts a goroutine until it is dropped, after everything else that the goroutine has.
struct Counted(Arc<Running>);

impl Drop for Counted {
    fn drop(&mut self) {
        // It was counted, so it is not below zero.
        let _ = self.0.group.add(-1);
    }
}

/// Where a goroutine's result waits for its handle.
struct Packet<R> {
    result: Locked<Option<thread::Result<R>>>,
    done: Event,
}

/// A scope in which goroutines may borrow: see [`scope`].
///
/// # Examples
/// ```
/// fn sum<'scope>(s: &'scope go_lib::Scope<'scope, '_>, part: &'scope [u32]) -> u32 {
///     match part.len() {
///         0 => 0,
///         1 => part[0],
///         n => {
///             let (left, right) = part.split_at(n / 2);
///             let left = s.go(move || sum(s, left));
///             sum(s, right) + left.join().unwrap()
///         }
///     }
/// }
/// let numbers: Vec<u32> = (1..=100).collect();
/// assert_eq!(go_lib::scope(|s| sum(s, &numbers)), 5050);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    running: Arc<Running>,
    /// Invariant in both, by 2: else a shorter life could be taken for `'scope`, and a goroutine
    /// be given borrows that end before it.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f`, whose scope starts goroutines that may borrow from outside it, and returns when all of
/// them have ended.
///
/// Also works on ordinary threads, which then block; the first goroutine starts the runtime.
///
/// Blocks: the goroutine or the OS thread. Panics: with `f`'s payload if `f` panics, after all
/// goroutines have ended; and if a goroutine panicked whose handle was not joined. Go: none; as
/// `std::thread::scope`.
///
/// # Examples
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let mut sum = 0;
/// go_lib::scope(|s| {
///     s.go(|| numbers.push(4));
///     s.go(|| sum = 6);
/// });
/// assert_eq!(sum + numbers[3], 10);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        running: Arc::new(Running {
            group: WaitGroupCore::new(),
            unclaimed_panics: AtomicUsize::new(0),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        // Relaxed: the wait orders it.
        Ok(_) if scope.running.unclaimed_panics.load(Ordering::Relaxed) != 0 => {
            panic!("a scoped goroutine panicked")
        }
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts `f` as a goroutine, which ends before the scope does. Its panic is not reported to
    /// the panic handler, but by the handle or the scope.
    ///
    /// Blocks: nothing. Panics: if no thread can be had to run it.
    ///
    /// # Examples
    /// ```
    /// let text = String::from("borrowed");
    /// let length = go_lib::scope(|s| s.go(|| text.len()).join().unwrap());
    /// assert_eq!(length, 8);
    /// ```
    #[track_caller]
    pub fn go<F, R>(&'scope self, f: F) -> ScopedJoinHandle<'scope, R>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Send + 'scope,
    {
        let packet = Arc::new(Packet { result: Locked::new(None), done: Event::new() });
        if let Err(e) = self.running.group.add(1) {
            std::panic::panic_any(e.to_string());
        }
        let counted = Counted(self.running.clone());
        let theirs = packet.clone();
        let body = move || {
            // Dropped in this order: `f` in its call, the packet, and last the count, by 1.
            let counted = counted;
            let packet = theirs;
            let result = catch_unwind(AssertUnwindSafe(f));
            if result.is_err() {
                // Relaxed: read after the wait.
                counted.0.unclaimed_panics.fetch_add(1, Ordering::Relaxed);
            }
            *packet.result.lock() = Some(result);
            packet.done.set();
        };
        // SAFETY: by 1 and 3. Where the goroutine is not made, body is dropped before we return.
        let body = unsafe { Start::of_borrower(body) };
        newproc_go(body, 0, Location::caller());
        ScopedJoinHandle { packet, running: self.running.clone(), scope: PhantomData }
    }

    /// Waits for all goroutines, whatever happens.
    fn wait(&self) {
        loop {
            match self.running.group.wait(Wait::Block) {
                Ok(()) => return,
                Err(WaitError::Interrupted) => {}
                // Continuing would let them use a frame that is gone.
                Err(e) => throw(&format!("scope: {e}")),
            }
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.running.group.count()).finish()
    }
}

/// A goroutine of a [`scope`]. Dropping it changes nothing: the scope waits all the same.
///
/// # Examples
/// ```
/// go_lib::scope(|s| {
///     let handle = s.go(|| 6 * 7);
///     assert_eq!(handle.join().unwrap(), 42);
/// });
/// ```
pub struct ScopedJoinHandle<'scope, R> {
    packet: Arc<Packet<R>>,
    running: Arc<Running>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<R> ScopedJoinHandle<'_, R> {
    /// Waits until the goroutine has ended; returns its result.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// It panicked: the payload. The scope then does not panic for it.
    ///
    /// # Examples
    /// ```
    /// go_lib::scope(|s| {
    ///     let handle = s.go(|| std::panic::resume_unwind(Box::new("quiet")));
    ///     let payload: Box<dyn std::any::Any + Send> = handle.join().map(|()| ()).unwrap_err();
    ///     assert_eq!(payload.downcast_ref(), Some(&"quiet"));
    /// });
    /// ```
    pub fn join(self) -> thread::Result<R> {
        let result = loop {
            match self.packet.done.wait(Wait::Block, WaitReason::Join) {
                Ok(()) => break self.packet.result.lock().take(),
                Err(WaitError::Interrupted) => {}
                Err(e) => std::panic::panic_any(e.to_string()),
            }
        };
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) => {
                // Relaxed: read after the wait, which is after us.
                self.running.unclaimed_panics.fetch_sub(1, Ordering::Relaxed);
                Err(payload)
            }
            None => throw("scope: a goroutine ended without a result"),
        }
    }

    /// True once [`join`](Self::join) would not wait.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// go_lib::scope(|s| {
    ///     let handle = s.go(|| ());
    ///     while !handle.is_finished() {
    ///         go_lib::gosched();
    ///     }
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.packet.done.is_set()
    }
}

impl<R> fmt::Debug for ScopedJoinHandle<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("finished", &self.is_finished()).finish()
    }
}
