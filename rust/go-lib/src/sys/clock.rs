//! The monotonic clock in nanoseconds.

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline]
pub(crate) fn nanotime() -> i64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: ts is a valid, writable timespec; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}

/// `ns` on the monotonic clock as the kernel's type.
pub(crate) fn timespec(ns: i64) -> libc::timespec {
    let ns = ns.max(0);
    libc::timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{nanotime, timespec};

    #[test]
    fn a_time_is_split_into_seconds_and_the_rest_and_one_before_the_start_is_the_start() {
        let split = |ns| {
            let ts = timespec(ns);
            (ts.tv_sec, ts.tv_nsec)
        };
        assert_eq!(split(0), (0, 0));
        assert_eq!(split(999_999_999), (0, 999_999_999));
        assert_eq!(split(1_000_000_000), (1, 0));
        assert_eq!(split(i64::MAX), (9_223_372_036, 854_775_807));
        assert_eq!((split(-1), split(i64::MIN)), ((0, 0), (0, 0)));
    }

    #[test]
    fn what_happens_later_on_another_thread_has_a_later_time() {
        let mut last = nanotime();
        assert!(last > 0);
        for _ in 0..50 {
            let now = std::thread::spawn(nanotime).join().unwrap();
            assert!(now >= last);
            last = now;
        }
    }
}
