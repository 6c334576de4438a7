//! Sockets made not to block, and not to survive an exec, after the call that makes them.
//!
//! Between the two a child that another thread forks keeps them.

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

/// A new stream socket of `family`; it does not block.
///
/// # Errors
/// The OS's.
pub(super) fn stream(family: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is ours.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, libc::SOCK_STREAM, 0))?) };
    prepared(fd)
}

/// Takes a connection; it does not block. The address of its other end goes to `addr`, unless that is null.
///
/// # Errors
/// The OS's; `WouldBlock` if there is none.
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
