//! Sleeping.
//!
//! A sleep is a wait without a waker: only its timer ends it, or an interrupt.
//!
//! Go: runtime/time.go (timeSleep)

use std::ptr;
use std::time::Duration;

use crate::runtime::g::{Wake, G};
use crate::runtime::proc::park::gopark;
use crate::runtime::sema::WaitError;
use crate::runtime::waitreason::WaitReason;
use crate::sys::clock::nanotime;

/// Sleeps until `deadline_ns` of the monotonic clock; returns at once if that is past.
///
/// Blocks: the goroutine or the OS thread.
///
/// # Errors
/// [`WaitError::Interrupted`]; the rest of the sleep is not slept.
pub fn sleep_until(deadline_ns: i64) -> Result<(), WaitError> {
    if deadline_ns <= nanotime() {
        return Ok(());
    }
    // SAFETY: no locks to release.
    match unsafe { gopark(hold_nothing, ptr::null_mut(), WaitReason::Sleep, Some(deadline_ns)) } {
        Wake::Timeout | Wake::Peer => Ok(()),
        Wake::Interrupt => Err(WaitError::Interrupted),
        Wake::Deadlock => Err(WaitError::Deadlock),
    }
}

/// The monotonic time `d` from now; a duration beyond the clock's range is the end of time.
pub(crate) fn deadline_after(d: Duration) -> i64 {
    nanotime().saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// `gopark`'s unlockf of a wait that nobody needs to find.
unsafe fn hold_nothing(_gp: *mut G, _arg: *mut ()) {}
