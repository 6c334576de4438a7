//! The kernel's monotonic clock in nanoseconds. The time that users see comes from `runtime::clock`.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `nanotime()` | the time; it never goes back, on any thread |
//! | `timespec(ns)` | a time as the kernel's type, where other backends need it |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | POSIX |
//! | `windows` | Windows; instead of `timespec` it has `ms_until(ns)`, how long a wait may be that ends then |

#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use posix::{nanotime, timespec};
#[cfg(windows)]
pub(crate) use windows::{ms_until, nanotime};

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::nanotime;
    #[cfg(unix)]
    use super::timespec;

    #[cfg(unix)]
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
