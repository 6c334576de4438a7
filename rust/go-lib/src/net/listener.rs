//! Accepting connections.

use std::fmt;
use std::io;
use std::time::Duration;

use super::fd::Fd;
use super::socket::{Addressed, Socket};
use super::stream::Stream;
use crate::runtime::block::netpoll::NetError;
use crate::runtime::clock;
use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::desc::Mode;
use crate::sys::fd::{lend, AsFd, AsRawFd, OwnedFd};
use crate::sys::{errno, socket};

/// The listeners of `std`.
pub trait Listener: Addressed + AsFd {
    /// Its connections.
    type Stream: Stream;
    /// How a new connection begins.
    #[doc(hidden)]
    fn accepted(_stream: &Socket<Self::Stream>) -> io::Result<()> {
        Ok(())
    }
}

impl Listener for std::net::TcpListener {
    type Stream = std::net::TcpStream;
    fn accepted(stream: &Socket<Self::Stream>) -> io::Result<()> {
        stream.set_nodelay(true)
    }
}

#[cfg(unix)]
impl Listener for std::os::unix::net::UnixListener {
    type Stream = std::os::unix::net::UnixStream;
}

/// Accepts by `accept`, and outlives what concerns one connection, or passes: one that was broken off
/// already, and a process or system without a descriptor to spare, for which it waits a while.
fn accept_patiently<T: AsRawFd, R>(
    fd: &Fd<T>,
    accept: impl Fn(&T) -> io::Result<R>,
) -> io::Result<R> {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = FIRST;
    loop {
        let e = match fd.operate(Mode::Read, &accept) {
            Err(e) => e,
            accepted => return accepted,
        };
        match e.raw_os_error() {
            Some(errno::ECONNABORTED | errno::EPROTO) => (),
            Some(errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM) => {
                // Ends with a new connection too, with the close, and with the deadline.
                let until = clock::now() + pause.as_nanos() as i64;
                match fd.wait(Mode::Read, Some(until)) {
                    Ok(()) | Err(NetError::Wait(WaitError::Timeout)) => {
                        pause = (2 * pause).min(LONGEST);
                    }
                    Err(e) => return Err(e.into()),
                }
            }
            _ => return Err(e),
        }
    }
}

impl<L: Listener> Socket<L> {
    /// Takes the next connection. The address of its other end is its `peer_addr`.
    ///
    /// While the process or the system has no descriptor to spare it waits for one, and tries again
    /// after 5 ms, later after up to a second, as Go's HTTP server does. A connection that was broken
    /// off before it was accepted is passed over.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `Accept`.
    ///
    /// # Errors
    /// The listener was closed, its deadline has passed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let client = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(listener.accept()?.peer_addr()?, client.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<Socket<L::Stream>> {
        let fd: OwnedFd = accept_patiently(&self.fd, |io| socket::accept(lend(io)))?;
        let stream = Socket::new(fd.into())?;
        L::accepted(&stream)?;
        Ok(stream)
    }

    /// All connections, one after the other. It ends after an error, which it yields: the close of the
    /// listener, for one.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let _client = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut incoming = listener.incoming();
    /// assert!(incoming.next().unwrap().is_ok());
    /// listener.close()?;
    /// assert!(incoming.next().unwrap().is_err());
    /// assert!(incoming.next().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming<'_, L> {
        Incoming { listener: Some(self) }
    }
}

/// The connections of a listener; see [`incoming`](super::TcpListener::incoming).
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
/// listener.set_deadline(Some(std::time::Instant::now()))?;
/// assert_eq!(listener.incoming().count(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Incoming<'a, L: Listener = std::net::TcpListener> {
    /// `None` after an error.
    listener: Option<&'a Socket<L>>,
}

impl<L: Listener> fmt::Debug for Incoming<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", &self.listener).finish()
    }
}

impl<L: Listener> Iterator for Incoming<'_, L> {
    type Item = io::Result<Socket<L::Stream>>;

    fn next(&mut self) -> Option<Self::Item> {
        let accepted = self.listener?.accept();
        if accepted.is_err() {
            self.listener = None;
        }
        Some(accepted)
    }
}
