//! Networking: TCP, UDP and Unix sockets whose waits park the goroutine.
//!
//! The types have the names and the shape of `std::net`. What differs: an operation that has to
//! wait leaves the processor to other goroutines; there are deadlines, as in Go; `close` ends waits
//! in any goroutine; and `accept` returns the connection alone, which knows its `peer_addr`. All of
//! it works on ordinary threads too, which then wait alone.
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
//! # Types
//! [`Socket`] is what all of them are, for one type of `std`'s each; [`Stream`] and [`Listener`] say which of those are what.
//!
//! # Reading and writing
//! Of those who read from one socket at the same time one reads and the others wait for it, likewise
//! of those who write; a read and a write do not hinder each other. As with `std`, one `write` may
//! take a part of the bytes, and `write_all` writes them all. Programs that share a stream between
//! goroutines use [`try_clone`](TcpStream::try_clone), an `Arc`, or a reference: `&TcpStream` reads
//! and writes too.
//!
//! # Systems
//! Unix sockets, and the conversions from and to descriptors, are there on POSIX systems only. On Windows the conversions are
//! from and to `OwnedSocket`, and `as_raw_socket` takes the place of `as_raw_fd`.
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
//! An address may be given as a name. The C library then resolves it, in a call that blocks an OS
//! thread of its own while other goroutines continue. It may need some 100 KiB of stack.
//!
//! # Descriptors
//! `AsFd` is not implemented: a lent descriptor must stay open, but anybody with a reference may
//! `close`. `into_std` gives a socket back to `std`; a socket of `std` becomes one of these by
//! `TryFrom`. The socket does not block, which copies of its descriptor share.
//!
//! Go: package net

#![forbid(unsafe_code)]

mod fd;
mod listener;
mod socket;
mod stream;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;

pub use listener::{Incoming, Listener};
pub use socket::{Addressed, Data, Kind, Socket};
pub use stream::Stream;
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UnixDatagram, UnixIncoming, UnixListener, UnixStream};

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};

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
