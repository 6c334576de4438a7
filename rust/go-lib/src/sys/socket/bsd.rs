//! Sockets that are made non-blocking, and close-on-exec, after the call that makes them.
//!
//! A child that another thread forks between the two calls inherits them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::posix::check;

fn prepared(fd: OwnedFd) -> io::Result<OwnedFd> {
    let raw = fd.as_raw_fd();
    // SAFETY: no pointers.
    unsafe {
        check(libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC))?;
        check(libc::fcntl(raw, libc::F_SETFL, libc::O_NONBLOCK))?;
    }
    Ok(fd)
}

/// A new non-blocking stream socket of `family`.
///
/// # Errors
/// The OS's.
pub(super) fn stream(family: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is ours.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, libc::SOCK_STREAM, 0))?) };
    prepared(fd)
}

/// Accepts a connection as a non-blocking socket. The address of its other end goes to `addr`, unless that is null.
///
/// # Errors
/// The OS's; `WouldBlock` if no connection waits.
///
/// # Safety
/// `addr` has room for `len` bytes, or both are null.
pub(crate) unsafe fn accept_from(
    fd: BorrowedFd<'_>,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> io::Result<OwnedFd> {
    // SAFETY: the caller passes room for an address, or none; the descriptor is ours.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::accept(fd.as_raw_fd(), addr, len))?) };
    prepared(fd)
}
