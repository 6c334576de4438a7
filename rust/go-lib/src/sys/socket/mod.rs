//! What std's sockets cannot do without blocking: to connect, and to accept in one system call.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `tcp_socket(addr)` | a TCP socket of the address's family, which does not block |
//! | `connect(fd, addr)` | begins to connect; false: it goes on, and the socket's error tells how it ended |
//! | `accept(fd)` | takes a connection, which does not block, or fails with `WouldBlock` |
//! | `set_backlog(fd, n)` | how many connections may wait to be accepted |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::{accept, connect, set_backlog, tcp_socket};
