//! Deadlock: everything sleeps and nothing can wake it.
//!
//! The last one to fall asleep only suspects (`look`); sysmon makes sure a little later
//! (`verify`): no P runs, no M is awake, no timer is armed, nobody waits for a descriptor, a known
//! thread sleeps in the runtime, and the process has no OS thread besides those: a stranger may wake
//! somebody at any time. A host is asked too, and decides: it may know of others who can.
//!
//! Go: runtime/proc.go (checkdead)

use crate::prim::{light_fence, Ordering};
use crate::runtime::object::host;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::proc::{fatal, kick};
use crate::runtime::sched::{Inner, Sched};
use crate::sys::thread;

/// Notes that `m` falls asleep for its pinned goroutine, or has woken.
pub(crate) fn locked_sleeps(s: &Sched, m: &M, asleep: bool) {
    let mut inner = s.inner.lock();
    m.locked_asleep.set(asleep);
    inner.locked_asleep = inner.locked_asleep.wrapping_add_signed(if asleep { 1 } else { -1 });
}

/// Called before an M or thread sleeps; cheap while something runs.
#[inline]
pub(crate) fn look(s: &Sched) {
    if nobody_to_tell(s)
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
        kick::kick(s);
    }
}

/// No deadlock could be reported: no thread sleeps in the runtime, and no goroutine is a forked child's main thread.
#[inline]
fn nobody_to_tell(s: &Sched) -> bool {
    s.threads_asleep.load(Ordering::Acquire) == 0 && !s.main_is_goroutine.load(Ordering::Relaxed)
}

/// Everything the runtime knows of is asleep, for good.
pub(crate) fn is_dead(s: &Sched) -> bool {
    if s.is_ending()
        || s.nmspinning.load(Ordering::Relaxed) != 0
        || s.netpoll.has_waiters()
        || s.stackless.load(Ordering::Relaxed) != 0
        || s.earliest_timer() != NEVER
        || nobody_to_tell(s)
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

/// False if a sleeping thread has been woken and has only not run yet.
fn sleepers_unclaimed(s: &Sched, inner: &Inner) -> bool {
    // SAFETY: Ms are never freed.
    let waiting = inner.foreign.iter().filter(|&&m| unsafe { (*m).g0.wait.is_waiting() }).count();
    waiting >= s.threads_asleep.load(Ordering::Relaxed)
}

/// The number of foreign OS threads in this process: neither the caller, nor the runtime's Ms, nor asleep in the
/// runtime forever. None: the system does not tell.
pub(crate) fn strangers(s: &Sched) -> Option<usize> {
    let asleep = || s.threads_asleep.load(Ordering::Relaxed);
    let before = asleep();
    // Threads begin and end while the system lists them: those that fell asleep since may not be in its list, and those that
    // slept before may have gone. To count one too many only delays a report.
    Some(others(s)?.saturating_sub(before.min(asleep())))
}

/// The number of OS threads in this process that are neither the caller nor the runtime's. None: the system does not tell.
pub(crate) fn others(s: &Sched) -> Option<usize> {
    let tids = thread::tids()?;
    // SAFETY: Ms are never freed.
    let tid = |&m: &*mut M| unsafe { (*m).tid.load(Ordering::Relaxed) };
    let mut ours: Vec<u32> = s.inner.lock().allm.iter().map(tid).collect();
    ours.extend([thread::gettid() as u32, s.sysmon_tid.load(Ordering::Relaxed)]);
    ours.sort_unstable();
    Some(tids.iter().filter(|tid| ours.binary_search(tid).is_err()).count())
}

/// sysmon's second look, and the verdict. True: everything still sleeps, but a thread that the runtime
/// does not know may wake a waiter. Nobody reports that thread's end: look again.
#[cold]
pub(crate) fn verify(s: &Sched) -> bool {
    const SETTLE_NS: i64 = 10_000_000;
    thread::usleep_ns(SETTLE_NS);
    if !is_dead(s) {
        return false;
    }
    if let Some(t) = host::table() {
        // SAFETY: sysmon holds no lock.
        return !unsafe { (t.deadlock)() };
    }
    if strangers(s) == Some(0) && is_dead(s) {
        fatal("all goroutines are asleep - deadlock!");
    }
    true
}
