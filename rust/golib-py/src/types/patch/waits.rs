//! Waits whose outcome C understands: a number from `cpython/patch_groups.h`, negative if an exception is set.

use std::os::raw::c_int;

use go_lib::runtime::embedder::{self, nanotime, WaitError};

use crate::core::waits;
use crate::ffi::gil::{Entry, Gil, Record};

/// C's name for it is `GOLIB_FOR_EVER`.
const FOR_EVER: i64 = i64::MAX;

/// The outcomes.
pub(super) const WOKEN: c_int = 0;
pub(super) const TIMED_OUT: c_int = 1;
pub(super) const RAISED: c_int = -1;

/// Converts a deadline from C.
pub(super) fn deadline(until_ns: i64) -> Option<i64> {
    (until_ns != FOR_EVER).then_some(until_ns)
}

/// The outcome of a wait that failed; None if it must be tried again.
#[cold]
#[inline(never)]
pub(super) fn outcome(gil: Gil<'_>, error: WaitError) -> Option<c_int> {
    match error {
        WaitError::Timeout | WaitError::WouldBlock => Some(TIMED_OUT),
        WaitError::Interrupted => waits::interrupted(gil).err().map(|_| RAISED),
        WaitError::Deadlock => {
            let _ = waits::deadlocked(gil);
            Some(RAISED)
        }
    }
}

/// Repeats `wait` until it has an outcome.
#[inline(always)]
fn repeat(entry: &mut Entry, mut wait: impl FnMut() -> Result<(), WaitError>) -> c_int {
    loop {
        match entry.wait(&mut wait) {
            Ok(Ok(())) => return WOKEN,
            Ok(Err(error)) => {
                if let Some(outcome) = outcome(entry.gil(), error) {
                    return outcome;
                }
            }
            Err(_) => return RAISED,
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
    // SAFETY: C calls it with the GIL, and with the record that its entry pushed.
    let mut entry = unsafe { Entry::new(record) };
    repeat(&mut entry, || match deadline(until_ns) {
        Some(at) => embedder::sleep_until(at),
        None => Err(embedder::park_forever(embedder::WaitReason::Sleep)),
    })
}

pub(super) unsafe extern "C-unwind" fn gosched(record: Record) -> c_int {
    // SAFETY: C calls it with the GIL, and with the record that its entry pushed.
    let mut entry = unsafe { Entry::new(record) };
    match entry.wait(embedder::gosched) {
        Ok(false) if waits::interrupted(entry.gil()).is_err() => RAISED,
        Ok(_) => WOKEN,
        Err(_) => RAISED,
    }
}
