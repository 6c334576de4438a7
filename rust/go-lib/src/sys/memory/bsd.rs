//! `mmap` without Linux's advice.

use std::ffi::c_void;
use std::{io, ptr};

/// The system sets no memory aside for a mapping; FreeBSD never does.
#[cfg(target_vendor = "apple")]
const NO_RESERVE: i32 = libc::MAP_NORESERVE;
#[cfg(not(target_vendor = "apple"))]
const NO_RESERVE: i32 = 0;

/// A mapping of zeroes: anywhere, or with `MAP_FIXED` in place of what is at `at`.
///
/// # Safety
/// Nothing uses what a fixed mapping replaces.
unsafe fn map(at: *mut c_void, bytes: usize, fixed: i32) -> io::Result<usize> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | NO_RESERVE | fixed;
    // SAFETY: a mapping anywhere touches nothing that exists; for a fixed one the caller promises that.
    let p = unsafe { libc::mmap(at, bytes, rights, flags, -1, 0) };
    if p == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(p as usize)
}

/// Reserves `bytes` of zeroed address space that the kernel commits page by page.
///
/// # Errors
/// The kernel's: no address space, an address-space limit, too many mappings.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    // SAFETY: not a fixed one.
    unsafe { map(ptr::null_mut(), bytes, 0) }
}

/// Like [`reserve`], for less than a huge page.
///
/// # Errors
/// As [`reserve`].
pub(crate) fn reserve_small(bytes: usize) -> io::Result<usize> {
    reserve(bytes)
}

/// Makes `[addr, addr + bytes)` fault on any access.
///
/// # Errors
/// The kernel's: too many mappings.
///
/// # Safety
/// The range lies in a mapping of [`reserve`], and nothing uses it.
pub(crate) unsafe fn guard(addr: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's duty.
    if unsafe { libc::mprotect(addr as *mut c_void, bytes, libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// A guard splits the mapping that it lies in, but nothing here counts a process's mappings.
pub(crate) fn guards_take_mappings() -> bool {
    false
}

/// Gives the pages of `[addr, addr + bytes)` back to the kernel; they read as zero afterwards.
///
/// No advice promises both here, so a new mapping replaces them. If there is no memory for one, they stay and are zeroed.
///
/// # Safety
/// The range lies in a mapping of [`reserve`] and holds nothing of value.
pub(crate) unsafe fn discard(addr: usize, bytes: usize) {
    // SAFETY: the caller's duty.
    let done = bytes == 0 || unsafe { map(addr as *mut c_void, bytes, libc::MAP_FIXED).is_ok() };
    if !done {
        // SAFETY: the caller's duty.
        unsafe { ptr::write_bytes(addr as *mut u8, 0, bytes) };
    }
}

/// Gives a whole mapping of [`reserve`] back.
///
/// # Safety
/// Nothing uses it any more.
pub(crate) unsafe fn release(addr: usize, bytes: usize) {
    // SAFETY: the caller's duty.
    unsafe { libc::munmap(addr as *mut c_void, bytes) };
}

/// True if the process should not reserve much more than it uses, because its address space is limited.
pub(crate) fn address_space_is_dear() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is writable.
    unsafe {
        libc::getrlimit(libc::RLIMIT_AS, &mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY
    }
}
