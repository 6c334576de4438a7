//! Where the next goroutine comes from.
//!
//! A host goroutine that leaves for the next one in the queue (`direct`) does not come here;
//! `far_look` makes it do so as often as the order demands.
//!
//! Order: timers, every 61st time the global queue, the host's queue (P 0), the local ring, the
//! global queue, the network poller, stealing, then sleep, which one of the Ms does in the poller.
//!
//! # Going to sleep without losing a wake-up
//! A submitter makes work visible (queue, inbox, timer heap), passes the light fence and reads
//! whether a P is idle. The M that goes idle makes its P idle (and takes itself off the spinners),
//! passes the heavy fence and reads every queue again. One of them sees the other.
//!
//! Go: runtime/proc.go (findRunnable)

use std::ptr;

use crate::prim::{heavy_fence, Ordering};
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::P;
use crate::runtime::proc::attach::detach;
use crate::runtime::proc::looks::{plan_far_look, CLOCK_EVERY, GLOBAL_EVERY};
use crate::runtime::proc::{lists, ready, stacks, stop, wake};
use crate::runtime::sched::{sched, Sched};
use crate::sys::poll::Until;

/// A runnable G, or null: look at the M's state again (it has a new P, or none).
#[inline]
pub(crate) fn find_runnable(m: &'static M) -> *mut G {
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*m.pp() };
    let s = sched();
    let looks = p.looks.get().wrapping_add(1);
    p.looks.set(looks);
    if p.timers.next_when() != NEVER
        && (looks % CLOCK_EVERY == 0 || p.timers_due.load(Ordering::Relaxed))
    {
        run_timers(m, p);
    }
    plan_far_look(s, p, looks);
    if looks % GLOBAL_EVERY == 0 {
        let gp = fair_look(s, p);
        if !gp.is_null() {
            return gp;
        }
    }
    if p.has_right() {
        // SAFETY: the P is ours.
        let gp = unsafe { p.hostq.get() };
        if !gp.is_null() {
            return gp;
        }
    }
    // SAFETY: the P is ours.
    let (gp, _) = unsafe { p.runq.get(looks % GLOBAL_EVERY != 0) };
    if !gp.is_null() {
        return gp;
    }
    find_far(m, p, s)
}

/// Queues that would otherwise starve: the global one, and that of Rust goroutines beside the
/// host's.
#[cold]
fn fair_look(s: &Sched, p: &P) -> *mut G {
    if s.runqsize.load(Ordering::Relaxed) > 0 {
        let gp = s.globrunqpop(&mut s.inner.lock());
        if !gp.is_null() {
            return gp;
        }
    }
    if p.has_right() && !p.hostq.is_empty() {
        // SAFETY: the P is ours.
        return unsafe { p.runq.get(false).0 };
    }
    ptr::null_mut()
}

/// Fires what is due on `p`; true if anything was.
fn run_timers(m: &M, p: &P) -> bool {
    let now = clock::now();
    p.timers_due.store(false, Ordering::Relaxed);
    if p.timers.next_when() > now {
        return false;
    }
    let mut any = false;
    // SAFETY: on g0; run_expired claims each wait before it calls back and holds no lock then.
    unsafe {
        p.timers.run_expired(now, &mut |gp| {
            any = true;
            if !gp.is_null() {
                ready::ready_from_timer(m, gp);
            }
        });
    }
    any
}

/// Nothing near: the global queue, other Ps, then sleep.
#[cold]
#[inline(never)]
fn find_far(m: &'static M, p: &P, s: &'static Sched) -> *mut G {
    if s.runqsize.load(Ordering::Relaxed) > 0 {
        let gp = globrunqget(s, p);
        if !gp.is_null() {
            return gp;
        }
    }
    if p.timers.next_when() != NEVER && run_timers(m, p) {
        return ptr::null_mut();
    }
    // Acquire: pairs with the Release of `grow` and `shrink`: the Ps below it are published.
    let procs = s.gomaxprocs.load(Ordering::Acquire);
    let retired = s.every_p().skip(procs);
    if retired.filter(|q| q.timers.next_when() != NEVER).any(|q| run_timers(m, q)) {
        return ptr::null_mut();
    }
    if s.netpoll.is_unattended() {
        let ready = s.netpoll.poll(Until::Now);
        if !ready.is_empty() {
            ready.inject(m);
            return ptr::null_mut();
        }
    }
    // From here on this M does not need the interpreter.
    detach(m);
    if !s.is_ending() {
        let gp = steal_work(m, p, s);
        if !gp.is_null() {
            return gp;
        }
        if !p.is_idle_inside() {
            return ptr::null_mut();
        }
    }
    stacks::trim_cached(p);
    sleep(m, p, s);
    ptr::null_mut()
}

/// Takes a share of the global queue: one to run, the rest to the ring.
fn globrunqget(s: &Sched, p: &P) -> *mut G {
    let mut inner = s.inner.lock();
    let size = s.runqsize.load(Ordering::Relaxed);
    let procs = s.gomaxprocs.load(Ordering::Relaxed).max(1);
    let n = (size / procs + 1).min(crate::runtime::object::runq::CAP as usize / 2);
    let gp = s.globrunqpop(&mut inner);
    for _ in 1..n {
        let more = s.globrunqpop(&mut inner);
        if more.is_null() {
            break;
        }
        // SAFETY: the P is ours and its ring, just found empty, holds CAP / 2.
        if unsafe { p.runq.put(more, false) }.is_some() {
            crate::runtime::proc::throw("globrunqget: the ring overflowed");
        }
    }
    gp
}

/// Four rounds over the other Ps in random order; the last one also takes timers and `runnext`.
fn steal_work(m: &'static M, p: &P, s: &'static Sched) -> *mut G {
    // Acquire: pairs with the Release of `grow` and `shrink`.
    let n = s.gomaxprocs.load(Ordering::Acquire);
    if n < 2 {
        return ptr::null_mut();
    }
    let busy = (n as u32).saturating_sub(s.npidle.load(Ordering::Relaxed));
    if !m.spinning.get() {
        if 2 * s.nmspinning.load(Ordering::Relaxed) >= busy {
            return ptr::null_mut();
        }
        wake::start_spinning(m, s);
    }
    const ROUNDS: usize = 4;
    for round in 0..ROUNDS {
        let start = m.cheaprand() as usize;
        for k in 0..n {
            // SAFETY: Ps below gomaxprocs exist.
            let victim = unsafe { &*s.p((start + k) % n) };
            if ptr::eq(victim, p) {
                continue;
            }
            if round == ROUNDS - 1 && victim.timers.next_when() != NEVER {
                run_timers(m, victim);
                if !p.is_idle_inside() {
                    return ptr::null_mut();
                }
            }
            // SAFETY: the P is ours and its ring is empty.
            let gp = unsafe { victim.runq.steal_into(&p.runq, round == ROUNDS - 1) };
            if !gp.is_null() {
                return gp;
            }
        }
    }
    ptr::null_mut()
}

/// Makes the P idle and sleeps until there is work, a timer is due or somebody hands us a P.
pub(crate) fn sleep(m: &'static M, p: &P, s: &'static Sched) {
    {
        let mut inner = s.inner.lock();
        if s.runqsize.load(Ordering::Relaxed) > 0 || p.stop.load(Ordering::Relaxed) {
            return;
        }
        lists::releasep(m);
        lists::pidleput(s, &mut inner, p);
    }
    let was_spinning = m.spinning.replace(false);
    if was_spinning {
        // AcqRel: pairs with the submitters' read of nmspinning, see the header.
        s.nmspinning.fetch_sub(1, Ordering::AcqRel);
    }
    // Pairs with the light fence in wake::wakep and wake::wake_host.
    heavy_fence();
    if look_again(m, s, was_spinning) {
        return;
    }
    stop::stopm(m);
}

/// Reads every queue again after the P went idle; true if this M got a P back.
fn look_again(m: &'static M, s: &'static Sched, spin: bool) -> bool {
    if s.homes().any(|home| !home.hostq.is_empty() && lists::take_idle_p(m, s, home)) {
        return true;
    }
    let work = s.procs().any(|p| !p.runq.is_empty()) || s.runqsize.load(Ordering::Relaxed) > 0;
    if work && lists::take_any_idle_p(m, s) {
        if spin {
            wake::start_spinning(m, s);
        }
        return true;
    }
    false
}
