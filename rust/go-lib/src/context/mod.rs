//! Contexts: a cancellation, a deadline and values that go down a tree of calls.
//!
//! ```
//! use go_lib::{chan::chan, context, select};
//! use std::time::Duration;
//!
//! go_lib::run(|| {
//!     let (ctx, cancel) = context::with_timeout(&context::background(), Duration::from_secs(5));
//!     let (tx, rx) = chan(0);
//!     let worker = ctx.clone();
//!     go_lib::go!(move || {
//!         let mut n = 0;
//!         loop {
//!             n += 1;
//!             select! {
//!                 send(tx, n) => (),
//!                 recv(worker.done()) -> _ => break,
//!             }
//!         }
//!     });
//!     assert_eq!(rx.iter().take(3).sum::<u32>(), 6);
//!     cancel.cancel();
//!     assert_eq!(ctx.err(), Some(context::ContextError::Cancelled));
//! });
//! ```
//!
//! Once a context's `done` is seen closed, it and everything below it is seen ended. Deadlines are
//! timers, not goroutines. A context that was cancelled, or of which nobody has the [`Context`] or
//! the [`CancelFn`] any more, leaves nothing in its parent: a forgotten cancel leaks nothing. All
//! of this works on ordinary threads too.
//!
//! Go: package context

#![forbid(unsafe_code)]

mod after;
mod cancel;
mod error;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::chan::{chan, never, Receiver, Sender};
use crate::runtime::block::cancel::{CancelNode, Done, End, Why};
use crate::runtime::block::time::deadline_at;
use crate::runtime::clock;

pub use after::{after_func, StopFn};
pub use cancel::{CancelCauseFn, CancelFn};
pub use error::ContextError;

/// The result of [`cause`]: an error that may be shared.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A cancellation, a deadline and values, for all who have a clone.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (ctx, cancel) = context::with_cancel(&context::background());
/// assert!(!ctx.is_done());
/// cancel.cancel();
/// assert!(ctx.is_done() && ctx.done().recv().is_none());
/// ```
#[derive(Clone)]
pub struct Context {
    node: Arc<Node>,
}

/// A context's part of the tree. It keeps its parents, and so their values.
struct Node {
    parent: Option<Context>,
    kind: Kind,
    /// Its own, or the nearest above.
    cancel: Option<Arc<CancelNode<DoneChan>>>,
    /// The earliest, of it and those above.
    deadline: Option<Instant>,
}

enum Kind {
    Root,
    /// Asked for by its type.
    Value(Box<dyn Any + Send + Sync>),
    /// `cancel` is its own handle; the cause, if it was given one.
    Cancel(OnceLock<Cause>),
    WithoutCancel,
}

/// The channel that is closed at the end.
struct DoneChan {
    tx: Sender<()>,
    rx: Receiver<()>,
}

impl Done for DoneChan {
    fn close(&self) {
        // A second close is none.
        let _ = self.tx.close_ok();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.detach();
        // A list, not a recursion: chains are long.
        let mut above = self.parent.take();
        while let Some(mut node) = above.and_then(|ctx| Arc::into_inner(ctx.node)) {
            above = node.parent.take();
        }
    }
}

impl Node {
    /// Nobody has this context any more.
    fn detach(&self) {
        if let (Kind::Cancel(_), Some(cancel)) = (&self.kind, &self.cancel) {
            cancel.abandon();
        }
    }
}

impl Context {
    fn new(parent: Option<&Context>, kind: Kind) -> Context {
        let inherited = parent.map(|p| (p.node.cancel.clone(), p.node.deadline));
        let (cancel, deadline) = inherited.unwrap_or_default();
        Context { node: Arc::new(Node { parent: parent.cloned(), kind, cancel, deadline }) }
    }

    /// A child with a cancellation of its own.
    fn child(&self, deadline: Option<Instant>) -> (Context, Arc<CancelNode<DoneChan>>) {
        let (tx, rx) = chan(0);
        let cancel = CancelNode::new(self.node.cancel.as_ref(), DoneChan { tx, rx });
        let node = Node {
            parent: Some(self.clone()),
            kind: Kind::Cancel(OnceLock::new()),
            cancel: Some(cancel.clone()),
            deadline: deadline.or(self.node.deadline),
        };
        (Context { node: Arc::new(node) }, cancel)
    }

    /// Ends it, which has a cancellation of its own; returns when all below it have ended, too.
    fn end(&self, why: Why, with: Option<Cause>) {
        let (Kind::Cancel(cause), Some(cancel)) = (&self.node.kind, &self.node.cancel) else {
            return;
        };
        let publish = || {
            if let Some(with) = with {
                // Only the first that ends it publishes.
                let _ = cause.set(with);
            }
        };
        for busy in cancel.cancel(why, publish) {
            // Ending the context closes this without waiting for anybody.
            let _ = busy.done.rx.recv();
        }
    }

    /// The channel that is closed when the context ends; of one that cannot end, a channel that
    /// yields nothing. A clone of the receiver is also closed when nobody has the context any more.
    ///
    /// Go: `Context.Done`.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{context, select};
    /// use std::time::Duration;
    /// let (ctx, _cancel) =
    ///     context::with_timeout(&context::background(), Duration::from_millis(1));
    /// select! {
    ///     recv(ctx.done()) -> v => assert_eq!(v, None),
    /// }
    /// ```
    pub fn done(&self) -> &Receiver<()> {
        static NEVER: OnceLock<Receiver<()>> = OnceLock::new();
        match &self.node.cancel {
            Some(cancel) => &cancel.done.rx,
            None => NEVER.get_or_init(never),
        }
    }

    /// Why the context has ended; `None` if it has not.
    ///
    /// Blocks: nothing. Go: `Context.Err`.
    ///
    /// # Examples
    /// ```
    /// use go_lib::context::{self, ContextError};
    /// use std::time::Duration;
    /// let (ctx, _cancel) = context::with_timeout(&context::background(), Duration::ZERO);
    /// assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
    /// ```
    pub fn err(&self) -> Option<ContextError> {
        self.node.cancel.as_ref().and_then(|c| c.end()).map(|end| match end.why {
            Why::Cancelled => ContextError::Cancelled,
            Why::Deadline => ContextError::DeadlineExceeded,
        })
    }

    /// True once the context has ended.
    ///
    /// Blocks: nothing.
    ///
    /// # Examples
    /// ```
    /// assert!(!go_lib::context::background().is_done());
    /// ```
    pub fn is_done(&self) -> bool {
        self.err().is_some()
    }

    /// When the context ends at the latest, if there is such a time. Go: `Context.Deadline`.
    ///
    /// # Examples
    /// ```
    /// use go_lib::context;
    /// use std::time::{Duration, Instant};
    /// let at = Instant::now() + Duration::from_secs(60);
    /// let (ctx, _cancel) = context::with_deadline(&context::background(), at);
    /// assert_eq!(ctx.deadline(), Some(at));
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline
    }

    /// The value of this type that was given to the context or, nearest first, to one above it.
    ///
    /// The type is the key: a value gets a type of its own, so that it cannot be confused with
    /// another's (Go asks the same of its keys). Cost: a step for each context on the way up.
    ///
    /// Go: `Context.Value`.
    ///
    /// # Examples
    /// ```
    /// use go_lib::context;
    /// #[derive(PartialEq, Debug)]
    /// struct RequestId(u64);
    /// let ctx = context::with_value(&context::background(), RequestId(7));
    /// assert_eq!(ctx.value::<RequestId>(), Some(&RequestId(7)));
    /// assert_eq!(ctx.value::<u64>(), None);
    /// ```
    pub fn value<T: Any>(&self) -> Option<&T> {
        self.up().find_map(|node| match &node.kind {
            Kind::Value(value) => value.downcast_ref(),
            _ => None,
        })
    }

    /// It and all above it.
    fn up(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(&*self.node), |node| node.parent.as_ref().map(|p| &*p.node))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("err", &self.err())
            .field("deadline", &self.deadline())
            .finish()
    }
}

/// The root: it never ends, has no deadline and no values.
///
/// # Examples
/// ```
/// assert!(go_lib::context::background().err().is_none());
/// ```
pub fn background() -> Context {
    Context::new(None, Kind::Root)
}

/// The root, where it is not clear yet which context to use.
///
/// # Examples
/// ```
/// assert!(go_lib::context::todo().deadline().is_none());
/// ```
pub fn todo() -> Context {
    background()
}

/// A child that can be cancelled; it also ends with its parent.
///
/// Cost: five allocations. Go: `context.WithCancel`.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (parent, cancel) = context::with_cancel(&context::background());
/// let (child, cancel_child) = context::with_cancel(&parent);
/// cancel_child.cancel();
/// assert!(child.is_done() && !parent.is_done());
/// # cancel.cancel();
/// ```
pub fn with_cancel(parent: &Context) -> (Context, CancelFn) {
    let (ctx, _) = parent.child(None);
    (ctx.clone(), CancelFn::new(ctx))
}

/// A child that can be cancelled for a reason; it also ends with its parent.
///
/// Go: `context.WithCancelCause`.
///
/// # Examples
/// See [`CancelCauseFn`].
pub fn with_cancel_cause(parent: &Context) -> (Context, CancelCauseFn) {
    let (ctx, _) = parent.child(None);
    (ctx.clone(), CancelCauseFn::new(ctx))
}

/// A child that ends at `at` with [`ContextError::DeadlineExceeded`], if it has not before. A
/// deadline of its parent that is earlier stays.
///
/// Go: `context.WithDeadline`.
///
/// # Examples
/// ```
/// use go_lib::context::{self, ContextError};
/// use std::time::{Duration, Instant};
/// let at = Instant::now() + Duration::from_millis(1);
/// let (ctx, _cancel) = context::with_deadline(&context::background(), at);
/// assert_eq!(ctx.done().recv(), None);
/// assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
/// assert!(Instant::now() >= at);
/// ```
pub fn with_deadline(parent: &Context, at: Instant) -> (Context, CancelFn) {
    if parent.deadline().is_some_and(|earlier| earlier <= at) {
        return with_cancel(parent);
    }
    let (ctx, cancel) = parent.child(Some(at));
    if at <= clock::instant() {
        ctx.end(Why::Deadline, None);
    } else {
        cancel.end_at(deadline_at(at));
    }
    (ctx.clone(), CancelFn::new(ctx))
}

/// A child that ends after `timeout`: see [`with_deadline`]. A timeout beyond the clock's range
/// means never.
///
/// Go: `context.WithTimeout`.
///
/// # Examples
/// ```
/// use go_lib::context;
/// use std::time::Duration;
/// let (ctx, _cancel) = context::with_timeout(&context::background(), Duration::from_millis(1));
/// assert_eq!(ctx.done().recv(), None);
/// ```
pub fn with_timeout(parent: &Context, timeout: Duration) -> (Context, CancelFn) {
    match clock::instant().checked_add(timeout) {
        Some(at) => with_deadline(parent, at),
        None => with_cancel(parent),
    }
}

/// A child with a value, which [`Context::value`] finds by its type; it hides one of the same type
/// above.
///
/// The value is dropped with the last context that has it, by that context's owner and never by the
/// runtime. Go: `context.WithValue`, with the type as the key.
///
/// # Examples
/// ```
/// use go_lib::context;
/// struct User(&'static str);
/// let ctx = context::with_value(&context::background(), User("ada"));
/// let (child, _cancel) = context::with_cancel(&ctx);
/// assert_eq!(child.value::<User>().map(|u| u.0), Some("ada"));
/// ```
pub fn with_value<T: Any + Send + Sync>(parent: &Context, value: T) -> Context {
    Context::new(Some(parent), Kind::Value(Box::new(value)))
}

/// A child with its parent's values that does not end with it, and has no deadline.
///
/// Go: `context.WithoutCancel`.
///
/// # Examples
/// ```
/// use go_lib::context;
/// let (ctx, cancel) = context::with_cancel(&context::with_value(&context::background(), 7_u8));
/// let detached = context::without_cancel(&ctx);
/// cancel.cancel();
/// assert!(!detached.is_done());
/// assert_eq!(detached.value::<u8>(), Some(&7));
/// ```
pub fn without_cancel(parent: &Context) -> Context {
    let (parent, kind) = (Some(parent.clone()), Kind::WithoutCancel);
    Context { node: Arc::new(Node { parent, kind, cancel: None, deadline: None }) }
}

/// Why `ctx` has ended: the cause that its cancellation, or that of a context above, was given;
/// without one, its [`err`](Context::err). `None` if it has not ended.
///
/// Go: `context.Cause`.
///
/// # Examples
/// ```
/// use go_lib::context::{self, ContextError};
/// let (parent, cancel) = context::with_cancel_cause(&context::background());
/// let (ctx, _cancel) = context::with_cancel(&parent);
/// cancel.cancel("enough");
/// assert_eq!(context::cause(&ctx).unwrap().to_string(), "enough");
/// assert_eq!(ctx.err(), Some(ContextError::Cancelled));
/// ```
pub fn cause(ctx: &Context) -> Option<Cause> {
    let err = ctx.err()?;
    // Up to the one that ended by itself.
    let ended = ctx.up().find_map(|node| match (&node.kind, &node.cancel) {
        (Kind::Cancel(cause), Some(cancel)) => match cancel.end() {
            Some(End { inherited: true, .. }) => None,
            _ => Some(cause.get().cloned()),
        },
        _ => None,
    });
    Some(ended.flatten().unwrap_or_else(|| Arc::new(err)))
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{background, with_cancel, with_timeout, with_value, Context};
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    const MANY: usize = 100_000;
    const LONG: Duration = Duration::from_secs(3600);

    fn registered(ctx: &Context) -> usize {
        ctx.node.cancel.as_ref().map_or(0, |c| c.registered())
    }

    #[test]
    fn a_hundred_thousand_children_leave_nothing_in_their_parent() {
        let (parent, _cancel) = with_cancel(&with_value(&background(), 1));
        let children: Vec<_> = (0..MANY).map(|_| with_timeout(&parent, LONG)).collect();
        assert_eq!(registered(&parent), MANY);
        for (i, (ctx, cancel)) in children.into_iter().enumerate() {
            match i % 3 {
                0 => cancel.cancel(),
                1 => drop((cancel, ctx.clone())),
                _ => drop((ctx.clone(), cancel)),
            }
        }
        assert_eq!(registered(&parent), 0);
        assert_eq!(Arc::strong_count(&parent.node), 2, "ours and the CancelFn's");
    }

    #[test]
    fn a_timeout_that_was_cancelled_or_dropped_is_out_of_the_heap() {
        let parent = background();
        let dead: Vec<Weak<_>> = (0..1000)
            .map(|i| {
                let (ctx, cancel) = with_timeout(&parent, LONG);
                let node = Arc::downgrade(ctx.node.cancel.as_ref().unwrap());
                if i % 2 == 0 {
                    cancel.cancel();
                }
                node
            })
            .collect();
        assert!(dead.iter().all(|node| node.strong_count() == 0));
    }

    #[test]
    fn a_parent_that_ended_has_no_children() {
        let (parent, cancel) = with_cancel(&background());
        let (early, _cancel) = with_cancel(&parent);
        cancel.cancel();
        let (late, _cancel) = with_cancel(&parent);
        assert!(early.is_done() && late.is_done());
        assert_eq!(registered(&parent), 0);
    }
}
