//! The one clock of what users see: deadlines, sleeps, timers, timeouts. sysmon and statistics use the kernel's
//! (`sys::clock`), which this one equals.
//!
//! # Invariants
//! 1. A time in a heap of timers, or for which a user's wait ends, is one of this clock; only [`kernel_time`] makes one of the
//!    kernel's of it, where an M goes to sleep until then.

use std::time::Instant;

use crate::sys::clock;

/// The time in nanoseconds; it never goes back.
#[inline]
pub(crate) fn now() -> i64 {
    clock::nanotime()
}

/// When it will be `when` here, on the kernel's clock; the end of time is the end of time.
#[inline]
pub(crate) fn kernel_time(when: i64) -> i64 {
    when
}

/// The time as `std` tells it to users.
#[inline]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
