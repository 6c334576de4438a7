//! How long an operation may wait, and why a wait failed: the vocabulary of everything that blocks.

use std::fmt;

/// How long an operation of the runtime may wait.
///
/// # Examples
/// ```
/// use go_lib::chan::Wait;
/// assert_ne!(Wait::Try, Wait::Until(0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Until it can proceed.
    Block,
    /// Not at all.
    Try,
    /// Until this time of the monotonic clock, in nanoseconds; a time in the past tries once.
    Until(i64),
}

/// Why a wait ended without what it waited for.
///
/// # Examples
/// ```
/// use go_lib::sync::{Semaphore, WaitError};
/// let none = Semaphore::new(1);
/// none.acquire(1);
/// let soon = std::time::Duration::from_millis(1);
/// assert_eq!(none.acquire_timeout(1, soon), Err(WaitError::Timeout));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// It would have to wait ([`Wait::Try`]).
    WouldBlock,
    /// The deadline passed.
    Timeout,
    /// The host interrupted the goroutine.
    Interrupted,
    /// All goroutines are asleep.
    Deadlock,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::WouldBlock => "would have to wait",
            WaitError::Timeout => "wait timed out",
            WaitError::Interrupted => "wait was interrupted",
            WaitError::Deadlock => "all goroutines are asleep - deadlock!",
        })
    }
}

impl std::error::Error for WaitError {}

/// How a G's wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// The operation's own waker: a peer, a close, a release.
    Peer,
    /// The deadline.
    Timeout,
    /// An interrupt for this goroutine (the host knows which).
    Interrupt,
    /// Everything is asleep.
    Deadlock,
}
