//! The handles that cancel a context.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Cause, Context};
use crate::runtime::block::cancel::Why;

/// Cancels a context: `cancel.cancel()`, or simply `cancel()`.
///
/// The first call counts, and returns when all contexts below have ended, too. A clone cancels the
/// same context. Dropping it cancels nothing.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (ctx, cancel) = context::with_cancel(&context::background());
/// let other = cancel.clone();
/// cancel();
/// other.cancel(); // again: nothing happens
/// assert!(ctx.is_done());
/// ```
#[derive(Clone)]
pub struct CancelFn {
    call: Arc<dyn Fn() + Send + Sync>,
}

impl CancelFn {
    pub(super) fn new(ctx: Context) -> Self {
        CancelFn { call: Arc::new(move || ctx.end(Why::Cancelled, None)) }
    }

    /// Cancels the context with [`ContextError::Cancelled`](super::ContextError::Cancelled), unless it
    /// has ended.
    ///
    /// Blocks: only for a cancellation of the same contexts that is under way.
    ///
    /// # Examples
    /// ```
    /// let (ctx, cancel) = go_lib::context::with_cancel(&go_lib::context::background());
    /// cancel.cancel();
    /// assert!(ctx.is_done());
    /// ```
    pub fn cancel(&self) {
        (self.call)();
    }
}

/// So that it can be called.
impl Deref for CancelFn {
    type Target = dyn Fn() + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.call
    }
}

impl fmt::Debug for CancelFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelFn")
    }
}

/// Cancels a context and says why. As [`CancelFn`] otherwise.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (ctx, cancel) = context::with_cancel_cause(&context::background());
/// cancel.cancel("the disk is full");
/// assert_eq!(context::cause(&ctx).unwrap().to_string(), "the disk is full");
/// ```
#[derive(Clone)]
pub struct CancelCauseFn {
    ctx: Context,
}

impl CancelCauseFn {
    pub(super) fn new(ctx: Context) -> Self {
        CancelCauseFn { ctx }
    }

    /// Cancels the context with [`ContextError::Cancelled`](super::ContextError::Cancelled) and this
    /// cause, unless it has ended.
    ///
    /// Blocks: as [`CancelFn::cancel`].
    ///
    /// # Examples
    /// ```
    /// use go_lib::context;
    /// use std::io::{Error, ErrorKind};
    /// let (ctx, cancel) = context::with_cancel_cause(&context::background());
    /// cancel.cancel(Error::from(ErrorKind::BrokenPipe));
    /// assert!(context::cause(&ctx).unwrap().downcast_ref::<Error>().is_some());
    /// ```
    pub fn cancel(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.cancel_with(Some(Arc::from(cause.into())));
    }

    /// As [`cancel`](Self::cancel), perhaps without a cause.
    pub(crate) fn cancel_with(&self, cause: Option<Cause>) {
        self.ctx.end(Why::Cancelled, cause);
    }
}

impl fmt::Debug for CancelCauseFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelCauseFn")
    }
}
