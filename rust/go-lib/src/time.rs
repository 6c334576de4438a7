//! Time: sleeping, and what happens at a time or again and again. (Timeouts are also arms of
//! `select!` and methods of channels.)
//!
//! ```
//! use go_lib::{select, time};
//! use std::time::Duration;
//!
//! go_lib::run(|| {
//!     let ticker = time::Ticker::new(Duration::from_millis(1));
//!     let timeout = time::after(Duration::from_millis(20));
//!     let mut ticks = 0;
//!     loop {
//!         select! {
//!             recv(ticker.chan()) -> _ => ticks += 1,
//!             recv(timeout) -> _ => break,
//!         }
//!     }
//!     assert!(ticks > 1);
//! });
//! ```
//!
//! No goroutine waits for a timer: it costs a slot in a heap. One whose channel nobody can receive
//! from any more is collected at once. All of this works on ordinary threads too.
//!
//! Go: package time, with the timers of Go 1.23

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chan::{never, timer_chan, Receiver};
use crate::runtime::block::time::{deadline_after, sleep_until};
use crate::runtime::block::timetimer::{Call, TimeTimer};
use crate::sync::Mutex;

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

/// Goes off once, at a time: its channel then yields that time. Made by [`Timer::new`], and by
/// [`after_func`], where it starts a goroutine instead.
///
/// After [`stop`](Timer::stop) or [`reset`](Timer::reset) the channel yields no tick of before,
/// even of a timer that is going off just then. The timer lives as long as its channel: with the
/// `Timer` and all clones of the receiver gone it is stopped.
///
/// # Examples
/// ```
/// use go_lib::time::Timer;
/// use std::time::{Duration, Instant};
/// let begin = Instant::now();
/// let timer = Timer::new(Duration::from_millis(1));
/// let at = timer.chan().recv().unwrap();
/// assert!(at >= begin + Duration::from_millis(1));
/// ```
pub struct Timer {
    /// The channel of the ticks; see [`chan`](Timer::chan).
    pub c: Receiver<Instant>,
    timer: Arc<TimeTimer>,
    /// Of [`after_func`].
    call: Option<Call>,
}

impl Timer {
    /// A timer that goes off `d` from now; a `d` beyond the clock's range means never.
    ///
    /// Cost: two allocations. Go: `time.NewTimer`.
    ///
    /// # Examples
    /// ```
    /// let timer = go_lib::time::Timer::new(std::time::Duration::from_secs(3600));
    /// assert!(timer.stop());
    /// ```
    #[must_use = "a timer that nobody has is stopped"]
    pub fn new(d: Duration) -> Timer {
        let (c, timer) = timer_chan();
        timer.set(deadline_after(d), 0, None);
        Timer { c, timer, call: None }
    }

    /// The channel that yields the time when the timer has gone off. It is never closed. That of
    /// an [`after_func`] yields nothing.
    ///
    /// Go: the field `C`, which is here the field `c`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let timer = go_lib::time::Timer::new(Duration::from_millis(1));
    /// assert!(timer.chan().recv().is_some());
    /// assert!(timer.c.try_recv().is_none());
    /// ```
    pub fn chan(&self) -> &Receiver<Instant> {
        &self.c
    }

    /// Stops the timer. True if this kept it from going off; false if it has gone off, or was
    /// stopped before. A tick that nobody has received yet is taken back, so that is a true.
    ///
    /// Of an [`after_func`] a false can mean that the function is running just now.
    ///
    /// Blocks: nothing. Go: `Timer.Stop`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let timer = go_lib::time::Timer::new(Duration::from_secs(3600));
    /// assert!(timer.stop());
    /// assert!(!timer.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.timer.stop()
    }

    /// Makes the timer go off `d` from now instead. Returns what [`stop`](Timer::stop) would have.
    ///
    /// Blocks: nothing. Go: `Timer.Reset`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let timer = go_lib::time::Timer::new(Duration::from_secs(3600));
    /// assert!(timer.reset(Duration::from_millis(1)));
    /// assert!(timer.chan().recv().is_some());
    /// assert!(!timer.reset(Duration::ZERO)); // it had gone off
    /// ```
    pub fn reset(&self, d: Duration) -> bool {
        self.timer.set(deadline_after(d), 0, self.call.clone())
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

/// Goes off again and again: its channel yields a time each period.
///
/// One tick waits at most: a receiver that is too slow misses those between, and they are not made
/// up for. The times do not drift. The ticker lives as long as its channel, like a [`Timer`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let ticker = go_lib::time::Ticker::new(Duration::from_millis(1));
/// let first = ticker.chan().recv().unwrap();
/// let second = ticker.chan().recv().unwrap();
/// assert!(second > first);
/// ticker.stop();
/// ```
pub struct Ticker {
    /// The channel of the ticks; see [`chan`](Ticker::chan).
    pub c: Receiver<Instant>,
    timer: Arc<TimeTimer>,
}

impl Ticker {
    /// A ticker with this period; one beyond the clock's range means never.
    ///
    /// Cost: two allocations. Panics: if the period is zero. Go: `time.NewTicker`.
    ///
    /// # Examples
    /// ```
    /// let ticker = go_lib::time::Ticker::new(std::time::Duration::from_millis(1));
    /// assert!(ticker.chan().recv().is_some());
    /// ```
    #[must_use = "a ticker that nobody has is stopped"]
    pub fn new(period: Duration) -> Ticker {
        assert!(!period.is_zero(), "non-positive interval for Ticker::new");
        let (c, timer) = timer_chan();
        let ticker = Ticker { c, timer };
        ticker.start(period);
        ticker
    }

    fn start(&self, period: Duration) {
        let period_ns = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
        self.timer.set(deadline_after(period), period_ns, None);
    }

    /// The channel of the ticks. It is never closed, also not by [`stop`](Ticker::stop).
    ///
    /// Go: the field `C`, which is here the field `c`.
    ///
    /// # Examples
    /// ```
    /// let ticker = go_lib::time::Ticker::new(std::time::Duration::from_millis(1));
    /// for _time in ticker.chan().iter().take(3) {}
    /// ```
    pub fn chan(&self) -> &Receiver<Instant> {
        &self.c
    }

    /// Stops the ticker: no tick comes after this, also not one that nobody had received.
    ///
    /// Blocks: nothing. Go: `Ticker.Stop`.
    ///
    /// # Examples
    /// ```
    /// let ticker = go_lib::time::Ticker::new(std::time::Duration::from_nanos(1));
    /// ticker.stop();
    /// assert!(ticker.chan().try_recv().is_none());
    /// ```
    pub fn stop(&self) {
        self.timer.stop();
    }

    /// Starts the ticker anew with this period: the next tick comes after one.
    ///
    /// Blocks: nothing. Panics: if the period is zero. Go: `Ticker.Reset`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let ticker = go_lib::time::Ticker::new(Duration::from_secs(3600));
    /// ticker.reset(Duration::from_millis(1));
    /// assert!(ticker.chan().recv().is_some());
    /// ```
    pub fn reset(&self, period: Duration) {
        assert!(!period.is_zero(), "non-positive interval for Ticker::reset");
        self.start(period);
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticker")
    }
}

/// A channel that yields the time once, `d` from now: `Timer::new(d).c`.
///
/// Dropping the receiver stops the timer, so that a select in a loop may make one each time.
/// Go: `time.After`.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let begin = Instant::now();
/// let at = go_lib::time::after(Duration::from_millis(1)).recv().unwrap();
/// assert!(at >= begin + Duration::from_millis(1));
/// ```
#[must_use = "a timer that nobody has is stopped"]
pub fn after(d: Duration) -> Receiver<Instant> {
    Timer::new(d).c
}

/// A channel that yields the time each `period`: `Ticker::new(period).c`. With a period of zero
/// it yields nothing, as in Go.
///
/// Dropping the receiver stops the ticker. Go: `time.Tick`.
///
/// # Examples
/// ```
/// let ticks = go_lib::time::tick(std::time::Duration::from_millis(1));
/// assert_eq!(ticks.iter().take(3).count(), 3);
/// ```
#[must_use = "a ticker that nobody has is stopped"]
pub fn tick(period: Duration) -> Receiver<Instant> {
    if period.is_zero() {
        return never();
    }
    Ticker::new(period).c
}

/// Runs `f` in a goroutine of its own, `d` from now; a `d` beyond the clock's range means never.
///
/// The timer serves to [`stop`](Timer::stop) that, or to [`reset`](Timer::reset) it, also when `f`
/// has run: then it runs again, after the run before (Go lets the two run at the same time).
/// Dropping the timer changes nothing: `f` runs.
///
/// Blocks: nothing. Cost: four allocations, and a goroutine when the time has come. Go:
/// `time.AfterFunc`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let (tx, rx) = go_lib::chan::chan(1);
/// go_lib::time::after_func(Duration::from_millis(1), move || tx.send("late"));
/// assert_eq!(rx.recv(), Some("late"));
/// ```
#[track_caller]
pub fn after_func<R>(d: Duration, f: impl FnMut() -> R + Send + 'static) -> Timer {
    let f = Mutex::new(f);
    let f = Arc::new(move || drop((f.lock())()));
    let call = Call { f, created_at: Location::caller() };
    let timer = TimeTimer::new();
    timer.set(deadline_after(d), 0, Some(call.clone()));
    Timer { c: never(), timer, call: Some(call) }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Ticker, Timer};
    use std::sync::{Arc, Weak};

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_timer_lives_as_long_as_somebody_may_receive_from_it() {
        let Timer { c, timer, .. } = Timer::new(LONG);
        // The runtime has the other reference while it is set.
        let alive = Arc::downgrade(&timer);
        drop(timer);
        let clone = c.clone();
        drop(c);
        assert!(alive.strong_count() > 0);
        drop(clone);
        assert_eq!(alive.strong_count(), 0, "still in a heap");
    }

    #[test]
    fn a_ticker_that_nobody_has_is_out_of_the_heap() {
        let alive: Vec<Weak<_>> =
            (0..1000).map(|_| Arc::downgrade(&Ticker::new(LONG).timer)).collect();
        assert!(alive.iter().all(|t| t.strong_count() == 0));
    }

    #[test]
    fn a_stopped_timer_is_out_of_the_heap() {
        let timer = Timer::new(LONG);
        assert_eq!(Arc::strong_count(&timer.timer), 3, "ours, the channel's, the heap's");
        timer.stop();
        assert_eq!(Arc::strong_count(&timer.timer), 2);
        timer.reset(Duration::MAX);
        assert_eq!(Arc::strong_count(&timer.timer), 2);
    }
}
