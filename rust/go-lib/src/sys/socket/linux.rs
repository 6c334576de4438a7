//! Sockets that are non-blocking from the call that makes them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::posix::check;

/// A new non-blocking stream socket of `family`.
///
/// # Errors
/// The OS's.
pub(super) fn stream(family: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the descriptor is ours.
    unsafe { Ok(OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))?)) }
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
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the caller passes room for an address, or none; the descriptor is ours.
    unsafe {
        let fd = check(libc::accept4(fd.as_raw_fd(), addr, len, flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
