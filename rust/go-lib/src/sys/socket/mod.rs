//! Calls that std's sockets cannot make without blocking: to connect, and to accept in one system call.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `tcp_socket(addr)` | a TCP socket of the address's family, which does not block |
//! | `connect(fd, addr)` | begins to connect; false: it is under way, and the socket's error tells how it ended |
//! | `accept_from(fd, addr, len)` | takes a connection, which does not block, or fails with `WouldBlock`; `addr` gets the other end's address |
//! | `set_backlog(fd, n)` | how many connections may wait to be accepted |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | what POSIX has |
//! | `linux` | sockets that do not block from the beginning, on Linux |
//! | `bsd` | sockets that are made not to block, on macOS and FreeBSD |

#[cfg(not(target_os = "linux"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
mod posix;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(not(target_os = "linux"))]
pub(crate) use bsd::accept_from;
#[cfg(not(target_os = "linux"))]
use bsd::stream;
#[cfg(target_os = "linux")]
pub(crate) use linux::accept_from;
#[cfg(target_os = "linux")]
use linux::stream;
pub(crate) use posix::{connect, set_backlog, tcp_socket};

/// Takes a connection; it does not block.
///
/// # Errors
/// The OS's; `WouldBlock` if there is none.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for.
    unsafe { accept_from(fd, std::ptr::null_mut(), std::ptr::null_mut()) }
}
