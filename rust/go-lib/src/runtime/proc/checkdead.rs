//! Deadlock: everything sleeps and nothing can wake it.
//!
//! The last one to fall asleep only suspects (`look`); sysmon makes sure a little later
//! (`verify`): no P runs, no M is awake, no timer is armed, nobody waits for a descriptor, a known
//! thread sleeps in the runtime, and no thread that we do not know of exists (for a host: no thread of
//! the host; it decides).
//!
//! Go: runtime/proc.go (checkdead)

use crate::prim::{light_fence, Ordering};
use crate::runtime::embedder;
use crate::runtime::m::NEVER;
use crate::runtime::proc::{fatal, sysmon, wake};
use crate::runtime::sched::{Inner, Sched};
use crate::sys::thread;

/// Counts Ms that sleep for their pinned goroutine.
pub(crate) fn locked_sleeps(s: &Sched, n: isize) {
    let mut inner = s.inner.lock();
    inner.locked_asleep = inner.locked_asleep.wrapping_add_signed(n);
}

/// Called by whoever is about to sleep; cheap when something runs.
#[inline]
pub(crate) fn look(s: &Sched) {
    if s.threads_asleep.load(Ordering::Relaxed) == 0
        || (s.npidle.load(Ordering::Relaxed) as usize) < s.gomaxprocs.load(Ordering::Relaxed)
    {
        return;
    }
    suspect(s);
}

#[cold]
fn suspect(s: &Sched) {
    if is_dead(s) {
        s.maybe_dead.store(true, Ordering::Release);
        // Pairs with the heavy fence in sysmon::sleep: it sees the suspicion, or is kicked.
        light_fence();
        sysmon::kick(s);
    }
}

/// Everything the runtime knows of is asleep, for good.
pub(crate) fn is_dead(s: &Sched) -> bool {
    if s.exiting.load(Ordering::Relaxed)
        || s.nmspinning.load(Ordering::Relaxed) != 0
        || s.netpoll.has_waiters()
        || wake::earliest_timer(s) != NEVER
        || s.threads_asleep.load(Ordering::Acquire) == 0
    {
        return false;
    }
    let inner = s.inner.lock();
    inner.pidle.len() >= s.gomaxprocs.load(Ordering::Relaxed)
        && inner.runq_first.is_null()
        && inner.allm.len() <= inner.midle.len() + inner.locked_asleep
        && s.procs().all(|p| p.is_idle_inside())
        && sleepers_unclaimed(s, &inner)
}

/// No sleeping thread has been woken already and only not yet run.
fn sleepers_unclaimed(s: &Sched, inner: &Inner) -> bool {
    // SAFETY: Ms are never freed.
    let waiting = inner.foreign.iter().filter(|&&m| unsafe { (*m).g0.wait.is_waiting() }).count();
    waiting >= s.threads_asleep.load(Ordering::Relaxed)
}

/// sysmon's second look, and the verdict. True: it looks as before, but some thread is alive that
/// the runtime does not know; when that ends, nobody tells: look again.
#[cold]
pub(crate) fn verify(s: &Sched) -> bool {
    const SETTLE_NS: i64 = 10_000_000;
    thread::usleep_ns(SETTLE_NS);
    if !is_dead(s) {
        return false;
    }
    if let Some(t) = embedder::table() {
        // SAFETY: sysmon holds no lock.
        return !unsafe { (t.deadlock)() };
    }
    let known = s.nthreads.load(Ordering::Relaxed) + s.threads_asleep.load(Ordering::Relaxed);
    if thread::count() <= known && is_dead(s) {
        fatal("all goroutines are asleep - deadlock!");
    }
    true
}
