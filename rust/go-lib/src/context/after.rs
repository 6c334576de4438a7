//! Calls that run after a context has ended.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use super::Context;
use crate::sync::Mutex;

/// Takes an [`after_func`] back: `stop.stop()`, or simply `stop()`. Dropping it changes nothing.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (ctx, cancel) = context::with_cancel(&context::background());
/// let stop = context::after_func(&ctx, || unreachable!());
/// assert!(stop.stop());
/// assert!(!stop());
/// cancel.cancel();
/// ```
#[derive(Clone)]
pub struct StopFn {
    call: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl StopFn {
    /// True if this kept the function from running; false if it runs, has run, or was stopped
    /// before.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// See [`StopFn`].
    pub fn stop(&self) -> bool {
        (self.call)()
    }
}

/// So that it can be called.
impl Deref for StopFn {
    type Target = dyn Fn() -> bool + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.call
    }
}

impl fmt::Debug for StopFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopFn")
    }
}

/// Runs `f` in a goroutine of its own when `ctx` has ended; at once if it has.
///
/// With the last [`Context`] and [`CancelFn`](super::CancelFn) of `ctx` gone, it cannot end any more
/// and `f` is dropped; an `f` that has a clone of `ctx` itself keeps it until it ends. Go:
/// `context.AfterFunc`.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, context};
/// let (ctx, cancel) = context::with_cancel(&context::background());
/// let (tx, rx) = chan(1);
/// context::after_func(&ctx, move || tx.send("cleaned up"));
/// cancel.cancel();
/// assert_eq!(rx.recv(), Some("cleaned up"));
/// ```
#[track_caller]
pub fn after_func<R>(ctx: &Context, f: impl FnOnce() -> R + Send + 'static) -> StopFn {
    let Some(node) = &ctx.node.cancel else {
        // It waits forever, but it can be stopped.
        let f = Mutex::new(Some(f));
        return StopFn {
            call: Arc::new(move || {
                let f = f.lock().take();
                f.is_some()
            }),
        };
    };
    match node.add_call(Box::new(move || drop(f())), Location::caller()) {
        Ok(key) => {
            let node = Arc::downgrade(node);
            StopFn { call: Arc::new(move || node.upgrade().is_some_and(|n| n.remove(key))) }
        }
        Err(f) => {
            crate::go(f);
            StopFn { call: Arc::new(|| false) }
        }
    }
}
