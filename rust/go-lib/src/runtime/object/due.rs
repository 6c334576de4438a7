//! When sysmon does its occasional work: a line of counters, a look at waiting goroutines, a look at running ones.

use std::sync::atomic::AtomicBool;

use crate::prim::{AtomicI64, Ordering};
use crate::runtime::object::timers::NEVER;
use crate::sys::clock::nanotime;

/// How often a line of counters is printed, and when next.
pub(crate) struct SchedTrace {
    period_ns: AtomicI64,
    next_ns: AtomicI64,
    began_ns: AtomicI64,
}

impl SchedTrace {
    /// Off.
    pub(crate) fn new() -> Self {
        SchedTrace {
            period_ns: AtomicI64::new(0),
            next_ns: AtomicI64::new(NEVER),
            began_ns: AtomicI64::new(0),
        }
    }

    /// On, before sysmon starts. False: the period is no positive number of milliseconds, and nothing was done.
    pub(crate) fn begin(&self, period_ms: &str) -> bool {
        const NS_PER_MS: i64 = 1_000_000;
        let period_ms: i64 = period_ms.parse().unwrap_or(0);
        let period_ns = period_ms.checked_mul(NS_PER_MS).unwrap_or(0);
        if period_ns > 0 {
            let now = nanotime();
            // Relaxed: sysmon's thread starts afterwards, and is the only one to use them then.
            self.period_ns.store(period_ns, Ordering::Relaxed);
            self.began_ns.store(now, Ordering::Relaxed);
            self.next_ns.store(now.saturating_add(period_ns), Ordering::Relaxed);
        }
        period_ns > 0
    }

    /// When the next line is due; [`NEVER`] while it is off.
    pub(crate) fn next_when(&self) -> i64 {
        self.next_ns.load(Ordering::Relaxed)
    }

    /// If a line is due: how many milliseconds have passed since the start. The next one is due a period later.
    pub(crate) fn take_due(&self) -> Option<i64> {
        let next = self.next_when();
        if next == NEVER {
            return None;
        }
        let now = nanotime();
        if now < next {
            return None;
        }
        let period = self.period_ns.load(Ordering::Relaxed);
        self.next_ns.store(next.max(now - period) + period, Ordering::Relaxed);
        Some((now - self.began_ns.load(Ordering::Relaxed)) / 1_000_000)
    }
}

/// How long a goroutine may keep its OS thread before that is reported, and when sysmon looks next (`proc::watch`).
pub(crate) struct Watch {
    limit_ns: AtomicI64,
    next_ns: AtomicI64,
}

impl Watch {
    /// The longest limit: a day.
    const MOST_NS: i64 = 86_400_000_000_000;
    /// The shortest: sysmon can look no more often than it wakes.
    const LEAST_NS: i64 = 1_000_000;
    /// Looks in the time of a limit; the last one may come that much late.
    const LOOKS: i64 = 10;
    /// Between two looks at most.
    const PERIOD_NS: i64 = 100_000_000;

    /// Off.
    pub(crate) fn new() -> Self {
        Watch { limit_ns: AtomicI64::new(0), next_ns: AtomicI64::new(NEVER) }
    }

    /// On, before sysmon starts. False: `limit` is no time between a millisecond and a day, such as `100ms`, `1.5s` or
    /// `2m`, and nothing was done.
    pub(crate) fn begin(&self, limit: &str) -> bool {
        let Some(limit_ns) = duration_ns(limit) else { return false };
        let fits = (Self::LEAST_NS..=Self::MOST_NS).contains(&limit_ns);
        if fits {
            // Relaxed: sysmon's thread starts afterwards, and is the only one to use them then.
            self.limit_ns.store(limit_ns, Ordering::Relaxed);
            self.next_ns.store(nanotime(), Ordering::Relaxed);
        }
        fits
    }

    /// When the next look is due; [`NEVER`] while it is off.
    pub(crate) fn next_when(&self) -> i64 {
        self.next_ns.load(Ordering::Relaxed)
    }

    /// If a look is due at `now`: the limit. The next one is due a part of it later.
    pub(crate) fn take_due(&self, now: i64) -> Option<i64> {
        if now < self.next_when() {
            return None;
        }
        let limit_ns = self.limit_ns.load(Ordering::Relaxed);
        self.next_ns.store(now + (limit_ns / Self::LOOKS).min(Self::PERIOD_NS), Ordering::Relaxed);
        Some(limit_ns)
    }
}

/// The nanoseconds of a time in Go's form, with one unit: `100ms`, `1.5s`.
fn duration_ns(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 6] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10)];
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let (_, unit_ns) = UNITS.into_iter().find(|&(name, _)| name == unit)?;
    Some((number.parse::<f64>().ok()? * unit_ns) as i64)
}

/// The time between two looks at waiting goroutines while something runs. A dump shows minutes, so it may be long.
pub(crate) const BUSY_NS: i64 = 10_000_000_000;
/// The same while nothing runs. The first goroutine to run after such a look brings the next one forward.
pub(crate) const IDLE_NS: i64 = 60_000_000_000;

/// When the waits are to be stamped next (`proc::waitsince`).
pub(crate) struct WaitStamps {
    next_ns: AtomicI64,
    /// Nothing ran at the last look. An atomic of std's: the models have no sysmon.
    rests: AtomicBool,
}

impl WaitStamps {
    /// Off.
    pub(crate) fn new() -> Self {
        WaitStamps { next_ns: AtomicI64::new(NEVER), rests: AtomicBool::new(false) }
    }

    /// On, before sysmon starts.
    pub(crate) fn begin(&self) {
        self.rests.store(false, Ordering::Relaxed);
        self.next_ns.store(nanotime() + BUSY_NS, Ordering::Relaxed);
    }

    /// When the next look is due.
    pub(crate) fn next_when(&self) -> i64 {
        self.next_ns.load(Ordering::Relaxed)
    }

    /// Nothing ran at the last look.
    #[inline(always)]
    pub(crate) fn rests(&self) -> bool {
        // Acquire: pairs with the Release in take_due.
        self.rests.load(Ordering::Acquire)
    }

    /// Something has been running since the last look.
    pub(crate) fn stirred(&self) {
        self.rests.store(false, Ordering::Relaxed);
        self.next_ns.fetch_min(nanotime() + BUSY_NS, Ordering::Relaxed);
    }

    /// True if a look is due at `now`; the next one is due later. `idle`: nothing runs.
    pub(crate) fn take_due(&self, now: i64, idle: bool) -> bool {
        let due = now >= self.next_when();
        if due {
            self.next_ns.store(now + if idle { IDLE_NS } else { BUSY_NS }, Ordering::Relaxed);
            // Release: a reader that sees it brings the time forward after it was set; pairs with the Acquire of
            // `rests`.
            self.rests.store(idle, Ordering::Release);
        } else if !idle && self.rests.load(Ordering::Relaxed) {
            self.stirred();
        }
        due
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{duration_ns, SchedTrace, WaitStamps, Watch, BUSY_NS, IDLE_NS, NEVER};
    use crate::prim::Ordering;
    use crate::sys::clock::nanotime;

    #[test]
    fn a_period_that_is_no_number_of_milliseconds_or_beyond_the_clock_is_none() {
        for period in ["", "0", "-5", "1.5", "soon", "99999999999999999999", "9223372036854775807"]
        {
            let trace = SchedTrace::new();
            assert!(!trace.begin(period));
            assert_eq!(trace.next_when(), NEVER, "{period}");
            assert_eq!(trace.take_due(), None);
            assert_eq!(trace.next_when(), NEVER);
        }
    }

    #[test]
    fn a_limit_is_a_number_with_a_unit() {
        for (text, ns) in [("100ms", 100_000_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(duration_ns(text), Some(ns), "{text}");
            assert!(Watch::new().begin(text));
        }
        let bad = ["", "100", "ms", "-5ms", "0s", "1.2.3s", "5 s", "1h", "900us", "2000m", "1e3s"];
        for text in bad {
            let watch = Watch::new();
            assert!(!watch.begin(text), "{text}");
            assert_eq!(watch.take_due(nanotime()), None);
        }
    }

    #[test]
    fn a_late_line_does_not_make_up_for_those_that_were_missed() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        let trace = SchedTrace::new();
        let now = nanotime();
        assert!(trace.begin("3600000"));
        let first = trace.next_when();
        assert!((now + HOUR_NS..=nanotime() + HOUR_NS).contains(&first));
        assert_eq!(trace.take_due(), None);
        assert_eq!(trace.next_when(), first, "too early");
        // Ten periods ago.
        trace.next_ns.store(now - 10 * HOUR_NS, Ordering::Relaxed);
        let before = nanotime();
        assert!(trace.take_due().is_some());
        assert!(trace.next_when() >= before, "at once again: {}", before - trace.next_when());
        assert!(trace.next_when() <= nanotime() + HOUR_NS);
    }

    #[test]
    fn looks_are_rare_and_come_soon_after_something_ran() {
        let stamps = WaitStamps::new();
        assert!(!stamps.take_due(nanotime(), true));
        assert_eq!(stamps.next_when(), i64::MAX, "off");
        stamps.next_ns.store(0, Ordering::Relaxed);
        let before = nanotime();
        assert!(stamps.take_due(before, true));
        assert!(stamps.next_when() >= before + IDLE_NS);
        stamps.stirred();
        let soon = stamps.next_when();
        assert!(soon >= before + BUSY_NS && soon <= nanotime() + BUSY_NS);
        stamps.stirred();
        assert_eq!(stamps.next_when(), soon, "it is not put off");
    }

    #[test]
    fn whatever_runs_after_a_rest_brings_the_next_look_forward() {
        let stamps = WaitStamps::new();
        let look = |idle| {
            let now = nanotime();
            stamps.next_ns.store(now.min(stamps.next_when()), Ordering::Relaxed);
            assert!(stamps.take_due(now, idle));
            now
        };
        let at = look(false);
        assert!(!stamps.rests(), "there was no rest");
        assert_eq!(stamps.next_when(), at + BUSY_NS);
        assert_eq!(look(true) + IDLE_NS, stamps.next_when());
        assert!(stamps.rests());
        stamps.stirred();
        assert!(stamps.next_when() <= nanotime() + BUSY_NS);
        assert!(!stamps.rests(), "the rest is over");
        // It was not told, but notices.
        let at = look(true);
        assert_eq!(stamps.next_when(), at + IDLE_NS);
        assert!(!stamps.take_due(at, false));
        assert!(stamps.next_when() <= nanotime() + BUSY_NS);
    }
}
