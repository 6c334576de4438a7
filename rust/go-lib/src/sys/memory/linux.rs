//! `mmap`, and advice to the kernel about its mappings.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::OnceLock;

use crate::sys::errno;

/// `MADV_GUARD_INSTALL`, Linux 6.13: a guard without splitting the mapping.
const MADV_GUARD_INSTALL: i32 = 102;

/// Whether the kernel has `MADV_GUARD_INSTALL`.
static GUARD_MADVISE: AtomicU8 = AtomicU8::new(UNTRIED);
const UNTRIED: u8 = 0;
const WORKS: u8 = 1;
const MISSING: u8 = 2;

/// How many mappings guards have used up, where the kernel has no guard markers; and how many each uses up, because it splits
/// the mapping that it lies in.
static GUARD_MAPPINGS: AtomicUsize = AtomicUsize::new(0);
const MAPPINGS_A_GUARD: usize = 2;
/// Linux's default.
const DEFAULT_MAX_MAPPINGS: usize = 65_530;

/// Reserves `bytes` of zeroed address space that the kernel commits page by page.
///
/// # Errors
/// The kernel's: no address space, an address-space limit, too many mappings.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    let at = reserve_small(bytes)?;
    // SAFETY: our own mapping. A huge page would commit 2 MiB for each stack. A kernel without huge
    // pages answers EINVAL, which is just as good.
    unsafe { libc::madvise(at as *mut c_void, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(at)
}

/// Like [`reserve`], for less than a huge page.
///
/// # Errors
/// As [`reserve`].
pub(crate) fn reserve_small(bytes: usize) -> io::Result<usize> {
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
    Ok(p as usize)
}

/// Makes `[addr, addr + bytes)` fault on any access.
///
/// # Errors
/// Too many mappings (`vm.max_map_count`), where the kernel has no guard markers.
///
/// # Safety
/// The range lies in a mapping of [`reserve`], and nothing uses it.
pub(crate) unsafe fn guard(addr: usize, bytes: usize) -> io::Result<()> {
    // Relaxed: a thread that finds it untried tries it itself.
    let known = GUARD_MADVISE.load(Ordering::Relaxed);
    if known != MISSING {
        // SAFETY: the caller's duty.
        let done = unsafe { libc::madvise(addr as *mut c_void, bytes, MADV_GUARD_INSTALL) } == 0;
        // An emulator of user programs accepts advice that it does not know.
        if done && (known == WORKS || !is_readable(addr)) {
            GUARD_MADVISE.store(WORKS, Ordering::Relaxed);
            return Ok(());
        }
        GUARD_MADVISE.store(MISSING, Ordering::Relaxed);
    }
    if GUARD_MAPPINGS.fetch_add(MAPPINGS_A_GUARD, Ordering::Relaxed) >= most_guard_mappings() {
        GUARD_MAPPINGS.fetch_sub(MAPPINGS_A_GUARD, Ordering::Relaxed);
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    // SAFETY: the caller's duty.
    if unsafe { libc::mprotect(addr as *mut c_void, bytes, libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    GUARD_MAPPINGS.fetch_sub(MAPPINGS_A_GUARD, Ordering::Relaxed);
    Err(error)
}

/// How many mappings guards may use up. A sixteenth of those that the process may have is left to others: without one to spare,
/// malloc fails, even for callers that cannot handle it.
fn most_guard_mappings() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_MAX_MAPPINGS);
        max - max / 16
    })
}

/// True if each guard uses up mappings of the process, because the kernel has no guard markers.
pub(crate) fn guards_take_mappings() -> bool {
    GUARD_MADVISE.load(Ordering::Relaxed) == MISSING
}

/// True if the zeroes at `addr` can be read. It asks the kernel to sleep while a word there is 1, since only the kernel then
/// reads the word: for many other calls valgrind reads what their arguments point to first, and a guard kills it.
pub(super) fn is_readable(addr: usize) -> bool {
    let no_deadline = std::ptr::null::<libc::timespec>();
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel reads 4 bytes, which are 0, or says EFAULT.
    let slept = unsafe { libc::syscall(libc::SYS_futex, addr, wait, 1, no_deadline) } == 0;
    slept || errno::last() != libc::EFAULT
}

/// Gives the pages of `[addr, addr + bytes)` back to the kernel; they read as zero afterwards.
///
/// # Safety
/// The range lies in a mapping of [`reserve`] and holds nothing of value.
pub(crate) unsafe fn discard(addr: usize, bytes: usize) {
    // SAFETY: the caller's duty.
    unsafe { libc::madvise(addr as *mut c_void, bytes, libc::MADV_DONTNEED) };
}

/// Gives a whole mapping of [`reserve`] back.
///
/// # Safety
/// Nothing uses it any more.
pub(crate) unsafe fn release(addr: usize, bytes: usize) {
    // SAFETY: the caller's duty.
    unsafe { libc::munmap(addr as *mut c_void, bytes) };
}

/// True if the process should not reserve much more than it uses: overcommit is off, its address space or
/// data is limited, or the CPU has a small address space.
pub(crate) fn address_space_is_dear() -> bool {
    let strict =
        std::fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|s| s.trim() == "2");
    // Linux counts writable reservations as data.
    let limited = [libc::RLIMIT_AS, libc::RLIMIT_DATA].into_iter().any(|of| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: limit is writable.
        unsafe { libc::getrlimit(of, &mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY }
    });
    strict || limited || (cfg!(target_arch = "aarch64") && !has_room())
}

/// True if 16 TiB are free, as they are with the 48 or more address bits that most kernels for aarch64
/// have, but not with the 39 of small machines or the 42 of some with large pages.
fn has_room() -> bool {
    const BYTES: usize = 1 << 44;
    match reserve(BYTES) {
        // SAFETY: just mapped, and not used yet.
        Ok(at) => unsafe { libc::munmap(at as *mut c_void, BYTES) == 0 },
        Err(_) => false,
    }
}
