//! The calling thread's error number, and those that the crate's upper layers name.

pub(crate) use libc::{EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO};

#[cfg(any(target_os = "linux", target_os = "dragonfly"))]
use libc::__errno_location as location;
#[cfg(target_os = "freebsd")]
use libc::__error as location;

/// The calling thread's. Not inlined: its address is thread-local and must not be kept
/// across a goroutine switch.
#[cfg(not(target_vendor = "apple"))] // whose backends get their errors returned
#[inline(never)]
pub(crate) fn last() -> i32 {
    // SAFETY: it always returns a valid pointer for the calling thread.
    unsafe { *location() }
}
