//! `QueryPerformanceCounter`, which std's `Instant` reads too.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::sys::win32::{QueryPerformanceCounter, QueryPerformanceFrequency};

/// Ticks a second; 0 before the first look. It never changes.
static FREQUENCY: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds of the counter.
#[inline]
pub(crate) fn nanotime() -> i64 {
    let mut ticks = 0;
    // SAFETY: ticks is writable. It does not fail on the versions that have the other calls used here.
    unsafe { QueryPerformanceCounter(&mut ticks) };
    to_ns(ticks, frequency())
}

fn frequency() -> i64 {
    // Relaxed: a thread that finds no value asks the system itself.
    let mut known = FREQUENCY.load(Ordering::Relaxed);
    if known == 0 {
        // SAFETY: known is writable.
        unsafe { QueryPerformanceFrequency(&mut known) };
        FREQUENCY.store(known, Ordering::Relaxed);
    }
    known
}

fn to_ns(ticks: i64, frequency: i64) -> i64 {
    const SECOND: i64 = 1_000_000_000;
    // In two parts: the product with a second would be too large.
    ticks / frequency * SECOND + ticks % frequency * SECOND / frequency
}

/// How many whole milliseconds pass until `deadline_ns`, rounded up; less than `u32::MAX`, which means no end.
pub(crate) fn ms_until(deadline_ns: i64) -> u32 {
    let left = deadline_ns.saturating_sub(nanotime()).max(0);
    (left / 1_000_000 + i64::from(left % 1_000_000 != 0)).min(i64::from(u32::MAX - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::{ms_until, nanotime, to_ns};

    #[test]
    fn ticks_are_split_so_that_no_product_is_too_large() {
        assert_eq!(to_ns(0, 10_000_000), 0);
        assert_eq!(to_ns(15, 10_000_000), 1_500);
        assert_eq!(to_ns(3_000_000_001, 3_000_000_000), 1_000_000_000);
        assert_eq!(to_ns(i64::MAX / 1_000, 10_000_000), (i64::MAX / 1_000) * 100);
    }

    #[test]
    fn a_wait_is_rounded_up_and_never_without_an_end() {
        assert_eq!(ms_until(i64::MIN), 0);
        assert_eq!(ms_until(nanotime()), 0);
        assert!((1..=2).contains(&ms_until(nanotime() + 1_500_000)));
        assert_eq!(ms_until(i64::MAX), u32::MAX - 1);
    }
}
