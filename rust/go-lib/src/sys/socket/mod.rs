//! Socket calls that std cannot make without blocking: to connect, and to accept in one system call.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `tcp_socket(addr)` | makes a non-blocking TCP socket of the address's family |
//! | `connect(fd, addr)` | begins to connect; false if that is under way, and the socket's error will tell how it ended |
//! | `accept(fd)` | accepts a connection as a non-blocking socket, or fails with `WouldBlock` |
//! | `accept_from(fd, addr, len)` | the same, and stores the other end's address in `addr` (POSIX) |
//! | `set_backlog(fd, n)` | sets how many connections may wait to be accepted |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | the common part of POSIX systems |
//! | `linux` | sockets that are non-blocking from the beginning, on Linux |
//! | `bsd` | sockets that are made non-blocking afterwards, on macOS and FreeBSD |
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
