//! The descriptor of a socket, as `net`'s types share it: [`NetFd`] with errors of `std`'s kinds.
//!
//! This is the one place where a [`NetError`] becomes an [`io::Error`].

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::block::netpoll::fd::NetFd;
use crate::runtime::block::netpoll::NetError;
use crate::runtime::object::timers::NEVER;
use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::desc::Mode;
use crate::sys::fd::AsRawFd;

impl From<NetError> for io::Error {
    fn from(e: NetError) -> io::Error {
        match e {
            NetError::Closed => {
                io::Error::new(ErrorKind::NotConnected, "use of closed network connection")
            }
            NetError::Wait(e) => e.into(),
            NetError::Io(e) => e,
        }
    }
}

/// [`io::Error::get_ref`] gives the [`WaitError`] back where the wait was interrupted.
impl From<WaitError> for io::Error {
    fn from(e: WaitError) -> io::Error {
        match e {
            WaitError::Timeout => io::Error::new(ErrorKind::TimedOut, "i/o timeout"),
            WaitError::WouldBlock => io::Error::from(ErrorKind::WouldBlock),
            // Not ErrorKind::Interrupted: loops over a reader would try again.
            WaitError::Interrupted | WaitError::Deadlock => io::Error::other(e),
        }
    }
}

/// A socket's descriptor; clones are the same socket.
pub(super) struct Fd<T: AsRawFd>(Arc<NetFd<T>>);

impl<T: AsRawFd> Clone for Fd<T> {
    fn clone(&self) -> Self {
        Fd(self.0.clone())
    }
}

/// The methods of [`NetFd`] that have no text here do what they do there.
impl<T: AsRawFd> Fd<T> {
    /// Makes `io` known to the poller; it does not block.
    pub(super) fn new(io: T) -> io::Result<Self> {
        Ok(Fd(Arc::new(NetFd::new(io)?)))
    }

    pub(super) fn with<R>(&self, f: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        Ok(self.0.with(f)?)
    }

    #[inline]
    pub(super) fn operate<R>(
        &self,
        mode: Mode,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        Ok(self.0.operate(mode, op)?)
    }

    #[inline]
    pub(super) fn read_stream(
        &self,
        room: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        Ok(self.0.read_stream(room, op)?)
    }

    #[cfg(unix)]
    pub(super) fn operate_by_looking<R>(
        &self,
        mode: Mode,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        Ok(self.0.operate_by_looking(mode, op)?)
    }

    pub(super) fn nudge(&self) {
        self.0.nudge();
    }

    pub(super) fn wait(&self, mode: Mode, until_ns: Option<i64>) -> Result<(), NetError> {
        self.0.wait(mode, until_ns)
    }

    /// `None`: no deadline.
    pub(super) fn set_deadline(&self, modes: &[Mode], at: Option<Instant>) -> io::Result<()> {
        let at_ns = at.map_or(NEVER, crate::runtime::block::time::deadline_at);
        Ok(self.0.set_deadline(modes, at_ns)?)
    }

    /// # Errors
    /// Zero is no time, as `std` has it.
    pub(super) fn set_timeout(&self, mode: Mode, timeout: Option<Duration>) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(zero_timeout());
        }
        self.0.set_timeout(mode, timeout);
        Ok(())
    }

    pub(super) fn timeout(&self, mode: Mode) -> Option<Duration> {
        self.0.timeout(mode)
    }

    pub(super) fn close(&self) -> io::Result<()> {
        Ok(self.0.close()?)
    }

    /// The socket itself, which the poller no longer knows; where clones still use it, `copy` of it.
    pub(super) fn into_io(self, copy: impl FnOnce(&T) -> io::Result<T>) -> io::Result<T> {
        match Arc::try_unwrap(self.0) {
            Ok(fd) => Ok(fd.into_io().ok_or(NetError::Closed)?),
            Err(shared) => Ok(shared.with(copy)?),
        }
    }
}

/// The error for a duration that must not be zero.
pub(super) fn zero_timeout() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "cannot set a 0 duration timeout")
}
