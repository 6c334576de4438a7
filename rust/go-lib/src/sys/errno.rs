//! The calling thread's error number, and those that the crate's upper layers name.

#[cfg(unix)]
pub(crate) use libc::{EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO};
#[cfg(windows)]
pub(crate) use windows::{EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO};

/// Windows' numbers for the errors that these names mean on POSIX.
#[cfg(windows)]
mod windows {
    /// The system refuses one more thread: ERROR_MAX_THRDS_REACHED.
    pub(crate) const EAGAIN: i32 = 164;
    /// WSAECONNABORTED.
    pub(crate) const ECONNABORTED: i32 = 10053;
    /// WSAEMFILE.
    pub(crate) const EMFILE: i32 = 10024;
    /// ERROR_TOO_MANY_OPEN_FILES.
    pub(crate) const ENFILE: i32 = 4;
    /// WSAENOBUFS.
    pub(crate) const ENOBUFS: i32 = 10055;
    /// ERROR_NOT_ENOUGH_MEMORY.
    pub(crate) const ENOMEM: i32 = 8;
    /// A connection that was reset before it was accepted: WSAECONNRESET.
    pub(crate) const EPROTO: i32 = 10054;
}

#[cfg(any(target_os = "linux", target_os = "dragonfly"))]
use libc::__errno_location as location;
#[cfg(target_os = "freebsd")]
use libc::__error as location;

/// The calling thread's. Not inlined: its address is thread-local and must not be kept
/// across a goroutine switch.
#[cfg(all(unix, not(target_vendor = "apple")))] // whose backends get their errors returned
#[inline(never)]
pub(crate) fn last() -> i32 {
    // SAFETY: it always returns a valid pointer for the calling thread.
    unsafe { *location() }
}
