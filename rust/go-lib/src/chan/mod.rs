//! Channels: `chan(cap)` gives a [`Sender`] and a [`Receiver`], which may be cloned and shared.
//!
//! Goroutines and ordinary threads use the same operations: a goroutine that waits is parked, a
//! thread blocks itself. The channel closes on `close` or when its last sender is dropped.
//!
//! ```
//! use go_lib::chan::chan;
//!
//! let total = go_lib::run(|| {
//!     let (tx, rx) = chan::<u32>(4);
//!     for worker in 0..3 {
//!         let tx = tx.clone();
//!         go_lib::go!(move || tx.send(worker));
//!     }
//!     drop(tx);
//!     rx.iter().sum::<u32>()
//! });
//! assert_eq!(total, 3);
//! ```
//!
//! Go: the channel types; runtime/chan.go

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::prim::{AtomicUsize, Ordering};
use crate::runtime::block::chan::Hchan;
use crate::runtime::block::time::deadline_after;
use crate::runtime::block::timetimer::{TickChan, TimeTimer};

mod iter;

pub use crate::runtime::block::chan::{CloseOfClosed, RecvError, SendError};
pub use crate::runtime::object::wait::Wait;
pub use iter::{IntoIter, Iter};

struct Shared<T> {
    chan: Hchan<T>,
    /// Senders alive; the one that makes it zero closes the channel.
    senders: AtomicUsize,
    /// The timer that ticks into this channel.
    #[allow(dead_code, reason = "only dropped: see Collected")]
    timer: Option<Collected>,
}

/// A timer that is stopped when its channel is gone: nobody can receive its ticks any more.
struct Collected(Arc<TimeTimer>);

impl Drop for Collected {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl TickChan for Shared<Instant> {
    fn hchan(&self) -> &Hchan<Instant> {
        &self.chan
    }
}

/// A new timer, not set, and the channel into which it ticks: it lives as long as somebody may
/// receive.
pub(crate) fn timer_chan() -> (Receiver<Instant>, Arc<TimeTimer>) {
    let timer = TimeTimer::new();
    let shared = Arc::new(Shared {
        chan: hchan(1),
        // The timer, forever: the channel is never closed.
        senders: AtomicUsize::new(1),
        timer: Some(Collected(timer.clone())),
    });
    let to: Weak<Shared<Instant>> = Arc::downgrade(&shared);
    timer.tick_into(to);
    (Receiver { shared }, timer)
}

/// The receiver of a channel without senders that is not closed: Go's nil channel.
pub(crate) fn never<T>() -> Receiver<T> {
    let senders = AtomicUsize::new(1);
    Receiver { shared: Arc::new(Shared { chan: hchan(0), senders, timer: None }) }
}

/// The parts of which [`chan`] makes its ends.
fn hchan<T>(cap: usize) -> Hchan<T> {
    match Hchan::try_new(cap) {
        Ok(chan) => chan,
        Err(e) => std::panic::panic_any(e.to_string()),
    }
}

/// Makes a channel that buffers `cap` values; with 0 each send waits for its receive.
///
/// Cost: one allocation, and the buffer.
///
/// Panics: if no buffer of this size can be had. Go: `make(chan T, cap)`.
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(1);
/// tx.send("hello");
/// assert_eq!(rx.recv(), Some("hello"));
/// ```
#[must_use]
pub fn chan<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared { chan: hchan(cap), senders: AtomicUsize::new(1), timer: None });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The sending side of a channel.
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(2);
/// let other = tx.clone();
/// tx.send(1);
/// other.send(2);
/// drop((tx, other)); // the last one closes the channel
/// assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2]);
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving side of a channel.
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(1);
/// assert_eq!(rx.try_recv(), None);
/// tx.send(7);
/// assert_eq!(rx.recv(), Some(7));
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// The failure of an operation that only reports a value or none.
#[cold]
#[inline(never)]
fn fail(e: &dyn fmt::Display) -> ! {
    std::panic::panic_any(e.to_string())
}

impl<T> Sender<T> {
    pub(crate) fn hchan(&self) -> &Hchan<T> {
        &self.shared.chan
    }

    /// Sends `v`, waiting for a receiver or for room in the buffer.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: on a closed channel. Go: `ch <- v`.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = go_lib::chan::chan(1);
    /// tx.send(5);
    /// assert_eq!(rx.recv(), Some(5));
    /// ```
    #[inline]
    pub fn send(&self, v: T) {
        if let Err(e) = self.hchan().send(v, Wait::Block) {
            fail(&e);
        }
    }

    /// Sends `v` like [`send`](Sender::send) but reports a closed channel.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// [`SendError::Closed`] with the value.
    ///
    /// # Examples
    /// ```
    /// use go_lib::chan::{chan, SendError};
    /// let (tx, _rx) = chan(1);
    /// tx.close();
    /// assert_eq!(tx.send_ok(5), Err(SendError::Closed(5)));
    /// ```
    #[inline]
    pub fn send_ok(&self, v: T) -> Result<(), SendError<T>> {
        self.hchan().send(v, Wait::Block)
    }

    /// Sends `v` if that needs no waiting; false (and `v` is dropped) if it does.
    ///
    /// Blocks: nothing. Panics: on a closed channel. Go: `select` with a `default`.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = go_lib::chan::chan(1);
    /// assert!(tx.try_send(1));
    /// assert!(!tx.try_send(2));
    /// ```
    #[inline]
    pub fn try_send(&self, v: T) -> bool {
        match self.try_send_ok(v) {
            Ok(()) => true,
            Err(SendError::Full(_)) => false,
            Err(e) => fail(&e),
        }
    }

    /// Sends `v` if that needs no waiting.
    ///
    /// Blocks: nothing.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Closed`] with the value.
    ///
    /// # Examples
    /// ```
    /// use go_lib::chan::{chan, SendError};
    /// let (tx, _rx) = chan(0);
    /// assert_eq!(tx.try_send_ok('x'), Err(SendError::Full('x')));
    /// ```
    #[inline]
    pub fn try_send_ok(&self, v: T) -> Result<(), SendError<T>> {
        self.hchan().send(v, Wait::Try)
    }

    /// Sends `v` if it can within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a send that timed out leaves nothing.
    ///
    /// # Errors
    /// [`SendError::Timeout`] or [`SendError::Closed`] with the value.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (tx, _rx) = go_lib::chan::chan(0);
    /// let e = tx.send_timeout(1, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(e.into_inner(), 1);
    /// ```
    pub fn send_timeout(&self, v: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.hchan().send(v, Wait::Until(deadline_after(timeout)))
    }

    /// Closes the channel: receivers get what is buffered and then `None`, senders panic.
    ///
    /// Blocks: nothing. Panics: if it is closed already. Go: `close(ch)`.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = go_lib::chan::chan(1);
    /// tx.send(1);
    /// tx.close();
    /// assert_eq!((rx.recv(), rx.recv()), (Some(1), None));
    /// ```
    pub fn close(&self) {
        if let Err(e) = self.close_ok() {
            fail(&e);
        }
    }

    /// Closes the channel like [`close`](Sender::close) but reports a second close.
    ///
    /// # Errors
    /// It is closed already.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = go_lib::chan::chan::<()>(0);
    /// assert!(tx.close_ok().is_ok());
    /// assert!(tx.close_ok().is_err());
    /// ```
    pub fn close_ok(&self) -> Result<(), CloseOfClosed> {
        self.hchan().close()
    }
}

impl<T> Receiver<T> {
    pub(crate) fn hchan(&self) -> &Hchan<T> {
        &self.shared.chan
    }

    /// Receives a value, waiting for one; `None` once the channel is closed and drained.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `v, ok := <-ch`.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = go_lib::chan::chan(1);
    /// tx.send(5);
    /// drop(tx);
    /// assert_eq!((rx.recv(), rx.recv()), (Some(5), None));
    /// ```
    #[inline]
    pub fn recv(&self) -> Option<T> {
        match self.hchan().recv(Wait::Block) {
            Ok(v) => v,
            Err(e) => fail(&e),
        }
    }

    /// Receives a value if that needs no waiting; `None` if it does or the channel is closed.
    ///
    /// Blocks: nothing. Go: `select` with a `default`.
    ///
    /// # Examples
    /// ```
    /// let (_tx, rx) = go_lib::chan::chan::<u8>(1);
    /// assert_eq!(rx.try_recv(), None);
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Option<T> {
        self.try_recv_ok().ok().flatten()
    }

    /// Receives a value if that needs no waiting; `Ok(None)` once the channel is closed and
    /// drained.
    ///
    /// Blocks: nothing.
    ///
    /// # Errors
    /// [`RecvError::Empty`].
    ///
    /// # Examples
    /// ```
    /// use go_lib::chan::{chan, RecvError};
    /// let (tx, rx) = chan::<u8>(1);
    /// assert_eq!(rx.try_recv_ok(), Err(RecvError::Empty));
    /// tx.close();
    /// assert_eq!(rx.try_recv_ok(), Ok(None));
    /// ```
    #[inline]
    pub fn try_recv_ok(&self) -> Result<Option<T>, RecvError> {
        self.hchan().recv(Wait::Try)
    }

    /// Receives a value if one comes within `timeout`; `Ok(None)` once the channel is closed and
    /// drained.
    ///
    /// Blocks: the goroutine or the OS thread. Cancel: a receive that timed out leaves nothing.
    ///
    /// # Errors
    /// [`RecvError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// use go_lib::chan::{chan, RecvError};
    /// let (_tx, rx) = chan::<u8>(0);
    /// let timeout = std::time::Duration::from_millis(1);
    /// assert_eq!(rx.recv_timeout(timeout), Err(RecvError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>, RecvError> {
        self.hchan().recv(Wait::Until(deadline_after(timeout)))
    }

    /// Receives until the channel is closed and drained.
    ///
    /// Blocks: as [`recv`](Receiver::recv), at each step. Go: `for v := range ch`.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = go_lib::chan::chan(3);
    /// (0..3).for_each(|i| tx.send(i));
    /// tx.close();
    /// assert_eq!(rx.iter().sum::<i32>(), 3);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { of: self }
    }
}

/// Queries that both ends have.
macro_rules! both_sides {
    ($side:ident) => {
        impl<T> $side<T> {
            /// How many values are buffered. Go: `len(ch)`.
            ///
            /// # Examples
            /// ```
            /// let (tx, rx) = go_lib::chan::chan(2);
            /// tx.send(1);
            /// assert_eq!((tx.len(), rx.len()), (1, 1));
            /// ```
            pub fn len(&self) -> usize {
                self.hchan().len()
            }

            /// True if nothing is buffered.
            ///
            /// # Examples
            /// ```
            /// let (tx, rx) = go_lib::chan::chan::<u8>(2);
            /// assert!(tx.is_empty() && rx.is_empty());
            /// ```
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many values can be buffered. Go: `cap(ch)`.
            ///
            /// # Examples
            /// ```
            /// let (tx, rx) = go_lib::chan::chan::<u8>(2);
            /// assert_eq!((tx.cap(), rx.cap()), (2, 2));
            /// ```
            pub fn cap(&self) -> usize {
                self.hchan().cap()
            }

            /// True once the channel was closed; there may still be buffered values.
            ///
            /// # Examples
            /// ```
            /// let (tx, rx) = go_lib::chan::chan::<u8>(2);
            /// tx.close();
            /// assert!(tx.is_closed() && rx.is_closed());
            /// ```
            pub fn is_closed(&self) -> bool {
                self.hchan().is_closed()
            }
        }

        impl<T> fmt::Debug for $side<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($side))
                    .field("len", &self.len())
                    .field("cap", &self.cap())
                    .field("closed", &self.is_closed())
                    .finish()
            }
        }
    };
}

both_sides!(Sender);
both_sides!(Receiver);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: we hold one sender, so the count cannot reach zero meanwhile.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel: pairs with the other senders' drops, so that the close comes after all they did.
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 && !self.hchan().is_closed() {
            // The last sender: nobody else can close it now, so this cannot fail.
            let _ = self.hchan().close();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { shared: self.shared.clone() }
    }
}
