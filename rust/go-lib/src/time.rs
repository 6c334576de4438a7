//! Time: sleeping. (Channel timeouts are arms of `select!` and methods of channels.)
//!
//! Go: package time

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::runtime::time::{deadline_after, sleep_until};

/// Sleeps at least `d`; a duration of zero returns at once.
///
/// Units: `Duration`, on the monotonic clock. Blocks: the goroutine or the OS thread. Cost: no
/// allocation, one timer. Go: `time.Sleep`.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let begin = Instant::now();
/// go_lib::run(|| go_lib::sleep(Duration::from_millis(2)));
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(d: Duration) {
    if d.is_zero() {
        return;
    }
    if let Err(e) = sleep_until(deadline_after(d)) {
        std::panic::panic_any(e.to_string());
    }
}
