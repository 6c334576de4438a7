//! `futex`, with waits that end at an absolute time of the monotonic clock, as the contract asks.

use std::sync::atomic::AtomicU32;

use crate::prim::FutexWait;
use crate::sys::{clock, errno};

/// Sleeps while `word == expected`; `deadline_ns` is absolute on the monotonic clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    let ts = deadline_ns.map(clock::timespec);
    let ts_ptr = ts.as_ref().map_or(std::ptr::null(), |t| t as *const libc::timespec);
    // SAFETY: word outlives the call; ts_ptr is null or valid. FUTEX_WAIT_BITSET takes an
    // absolute monotonic time, so a wait restarted after a signal keeps its deadline.
    let r = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            ts_ptr,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if r == 0 {
        return FutexWait::Woken;
    }
    match errno::last() {
        libc::ETIMEDOUT => FutexWait::TimedOut,
        libc::EINTR => FutexWait::Interrupted,
        _ => FutexWait::Woken,
    }
}

/// Wakes at most `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    // SAFETY: the kernel uses the address as a key only; a word that is gone wakes no thread.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count.min(i32::MAX as u32),
        );
    }
}
