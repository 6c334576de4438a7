//! Networking: TCP, UDP and Unix sockets whose waits park the goroutine.
//!
//! The types have the names and the shape of `std::net`. What differs: an operation that has to wait
//! leaves the processor to other goroutines; there are deadlines, as in Go; and `close` ends what
//! waits, in whichever goroutine; and `accept` returns the connection alone, which knows its
//! `peer_addr`. All of it works on ordinary threads too, which then wait alone.
//!
//! ```
//! use go_lib::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! # fn main() -> std::io::Result<()> {
//! go_lib::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let addr = listener.local_addr()?;
//!     go_lib::go!(move || {
//!         let mut stream = listener.accept().unwrap();
//!         std::io::copy(&mut stream.try_clone().unwrap(), &mut stream)
//!     });
//!     let mut stream = TcpStream::connect(addr)?;
//!     stream.write_all(b"echo")?;
//!     stream.shutdown(std::net::Shutdown::Write)?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     assert_eq!(answer, "echo");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Reading and writing
//! Of those who read from one socket at the same time one reads and the others wait for it, likewise
//! of those who write; a read and a write do not hinder each other. As with `std`, one `write` may
//! take a part of the bytes, and `write_all` writes them all. Programs that share a stream between
//! goroutines use [`try_clone`](TcpStream::try_clone), an `Arc`, or a reference: `&TcpStream` reads
//! and writes too.
//!
//! # Errors
//! They are `std`'s, with these of our own:
//!
//! | kind | is |
//! |---|---|
//! | `TimedOut` | a deadline or a timeout has passed ("i/o timeout") |
//! | `NotConnected` | "use of closed network connection": after `close`, also by another goroutine |
//!
//! # Names
//! Where an address is asked for, a name may stand, which is then resolved by the C library, in a
//! call that blocks an OS thread of its own while other goroutines go on. It may need some 100 KiB
//! of stack.
//!
//! # Descriptors
//! `AsFd` is not implemented: what it lends must stay open, and anybody with a reference may `close`.
//! `into_std` gives a socket back to `std`; a socket of `std` becomes one of these by `TryFrom`. The
//! socket does not block, which copies of its descriptor share.
//!
//! Go: package net

#![forbid(unsafe_code)]

mod fd;
mod tcp;
mod udp;
mod unix;

pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixIncoming, UnixListener, UnixStream};

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::Duration;

use self::fd::Fd;
use crate::runtime::block::netpoll::NetError;
use crate::runtime::clock;
use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::desc::Mode;
use crate::sys::errno;

/// The addresses of `addr`, which may be a name.
fn resolve(addr: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    crate::go::with_syscall(|| addr.to_socket_addrs()).map(Iterator::collect)
}

/// The first address with which `f` succeeds, else the last error.
fn each_addr<R>(
    addr: impl ToSocketAddrs,
    f: impl FnMut(&SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut last = None;
    let addrs = resolve(addr)?;
    for outcome in addrs.iter().map(f) {
        match outcome {
            Ok(r) => return Ok(r),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, "could not resolve to any addresses")
    }))
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

/// The next connection that `accept` takes; its first error is the last item, and `None` stands for the
/// listener then.
fn next_incoming<L, S>(
    listener: &mut Option<&L>,
    accept: impl FnOnce(&L) -> io::Result<S>,
) -> Option<io::Result<S>> {
    let accepted = accept((*listener)?);
    if accepted.is_err() {
        *listener = None;
    }
    Some(accepted)
}

/// What all sockets have. `$open` is the body of an example that makes one, `s`.
macro_rules! socket_methods {
    ($type:ident, $std:ty, $open:literal) => {
        impl $type {
            fn new(io: $std) -> std::io::Result<Self> {
                Ok($type { fd: $crate::net::fd::Fd::new(io)? })
            }

            /// When operations end that have not completed, with an error of kind `TimedOut`: those
            /// that wait now and later ones. `None`: they wait for ever.
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
            #[doc = $open]
            /// s.set_deadline(Some(std::time::Instant::now() + std::time::Duration::from_secs(1)))?;
            /// s.set_deadline(None)?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_deadline(&self, at: Option<std::time::Instant>) -> std::io::Result<()> {
                let modes = [
                    $crate::runtime::poller::desc::Mode::Read,
                    $crate::runtime::poller::desc::Mode::Write,
                ];
                self.fd.set_deadline(&modes, at)
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
            #[doc = $open]
            /// s.set_read_deadline(Some(std::time::Instant::now()))?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_read_deadline(&self, at: Option<std::time::Instant>) -> std::io::Result<()> {
                let modes = [$crate::runtime::poller::desc::Mode::Read];
                self.fd.set_deadline(&modes, at)
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
            #[doc = $open]
            /// s.set_write_deadline(None)?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_write_deadline(
                &self,
                at: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                let modes = [$crate::runtime::poller::desc::Mode::Write];
                self.fd.set_deadline(&modes, at)
            }

            /// Closes the socket, for all clones: whoever waits in one of its operations gets the
            /// error "use of closed network connection", and so does whoever begins one later.
            ///
            /// Without it a socket is closed when it and all its clones have been dropped. Go: `Close`.
            ///
            /// # Errors
            /// It was closed before.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// s.close()?;
            /// assert_eq!(s.close().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
            /// # Ok(())
            /// # }
            /// ```
            pub fn close(&self) -> std::io::Result<()> {
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
            #[doc = $open]
            /// let other = s.try_clone()?;
            /// s.close()?;
            /// assert!(other.close().is_err());
            /// # Ok(())
            /// # }
            /// ```
            pub fn try_clone(&self) -> std::io::Result<Self> {
                Ok($type { fd: self.fd.clone() })
            }

            /// The error that the socket has met since somebody last asked.
            ///
            /// # Errors
            /// The socket was closed.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// assert!(s.take_error()?.is_none());
            /// # Ok(())
            /// # }
            /// ```
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.fd.with(|io| io.take_error())
            }

            /// The descriptor; -1 after the close, which another goroutine may do at any time.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// assert!(s.as_raw_fd() >= 0);
            /// s.close()?;
            /// assert_eq!(s.as_raw_fd(), -1);
            /// # Ok(())
            /// # }
            /// ```
            pub fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.fd.with(|io| Ok(std::os::fd::AsRawFd::as_raw_fd(io))).unwrap_or(-1)
            }

            /// Gives the socket to `std`, blocking as its sockets are. If there are clones, which go
            /// on, it is a copy of the descriptor, that shares with them whether it blocks: then it
            /// does not.
            ///
            /// # Errors
            /// It was closed, or no descriptor can be had.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// drop(s.into_std()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn into_std(self) -> std::io::Result<$std> {
                let mut shared = false;
                let io = self.fd.into_io(|io| {
                    shared = true;
                    io.try_clone()
                })?;
                if !shared {
                    io.set_nonblocking(false)?;
                }
                Ok(io)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.fd.with(|io| Ok(format!("{io:?}"))) {
                    Ok(text) => f.write_str(&text),
                    Err(_) => f.write_str(concat!(stringify!($type), " (closed)")),
                }
            }
        }

        impl std::os::fd::AsRawFd for $type {
            /// The descriptor; -1 after the close.
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                $type::as_raw_fd(self)
            }
        }

        /// Fails where the runtime's poller cannot take one more descriptor; so this is no `From`.
        impl TryFrom<$std> for $type {
            type Error = std::io::Error;
            fn try_from(io: $std) -> std::io::Result<Self> {
                io.set_nonblocking(true)?;
                Self::new(io)
            }
        }

        /// The descriptor of such a socket; see `TryFrom` of the one of `std`.
        impl TryFrom<std::os::fd::OwnedFd> for $type {
            type Error = std::io::Error;
            fn try_from(fd: std::os::fd::OwnedFd) -> std::io::Result<Self> {
                Self::try_from(<$std>::from(fd))
            }
        }
    };
}

/// What sockets have that read and write. `$open` as above.
macro_rules! timeout_methods {
    ($type:ident, $open:literal) => {
        impl $type {
            /// How long one operation that reads or receives may wait, as with `std`; the error is of
            /// kind `TimedOut`. A deadline holds beside it.
            ///
            /// # Errors
            /// The duration is zero.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// let second = Some(std::time::Duration::from_secs(1));
            /// s.set_read_timeout(second)?;
            /// assert_eq!(s.read_timeout()?, second);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_read_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.fd.set_timeout($crate::runtime::poller::desc::Mode::Read, timeout)
            }

            /// What [`set_read_timeout`](Self::set_read_timeout) set.
            ///
            /// # Errors
            /// None; `Result` is std's.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// assert_eq!(s.read_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.fd.timeout($crate::runtime::poller::desc::Mode::Read))
            }

            /// As [`set_read_timeout`](Self::set_read_timeout), for what writes and sends.
            ///
            /// # Errors
            /// The duration is zero.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// s.set_write_timeout(Some(std::time::Duration::from_secs(1)))?;
            /// assert!(s.set_write_timeout(Some(std::time::Duration::ZERO)).is_err());
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_write_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.fd.set_timeout($crate::runtime::poller::desc::Mode::Write, timeout)
            }

            /// What [`set_write_timeout`](Self::set_write_timeout) set.
            ///
            /// # Errors
            /// None; `Result` is std's.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $open]
            /// assert_eq!(s.write_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.fd.timeout($crate::runtime::poller::desc::Mode::Write))
            }
        }
    };
}

/// How a stream is read and written: its own methods, and `Read` and `Write` by value and by reference.
/// `$drains`: what a read leaves room for was all there was. `$pair` is the body of an example that
/// makes two ends, `a` and `b`.
macro_rules! stream_methods {
    ($type:ident, $drains:literal, $pair:literal) => {
        impl $type {
            /// Reads at most `buf.len()` bytes, and says how many; 0 is the end, or an empty `buf`.
            ///
            /// Blocks: the goroutine or the OS thread. Go: `Read`.
            ///
            /// # Errors
            /// The stream was closed, its deadline has passed; else the OS's.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $pair]
            /// a.write(b"x")?;
            /// a.shutdown(std::net::Shutdown::Write)?;
            /// let mut buf = [0; 8];
            /// assert_eq!((b.read(&mut buf)?, b.read(&mut buf)?), (1, 0));
            /// # Ok(())
            /// # }
            /// ```
            pub fn read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                let room = if $drains { buf.len() } else { 0 };
                self.fd.read_stream(room, |mut io| std::io::Read::read(&mut io, buf))
            }

            /// Writes as many bytes of `buf` as the other end's and the system's buffers take, and says
            /// how many; `write_all` of `std::io::Write` writes them all.
            ///
            /// Blocks while not one can be taken: the goroutine or the OS thread. Go: `Write`, which
            /// goes on to the end.
            ///
            /// # Errors
            /// The stream was closed or broken, its deadline has passed; else the OS's.
            ///
            /// # Examples
            /// ```
            /// # fn main() -> std::io::Result<()> {
            #[doc = $pair]
            /// assert_eq!(a.write(b"hello")?, 5);
            /// assert_eq!(b.read(&mut [0; 8])?, 5);
            /// # Ok(())
            /// # }
            /// ```
            pub fn write(&self, buf: &[u8]) -> std::io::Result<usize> {
                let mode = $crate::runtime::poller::desc::Mode::Write;
                self.fd.operate(mode, |mut io| std::io::Write::write(&mut io, buf))
            }
        }

        impl std::io::Read for &$type {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                $type::read(self, buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.fd.read_stream(0, |mut io| std::io::Read::read_vectored(&mut io, bufs))
            }
        }

        impl std::io::Read for $type {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                $type::read(self, buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                std::io::Read::read_vectored(&mut &*self, bufs)
            }
        }

        impl std::io::Write for &$type {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                $type::write(self, buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let mode = $crate::runtime::poller::desc::Mode::Write;
                self.fd.operate(mode, |mut io| std::io::Write::write_vectored(&mut io, bufs))
            }

            /// Nothing is held back.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Write for $type {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                $type::write(self, buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                std::io::Write::write_vectored(&mut &*self, bufs)
            }

            /// Nothing is held back.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

use {socket_methods, stream_methods, timeout_methods};
