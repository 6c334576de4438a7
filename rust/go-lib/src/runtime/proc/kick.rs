//! Messages between sysmon and the Ms: they kick it when there is something to watch, and it asks goroutines to yield.

use crate::prim::{light_fence, Ordering};
use crate::runtime::sched::{sched, Sched};

/// Some M's goroutine is asked to yield, since the last look. An atomic of std's: a static.
static YIELD_WANTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// True if some goroutine is asked to yield: a hint to look at `M::yield_asked`.
#[inline(always)]
pub(crate) fn wants_a_yield() -> bool {
    // Relaxed: a hint.
    cfg!(not(golib_loom)) && YIELD_WANTED.load(Ordering::Relaxed)
}

/// Makes goroutines look at `M::yield_asked`.
pub(crate) fn want_a_yield() {
    YIELD_WANTED.store(true, Ordering::Relaxed);
}

/// Withdraws the request: at each look, and in a forked child, where nobody else would.
pub(crate) fn want_no_yield() {
    YIELD_WANTED.store(false, Ordering::Relaxed);
}

/// Whether a kick would wake it.
#[inline(always)]
pub(crate) fn sleeps() -> bool {
    // Pairs with the heavy fence in `sysmon::sleep`: either it sees what the caller has done, or we see that it
    // sleeps.
    light_fence();
    sched().sysmon_sleeps.load(Ordering::Relaxed) != 0
}

/// Wakes sysmon if it sleeps for long: there is something for it to watch.
#[inline(always)]
pub(crate) fn kick(s: &Sched) {
    // As in `sleeps`.
    light_fence();
    if s.sysmon_sleeps.load(Ordering::Relaxed) != 0 {
        kick_slow(s);
    }
}

#[cold]
#[inline(never)]
fn kick_slow(s: &Sched) {
    // Relaxed: two kicks at once count as one.
    s.sysmon_sleeps.store(0, Ordering::Relaxed);
    s.sysmon_note.wakeup();
}
