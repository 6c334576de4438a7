//! Ms that have had nothing to do for seconds end.
//!
//! A burst of blocking calls leaves as many Ms on the idle list. `sched::KEEP_IDLE` of them stay (as many as there are CPUs, if that
//! is more); each other one sleeps for `PATIENCE_NS` and then ends its thread, unless somebody has taken it off the list
//! by then. Wakers take the newest M, so the ones that time out are those that nobody needs.
//!
//! # Invariants
//! 1. An M leaves `midle` and `allm` in one critical section, so that a count of either agrees with the other. If
//!    another thread took the M off `midle` first, that thread has a P for it, and the M stays.
//! 2. The memory of an M that has ended serves the next new thread: stale pointers to it stay readable (`m.rs`, 2).
//!    The M goes to `mdead` once its thread no longer touches it.
//! 3. While an M is idle, no host state is attached to it or bound to its thread, so its end need not be told to the host.
//!
//! Go keeps idle Ms forever.

use crate::prim::Ordering;
use crate::runtime::object::m::M;
use crate::runtime::proc::{lists, newm};
use crate::runtime::sched::{Inner, Sched};
use crate::sys::clock::nanotime;

/// How long the others stay.
const PATIENCE_NS: i64 = 5_000_000_000;

/// How many idle Ms are kept ready for the next goroutine that blocks, while one after the other does.
const SPARE: usize = 2;

/// Starts an M ahead: Ps are taken in quick succession, and a thread takes longer to start than to wake. Not in a model.
pub(crate) fn spare(s: &'static Sched) {
    if cfg!(golib_loom) || s.starting.load(Ordering::Relaxed) + s.inner.lock().midle.len() > SPARE {
        return;
    }
    s.starting.fetch_add(1, Ordering::Relaxed);
    // Without one the next P waits for its thread to start, or says why it cannot.
    if newm::newm(s, None, false).is_err() {
        s.starting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Until when an M that has just come to the idle list waits for a P; `None`: it is one of those that stay, which
/// costs no timer.
pub(crate) fn patience(s: &Sched, inner: &Inner) -> Option<i64> {
    (inner.midle.len() > s.keep_idle.load(Ordering::Relaxed)).then(|| nanotime() + PATIENCE_NS)
}

/// Sleeps until woken; false: `until` has passed and the M has ended, for everybody but its own thread.
pub(crate) fn sleep_or_end(m: &M, s: &Sched, until: Option<i64>) -> bool {
    if let Some(until) = until {
        if !m.park.sleep_until(until) && end(m, s) {
            return false;
        }
    }
    m.park.sleep();
    true
}

/// Takes `m` off all lists unless it must stay, or a P is on its way to it.
#[cold]
fn end(m: &M, s: &Sched) -> bool {
    let me = std::ptr::from_ref(m).cast_mut();
    let mut inner = s.inner.lock();
    let is_needed = inner.midle.len() <= s.keep_idle.load(Ordering::Relaxed)
        || s.is_ending()
        || is_first_thread(m);
    if is_needed || !lists::take_off_idle_list(s, &mut inner, me) {
        return false;
    }
    inner.allm.retain(|&other| other != me);
    m.ends.set(true);
    true
}

/// The M of a goroutine that forked runs on the child's first thread. If that ended, the
/// process would be a zombie with threads.
fn is_first_thread(m: &M) -> bool {
    m.tid.load(Ordering::Relaxed) == std::process::id()
}
