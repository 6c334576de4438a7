//! Calls that std's sockets cannot make without blocking: to connect, and to accept in one system call.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `tcp_socket(addr)` | a TCP socket of the address's family, which does not block |
//! | `connect(fd, addr)` | begins to connect; false: it is under way, and the socket's error tells how it ended |
//! | `accept(fd)` | takes a connection, which does not block, or fails with `WouldBlock` |
//! | `accept_from(fd, addr, len)` | the same; `addr` gets the other end's address (POSIX) |
//! | `set_backlog(fd, n)` | how many connections may wait to be accepted |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | what POSIX has |
//! | `linux` | sockets that do not block from the beginning, on Linux |
//! | `bsd` | sockets that are made not to block, on macOS and FreeBSD |
//! | `windows` | Windows |

#[cfg(not(any(target_os = "linux", windows)))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(target_os = "linux", windows)))]
pub(crate) use bsd::accept_from;
#[cfg(not(any(target_os = "linux", windows)))]
use bsd::stream;
#[cfg(target_os = "linux")]
pub(crate) use linux::accept_from;
#[cfg(target_os = "linux")]
use linux::stream;
#[cfg(unix)]
pub(crate) use posix::{accept, connect, set_backlog, tcp_socket};
#[cfg(windows)]
pub(crate) use windows::{accept, connect, set_backlog, tcp_socket};
