//! Goroutines that work on one task: the first error ends the work, and is its result.
//!
//! Go: golang.org/x/sync/errgroup

use std::any::Any;
use std::fmt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};

use crate::context::{self, CancelCauseFn, Cause, Context};
use crate::sync::{Mutex, Semaphore, WaitGroup};

/// A group of goroutines of which each may fail.
///
/// A clone is the same group, so that its goroutines can start more. It is used for one piece of
/// work, and waited for once.
///
/// # Examples
/// ```
/// use go_lib::sync::errgroup::Group;
/// let result = go_lib::run(|| {
///     let group = Group::new();
///     for n in 0..4 {
///         group.go(move || if n < 3 { Ok(()) } else { Err(format!("{n} is too many")) });
///     }
///     group.wait()
/// });
/// assert_eq!(result, Err("3 is too many".to_string()));
/// ```
pub struct Group<E> {
    work: Arc<Work<E>>,
}

struct Work<E> {
    running: WaitGroup,
    failure: Mutex<Option<Failure<E>>>,
    /// Permits for goroutines, and how many there are.
    limit: OnceLock<(Semaphore, usize)>,
    /// Of [`Group::with_context`].
    cancel: Option<CancelCauseFn>,
    cause_of: fn(&E) -> Option<Cause>,
}

/// The first failure.
enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E> Default for Group<E> {
    fn default() -> Self {
        Group::make(None, |_| None)
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Group { work: self.work.clone() }
    }
}

impl<E> Group<E> {
    fn make(cancel: Option<CancelCauseFn>, cause_of: fn(&E) -> Option<Cause>) -> Self {
        Group {
            work: Arc::new(Work {
                running: WaitGroup::new(),
                failure: Mutex::new(None),
                limit: OnceLock::new(),
                cancel,
                cause_of,
            }),
        }
    }

    /// A group without a limit and without a context.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::errgroup::Group::<String>::new();
    /// assert_eq!(group.wait(), Ok(()));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A group, and a child of `parent` that is cancelled when the first goroutine fails, or when
    /// [`wait`](Group::wait) returns.
    ///
    /// Go: `errgroup.WithContext`.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{context, sync::errgroup::Group};
    /// let result = go_lib::run(|| {
    ///     let (group, ctx) = Group::with_context(&context::background());
    ///     group.go(move || {
    ///         ctx.done().recv(); // until the other one fails
    ///         Ok(())
    ///     });
    ///     group.go(|| Err("failed"));
    ///     group.wait()
    /// });
    /// assert_eq!(result, Err("failed"));
    /// ```
    #[must_use]
    pub fn with_context(parent: &Context) -> (Self, Context) {
        let (ctx, cancel) = context::with_cancel_cause(parent);
        (Group::make(Some(cancel), |_| None), ctx)
    }

    /// As [`with_context`](Group::with_context); the context's [`cause`](context::cause) is what
    /// the first error says.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{context, sync::errgroup::Group};
    /// let (group, ctx) = Group::with_context_cause(&context::background());
    /// group.go(|| Err("no space"));
    /// assert!(group.wait().is_err());
    /// assert_eq!(context::cause(&ctx).unwrap().to_string(), "no space");
    /// ```
    #[must_use]
    pub fn with_context_cause(parent: &Context) -> (Self, Context)
    where
        E: fmt::Display,
    {
        let (ctx, cancel) = context::with_cancel_cause(parent);
        let text = |e: &E| Some(Cause::from(Box::from(e.to_string())));
        (Group::make(Some(cancel), text), ctx)
    }

    /// Lets at most `n` goroutines of the group run at a time, from now on.
    ///
    /// Panics: if it was called before, or goroutines of the group run. Go: `Group.SetLimit`.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::errgroup::Group::<()>::new();
    /// group.set_limit(1);
    /// group.go(|| Ok(()));
    /// group.go(|| Ok(())); // waits for the first
    /// assert_eq!(group.wait(), Ok(()));
    /// ```
    pub fn set_limit(&self, n: usize) {
        assert!(
            self.work.running.count() == 0,
            "errgroup: set_limit while goroutines of the group run"
        );
        let fresh = self.work.limit.set((Semaphore::new(n), n)).is_ok();
        assert!(fresh, "errgroup: the limit was set before");
    }

    /// Runs `f` as a goroutine of the group, once the limit allows it.
    ///
    /// Blocks: the goroutine or the OS thread, while as many run as may. Panics: if no thread can
    /// be had to run it. Go: `Group.Go`.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::errgroup::Group::<String>::new();
    /// group.go(|| Ok(()));
    /// assert!(group.wait().is_ok());
    /// ```
    #[track_caller]
    pub fn go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static)
    where
        E: Send + 'static,
    {
        if let Some((permits, _)) = self.work.limit.get() {
            permits.acquire(1);
        }
        self.start(f);
    }

    /// Runs `f` as a goroutine of the group if the limit allows it now; whether it does.
    ///
    /// Blocks: nothing. Panics: as [`go`](Group::go). Go: `Group.TryGo`.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::errgroup::Group::<()>::new();
    /// group.set_limit(0);
    /// assert!(!group.try_go(|| Ok(())));
    /// ```
    #[track_caller]
    pub fn try_go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) -> bool
    where
        E: Send + 'static,
    {
        if self.work.limit.get().is_some_and(|(permits, _)| !permits.try_acquire(1)) {
            return false;
        }
        self.start(f);
        true
    }

    /// Starts `f`, which has its permit.
    #[track_caller]
    fn start(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static)
    where
        E: Send + 'static,
    {
        /// Gives the permit back; before the group counts the goroutine as done.
        struct Permit<E>(Arc<Work<E>>);
        impl<E> Drop for Permit<E> {
            fn drop(&mut self) {
                if let Some((permits, _)) = self.0.limit.get() {
                    permits.release(1);
                }
            }
        }
        let permit = Permit(self.work.clone());
        self.work.running.go(move || {
            let permit = permit;
            match catch_unwind(AssertUnwindSafe(f)) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => permit.0.fail(Failure::Error(e)),
                Err(payload) => permit.0.fail(Failure::Panic(payload)),
            }
        });
    }

    /// Waits until all goroutines of the group have ended, and cancels its context.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: with the payload of a goroutine that
    /// panicked, if that was what failed first. Go: `Group.Wait`, which does not.
    ///
    /// # Errors
    /// The first error that a goroutine returned. It is moved out: a second wait does not find it.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::errgroup::Group::new();
    /// group.go(|| Err("failed"));
    /// assert_eq!(group.wait(), Err("failed"));
    /// ```
    pub fn wait(&self) -> Result<(), E> {
        self.work.running.wait();
        self.work.cancel(None);
        let failure = self.work.failure.lock().take();
        match failure {
            None => Ok(()),
            Some(Failure::Error(e)) => Err(e),
            Some(Failure::Panic(payload)) => resume_unwind(payload),
        }
    }
}

impl<E> Work<E> {
    /// Notes the first failure, and ends the work of the others.
    fn fail(&self, failure: Failure<E>) {
        let mut first = self.failure.lock();
        if first.is_some() {
            drop(first);
            return;
        }
        let cause = match &failure {
            Failure::Error(e) => (self.cause_of)(e),
            Failure::Panic(_) => None,
        };
        *first = Some(failure);
        drop(first);
        self.cancel(cause);
    }

    fn cancel(&self, cause: Option<Cause>) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel_with(cause);
        }
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("running", &self.work.running.count())
            .field("limit", &self.work.limit.get().map(|(_, n)| *n))
            .finish()
    }
}
