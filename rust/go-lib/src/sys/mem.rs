//! Address space: reserving stacks, guard pages, giving pages back.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// `MADV_GUARD_INSTALL`, Linux 6.13: a guard without splitting the mapping.
const MADV_GUARD_INSTALL: i32 = 102;

/// Set once the kernel refused `MADV_GUARD_INSTALL`.
static NO_GUARD_MADVISE: AtomicBool = AtomicBool::new(false);

/// Reserves `bytes` of zeroed address space that the kernel commits page by page.
///
/// # Errors
/// The kernel's: no address space, an address-space limit, too many mappings.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    // SAFETY: a new anonymous mapping touches nothing that exists.
    let p = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: our own mapping. A huge page would commit 2 MiB for each stack; a kernel without
    // huge pages answers EINVAL, which is as good.
    unsafe { libc::madvise(p, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(p as usize)
}

/// Makes `[addr, addr + bytes)` fault on any access.
///
/// # Errors
/// Too many mappings (`vm.max_map_count`), where the kernel has no guard markers.
///
/// # Safety
/// The range lies in a mapping of [`reserve`] and nobody uses it.
pub(crate) unsafe fn guard(addr: usize, bytes: usize) -> io::Result<()> {
    if !NO_GUARD_MADVISE.load(Ordering::Relaxed) {
        // SAFETY: the caller's duty.
        if unsafe { libc::madvise(addr as *mut c_void, bytes, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        NO_GUARD_MADVISE.store(true, Ordering::Relaxed);
    }
    // SAFETY: the caller's duty.
    if unsafe { libc::mprotect(addr as *mut c_void, bytes, libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Gives the pages of `[addr, addr + bytes)` back to the kernel; they read as zero afterwards.
///
/// # Safety
/// The range lies in a mapping of [`reserve`] and holds nothing of value.
pub(crate) unsafe fn discard(addr: usize, bytes: usize) {
    // SAFETY: the caller's duty.
    unsafe { libc::madvise(addr as *mut c_void, bytes, libc::MADV_DONTNEED) };
}

/// True when the process may not reserve much more than it uses: overcommit is off or its address
/// space is limited.
pub(crate) fn address_space_is_dear() -> bool {
    let strict =
        std::fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|s| s.trim() == "2");
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is writable.
    let limited = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0
        && limit.rlim_cur != libc::RLIM_INFINITY;
    strict || limited
}
