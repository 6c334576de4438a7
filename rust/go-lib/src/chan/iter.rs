//! A receiver as an iterator: it ends with the channel.

use super::Receiver;

/// Receives until the channel is closed and drained. Made by [`Receiver::iter`].
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(1);
/// tx.send(1);
/// drop(tx);
/// assert_eq!(rx.iter().next(), Some(1));
/// ```
pub struct Iter<'a, T> {
    pub(super) of: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.of.recv()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Receives until the channel is closed and drained; owns its receiver.
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(1);
/// tx.send(1);
/// drop(tx);
/// assert_eq!(rx.into_iter().collect::<Vec<_>>(), [1]);
/// ```
pub struct IntoIter<T> {
    of: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.of.recv()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { of: self }
    }
}
