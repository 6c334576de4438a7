//! macOS: ulock, on which the system's own locks sleep. It is private, but in the libraries since 10.12 (`__ulock_wait2`: 11).

use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicU32;

use crate::prim::FutexWait;
use crate::sys::clock::nanotime;

const COMPARE_AND_WAIT: u32 = 1;
const WAKE_ALL: u32 = 0x100;
/// Errors are returned, negated, instead of stored.
const NO_ERRNO: u32 = 0x0100_0000;

unsafe extern "C" {
    fn __ulock_wait2(
        operation: u32,
        at: *mut c_void,
        value: u64,
        timeout_ns: u64,
        value2: u64,
    ) -> c_int;
    fn __ulock_wake(operation: u32, at: *mut c_void, value: u64) -> c_int;
}

/// Sleeps while `word == expected`; `deadline_ns` is absolute on the monotonic clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    let timeout_ns = match deadline_ns {
        None => 0, // no limit
        Some(deadline) => match deadline.saturating_sub(nanotime()) {
            left if left > 0 => left as u64,
            _ => return FutexWait::TimedOut,
        },
    };
    // SAFETY: word outlives the call.
    let r = unsafe {
        let at = word.as_ptr().cast();
        __ulock_wait2(COMPARE_AND_WAIT | NO_ERRNO, at, expected.into(), timeout_ns, 0)
    };
    match -r {
        libc::ETIMEDOUT => FutexWait::TimedOut,
        libc::EINTR => FutexWait::Interrupted,
        _ => FutexWait::Woken,
    }
}

/// Wakes at most `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let all = if count == u32::MAX { WAKE_ALL } else { 0 };
    for _ in 0..if all == 0 { count } else { 1 } {
        // SAFETY: the kernel uses the address as a key only; a word that is gone wakes no thread.
        let r = unsafe { __ulock_wake(COMPARE_AND_WAIT | NO_ERRNO | all, word.as_ptr().cast(), 0) };
        if r < 0 && -r != libc::EINTR {
            break; // no thread sleeps
        }
    }
}
