//! The common part of all sockets: deadlines, the close, handles, conversion from and to `std`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::fd::Fd;
use crate::runtime::poller::desc::Mode;
use crate::sys::fd::{raw, AsRawFd, OwnedFd, RawFd, NONE};

/// A socket; [`TcpStream`](super::TcpStream) and the others are this one for a socket of `std`'s each.
///
/// Another handle of it ([`try_clone`](Self::try_clone)) is the same socket.
///
/// # Examples
/// ```
/// use go_lib::net::{Socket, UdpSocket};
/// # fn main() -> std::io::Result<()> {
/// let s: Socket<std::net::UdpSocket> = UdpSocket::bind("127.0.0.1:0")?;
/// s.close()
/// # }
/// ```
pub struct Socket<S: Kind> {
    pub(super) fd: Fd<S>,
}

/// Nobody else's types are kinds.
mod sealed {
    pub trait Sealed {}
}

/// The sockets of `std` that this module can serve.
pub trait Kind: sealed::Sealed + AsRawFd + From<OwnedFd> + fmt::Debug {
    /// How its close is shown.
    #[doc(hidden)]
    const CLOSED: &'static str;
    #[doc(hidden)]
    fn duplicate(&self) -> io::Result<Self>
    where
        Self: Sized;
    #[doc(hidden)]
    fn block(&self, blocks: bool) -> io::Result<()>;
    #[doc(hidden)]
    fn error(&self) -> io::Result<Option<io::Error>>;
}

/// Those whose own address users ask for.
pub trait Addressed: Kind {
    /// An address.
    type Addr;
    #[doc(hidden)]
    fn local(&self) -> io::Result<Self::Addr>;
}

/// Those that transfer data, so that an operation may be given a time.
pub trait Data: Kind {}

/// What `std` calls the same in each of its types, without a trait.
macro_rules! kinds {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}

        impl Kind for $type {
            const CLOSED: &'static str = concat!(stringify!($type), " (closed)");
            fn duplicate(&self) -> io::Result<Self> {
                self.try_clone()
            }
            fn block(&self, blocks: bool) -> io::Result<()> {
                self.set_nonblocking(!blocks)
            }
            fn error(&self) -> io::Result<Option<io::Error>> {
                self.take_error()
            }
        }

        /// Fails where the runtime's poller cannot take one more descriptor; so this is no `From`.
        impl TryFrom<$type> for Socket<$type> {
            type Error = io::Error;
            fn try_from(io: $type) -> io::Result<Self> {
                Self::of_std(io)
            }
        }
    )*};
}
mod names {
    pub(super) use std::net::{TcpListener, TcpStream, UdpSocket};
    #[cfg(unix)]
    pub(super) use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
}
use names::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use names::{UnixDatagram, UnixListener, UnixStream};
kinds!(TcpListener, TcpStream, UdpSocket);
#[cfg(unix)]
kinds!(UnixDatagram, UnixListener, UnixStream);

/// As above.
macro_rules! addressed {
    ($addr:ty: $($type:ty),*) => {$(
        impl Addressed for $type {
            type Addr = $addr;
            fn local(&self) -> io::Result<$addr> {
                self.local_addr()
            }
        }
    )*};
}
addressed!(std::net::SocketAddr: TcpListener, TcpStream, UdpSocket);
#[cfg(unix)]
addressed!(std::os::unix::net::SocketAddr: UnixListener, UnixStream);

impl Data for TcpStream {}
impl Data for UdpSocket {}
#[cfg(unix)]
impl Data for UnixDatagram {}
#[cfg(unix)]
impl Data for UnixStream {}

impl<S: Kind> Socket<S> {
    /// Of one that does not block.
    pub(super) fn new(io: S) -> io::Result<Self> {
        Ok(Socket { fd: Fd::new(io)? })
    }

    fn of_std(io: S) -> io::Result<Self> {
        io.block(false)?;
        Self::new(io)
    }

    /// When operations end that have not completed, with an error of kind `TimedOut`: those that
    /// wait now and later ones. `None`: they wait forever.
    ///
    /// Units: a point in time, not a duration; a past one ends operations at once. It holds
    /// until it is set anew. Clones share it. Go: `SetDeadline`.
    ///
    /// # Errors
    /// The socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// s.set_deadline(Some(std::time::Instant::now() + std::time::Duration::from_secs(1)))?;
    /// s.set_deadline(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(&[Mode::Read, Mode::Write], at)
    }

    /// As [`set_deadline`](Self::set_deadline), for what reads, receives and accepts.
    ///
    /// Go: `SetReadDeadline`.
    ///
    /// # Errors
    /// The socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// s.set_read_deadline(Some(std::time::Instant::now()))?;
    /// assert_eq!(s.accept().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_read_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(&[Mode::Read], at)
    }

    /// As [`set_deadline`](Self::set_deadline), for what writes and sends.
    ///
    /// Go: `SetWriteDeadline`.
    ///
    /// # Errors
    /// The socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// s.set_write_deadline(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_write_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(&[Mode::Write], at)
    }

    /// Closes the socket, for all clones: operations that wait fail with "use of closed network
    /// connection", and so do later ones.
    ///
    /// Without it a socket is closed when it and all its clones have been dropped. Go: `Close`.
    ///
    /// # Errors
    /// It was closed before.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// s.close()?;
    /// assert_eq!(s.close().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> io::Result<()> {
        self.fd.close()
    }

    /// Another handle of the same socket: they share everything, also deadlines and the close.
    ///
    /// Cost: no descriptor. It does not fail; `Result` is std's.
    ///
    /// # Errors
    /// None.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let other = s.try_clone()?;
    /// s.close()?;
    /// assert!(other.close().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Socket { fd: self.fd.clone() })
    }

    /// The error that the socket has met since somebody last asked.
    ///
    /// # Errors
    /// The socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(s.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.fd.with(Kind::error)
    }

    /// The descriptor; -1 after the close, which another goroutine may do at any time.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(s.as_raw_fd() >= 0);
    /// s.close()?;
    /// assert_eq!(s.as_raw_fd(), -1);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }

    /// The socket's handle; all ones after the close, which another goroutine may do at any time.
    #[cfg(windows)]
    pub fn as_raw_socket(&self) -> RawFd {
        self.raw()
    }

    fn raw(&self) -> RawFd {
        self.fd.with(|io| Ok(raw(io))).unwrap_or(NONE)
    }

    /// Gives the socket to `std`, blocking as its sockets are. If there are clones, which stay
    /// usable, it is a copy of the descriptor, which shares their mode: it does not block.
    ///
    /// # Errors
    /// It was closed, or no descriptor can be had.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let s = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// drop(s.into_std()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_std(self) -> io::Result<S> {
        let mut shared = false;
        let io = self.fd.into_io(|io| {
            shared = true;
            io.duplicate()
        })?;
        if !shared {
            io.block(true)?;
        }
        Ok(io)
    }
}

impl<S: Addressed> Socket<S> {
    /// The address of this end.
    ///
    /// # Errors
    /// The socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.local_addr()?, listener.accept()?.peer_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.fd.with(Addressed::local)
    }
}

impl<S: Data> Socket<S> {
    /// How long one operation that reads or receives may wait, as with `std`; the error is of
    /// kind `TimedOut`. A deadline holds beside it.
    ///
    /// # Errors
    /// The duration is zero.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// let second = Some(std::time::Duration::from_secs(1));
    /// s.set_read_timeout(second)?;
    /// assert_eq!(s.read_timeout()?, second);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.fd.set_timeout(Mode::Read, timeout)
    }

    /// The timeout set by [`set_read_timeout`](Self::set_read_timeout).
    ///
    /// # Errors
    /// None; `Result` is std's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// assert_eq!(s.read_timeout()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.fd.timeout(Mode::Read))
    }

    /// As [`set_read_timeout`](Self::set_read_timeout), for what writes and sends.
    ///
    /// # Errors
    /// The duration is zero.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// s.set_write_timeout(Some(std::time::Duration::from_secs(1)))?;
    /// assert!(s.set_write_timeout(Some(std::time::Duration::ZERO)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.fd.set_timeout(Mode::Write, timeout)
    }

    /// The timeout set by [`set_write_timeout`](Self::set_write_timeout).
    ///
    /// # Errors
    /// None; `Result` is std's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (s, _other) = go_lib::net::UnixStream::pair()?;
    /// assert_eq!(s.write_timeout()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.fd.timeout(Mode::Write))
    }
}

impl<S: Kind> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fd.with(|io| Ok(format!("{io:?}"))) {
            Ok(text) => f.write_str(&text),
            Err(_) => f.write_str(S::CLOSED),
        }
    }
}

impl<S: Kind> AsRawFd for Socket<S> {
    /// The descriptor; -1 after the close.
    #[cfg(unix)]
    fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }
    #[cfg(windows)]
    fn as_raw_socket(&self) -> RawFd {
        self.raw()
    }
}

/// The descriptor of such a socket; see `TryFrom` of the one of `std`.
impl<S: Kind> TryFrom<OwnedFd> for Socket<S> {
    type Error = io::Error;
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Self::of_std(S::from(fd))
    }
}
