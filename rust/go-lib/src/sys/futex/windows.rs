//! `WaitOnAddress`, which counts in milliseconds, rounded up here.

use std::sync::atomic::AtomicU32;

use crate::prim::FutexWait;
use crate::sys::clock::{ms_until, nanotime};
use crate::sys::win32::{WaitOnAddress, WakeByAddressAll, WakeByAddressSingle, INFINITE};

/// Sleeps while `word == expected`; `deadline_ns` is absolute on the monotonic clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    loop {
        let ms = deadline_ns.map_or(INFINITE, ms_until);
        // SAFETY: both words are readable for the call.
        let woken = unsafe {
            WaitOnAddress(word.as_ptr().cast(), (&raw const expected).cast(), size_of::<u32>(), ms)
        } != 0;
        // It fails only for a time-out, which may come a tick early.
        match deadline_ns {
            _ if woken => return FutexWait::Woken,
            None => return FutexWait::Woken,
            Some(deadline) if nanotime() >= deadline => return FutexWait::TimedOut,
            Some(_) => {}
        }
    }
}

/// Wakes at most `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let at = word.as_ptr().cast_const().cast();
    if count == u32::MAX {
        // SAFETY: the system uses the address as a key only; a word that is gone wakes no thread.
        unsafe { WakeByAddressAll(at) };
        return;
    }
    for _ in 0..count {
        // SAFETY: as above.
        unsafe { WakeByAddressSingle(at) };
    }
}
