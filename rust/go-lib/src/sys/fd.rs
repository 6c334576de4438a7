//! The type of a socket on this system: on POSIX a descriptor, on Windows a handle of its own kind.

#[cfg(unix)]
pub use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(windows)]
pub use std::os::windows::io::{
    AsRawSocket as AsRawFd, AsSocket as AsFd, BorrowedSocket as BorrowedFd, OwnedSocket as OwnedFd,
    RawSocket as RawFd,
};

/// The number of none: of a socket that was closed.
#[cfg(unix)]
pub(crate) const NONE: RawFd = -1;
/// The number of none: of a socket that was closed.
#[cfg(windows)]
pub(crate) const NONE: RawFd = RawFd::MAX;

/// The number of `io`.
#[inline(always)]
pub(crate) fn raw<T: AsRawFd>(io: &T) -> RawFd {
    #[cfg(unix)]
    return io.as_raw_fd();
    #[cfg(windows)]
    return io.as_raw_socket();
}

/// Borrows `io`.
#[inline(always)]
pub(crate) fn lend<T: AsFd>(io: &T) -> BorrowedFd<'_> {
    #[cfg(unix)]
    return io.as_fd();
    #[cfg(windows)]
    return io.as_socket();
}
