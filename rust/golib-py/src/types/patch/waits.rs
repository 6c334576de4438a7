//! Waits whose outcome C understands: a number of `cpython/patch_groups.h`, below 0 if an exception is set.

use std::os::raw::c_int;

use go_lib::runtime::embedder::{self, nanotime, WaitError};

use crate::core::waits;
use crate::ffi::gil::Gil;
use crate::ffi::raw::{guard, guard_wait, Record};

/// C's name for it is `GOLIB_FOR_EVER`.
const FOR_EVER: i64 = i64::MAX;

/// The outcomes.
pub(super) const WOKEN: c_int = 0;
pub(super) const TIMED_OUT: c_int = 1;
pub(super) const RAISED: c_int = -1;

/// A deadline as C gives it.
pub(super) fn deadline(until_ns: i64) -> Option<i64> {
    (until_ns != FOR_EVER).then_some(until_ns)
}

/// The outcome of a wait that failed; None: it is to be tried again.
///
/// # Safety
/// The GIL is held, no wait is under way.
#[cold]
#[inline(never)]
pub(super) unsafe fn outcome(error: WaitError) -> Option<c_int> {
    match error {
        WaitError::Timeout | WaitError::WouldBlock => Some(TIMED_OUT),
        WaitError::Interrupted => {
            // SAFETY: the caller holds the GIL.
            let gil = unsafe { Gil::assume() };
            waits::interrupted(gil).err().map(|_| RAISED)
        }
        WaitError::Deadlock => {
            // SAFETY: the caller holds the GIL.
            let _ = waits::deadlocked(unsafe { Gil::assume() });
            Some(RAISED)
        }
    }
}

/// Repeats `wait` until it has an outcome.
///
/// # Safety
/// The GIL is held; `record` is the entry's.
#[inline(always)]
pub(super) unsafe fn repeat(
    record: Record,
    mut wait: impl FnMut() -> Result<(), WaitError>,
) -> c_int {
    loop {
        match guard_wait(record, &mut wait) {
            Some(Ok(())) => return WOKEN,
            Some(Err(error)) => {
                // SAFETY: the GIL is held, and that wait is over.
                if let Some(outcome) = unsafe { outcome(error) } {
                    return outcome;
                }
            }
            None => return RAISED,
        }
    }
}

pub(super) unsafe extern "C" fn on_goroutine() -> c_int {
    c_int::from(!embedder::current_host().is_null())
}

pub(super) unsafe extern "C" fn now() -> i64 {
    nanotime()
}

pub(super) unsafe extern "C-unwind" fn sleep(until_ns: i64, record: Record) -> c_int {
    // SAFETY: as `repeat`.
    unsafe {
        repeat(record, || match deadline(until_ns) {
            Some(at) => embedder::sleep_until(at),
            None => Err(embedder::park_forever(embedder::WaitReason::Sleep)),
        })
    }
}

pub(super) unsafe extern "C-unwind" fn gosched(record: Record) -> c_int {
    embedder::set_caller(record.cast());
    match guard(embedder::gosched) {
        // SAFETY: the GIL is held, no wait is under way.
        Some(false) if unsafe { waits::interrupted(Gil::assume()) }.is_err() => RAISED,
        Some(_) => WOKEN,
        None => RAISED,
    }
}
