//! A select over channels that are known at run time.

use std::time::Duration;

use super::arms::no_result;
use super::Selected;
use crate::chan::{Receiver, Sender};
use crate::runtime::block::select::{self, Case, SelectError};
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::Wait;

/// A select over a list of channels of one type, made at run time.
///
/// Go: `reflect.Select`.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, select::Select};
/// let channels: Vec<_> = (0..20).map(|_| chan::<usize>(1)).collect();
/// channels[13].0.send(7);
/// let mut select = Select::new();
/// for (_, rx) in &channels {
///     select.recv(rx);
/// }
/// let done = select.wait();
/// assert_eq!((done.index, done.value), (13, Some(7)));
/// ```
pub struct Select<'a, T> {
    cases: Vec<Case<'a, T>>,
    biased: bool,
}

impl<T> Default for Select<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T> Select<'a, T> {
    /// A select without cases.
    ///
    /// # Examples
    /// ```
    /// assert!(go_lib::select::Select::<u8>::new().try_wait().is_none());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Select { cases: Vec::new(), biased: false }
    }

    /// Adds a receive; its index.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (tx, rx) = chan(1);
    /// tx.send('x');
    /// let mut select = Select::new();
    /// assert_eq!(select.recv(&rx), 0);
    /// assert_eq!(select.wait().value, Some('x'));
    /// ```
    pub fn recv(&mut self, from: &'a Receiver<T>) -> usize {
        self.cases.push(Case::Recv(from.hchan()));
        self.cases.len() - 1
    }

    /// Adds a send of `value`, which is dropped if another case wins; its index.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (tx, rx) = chan(1);
    /// let mut select = Select::new();
    /// select.send(&tx, 1);
    /// assert_eq!(select.wait().index, 0);
    /// assert_eq!(rx.recv(), Some(1));
    /// ```
    pub fn send(&mut self, to: &'a Sender<T>, value: T) -> usize {
        self.cases.push(Case::Send(to.hchan(), Some(value)));
        self.cases.len() - 1
    }

    /// Takes the first case that can proceed, in the order in which they were added, instead of a
    /// random one.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let ((tx, rx), (tx2, rx2)) = (chan(1), chan(1));
    /// tx.send(1);
    /// tx2.send(2);
    /// let mut select = Select::new().in_order();
    /// select.recv(&rx);
    /// select.recv(&rx2);
    /// assert_eq!(select.wait().value, Some(1));
    /// ```
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.biased = true;
        self
    }

    /// Waits until a case can proceed, and does it.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: if a send on a closed channel is chosen.
    ///
    /// # Examples
    /// See [`Select`].
    pub fn wait(self) -> Selected<T> {
        match self.go(Wait::Block) {
            Ok(done) => done,
            Err(e) => no_result(&e),
        }
    }

    /// Does a case if one can proceed now.
    ///
    /// Blocks: nothing. Panics: as [`wait`](Select::wait).
    ///
    /// # Examples
    /// See [`Select::new`].
    pub fn try_wait(self) -> Option<Selected<T>> {
        self.limited(Wait::Try)
    }

    /// Waits until a case can proceed, and does it, but not longer than `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: as [`wait`](Select::wait).
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (_tx, rx) = chan::<u8>(1);
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// assert!(select.wait_timeout(std::time::Duration::from_millis(1)).is_none());
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Option<Selected<T>> {
        self.limited(Wait::Until(deadline_after(timeout)))
    }

    fn limited(self, wait: Wait) -> Option<Selected<T>> {
        match self.go(wait) {
            Ok(done) => Some(done),
            Err(SelectError::WouldBlock | SelectError::Timeout) => None,
            Err(e) => no_result(&e),
        }
    }

    fn go(mut self, wait: Wait) -> Result<Selected<T>, SelectError> {
        select::selectgo(&mut self.cases, wait, self.biased)
    }
}
