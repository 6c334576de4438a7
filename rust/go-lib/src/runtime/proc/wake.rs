//! Where runnable goroutines go, and waking Ms for them: handing Ps over.
//!
//! Go: runtime/proc.go (runqput, startm, wakep, handoffp)

use std::io;
use std::ptr;

use crate::prim::{heavy_fence, light_fence, spin_hint, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::{P, PIDLE};
use crate::runtime::object::timers::Timers;
use crate::runtime::proc::lists::{mget, pidleget, pidleput, pidletake};
#[cfg(not(golib_loom))]
use crate::runtime::proc::upcall;
use crate::runtime::proc::{kick, looks, newm};
use crate::runtime::sched::{sched, Sched};
use crate::sys::errno;

/// Puts a runnable G where it will run: the right queue of this M's P, or a shared one.
///
/// # Safety
/// `gp` is runnable and in no queue; the calling thread is inside the runtime with `m`.
#[inline(always)]
pub(crate) unsafe fn runqput_any(m: &M, gp: *mut G, next: bool) {
    let pp = m.pp();
    // SAFETY: gp is valid; inside the runtime the P is ours.
    unsafe {
        if (*gp).kind.get() == Kind::Host {
            if !pp.is_null() && (*pp).is_home_of(gp) {
                (*pp).hostq.put(gp, next);
                kick::kick(sched());
            } else {
                let s = sched();
                let home = s.home_of(gp);
                home.hostq.push_inbox(gp);
                wake_host(s, home);
            }
            return;
        }
        if pp.is_null() {
            let s = sched();
            s.globrunqput(&mut s.inner.lock(), gp);
            wake_for_global(s);
            return;
        }
        if let Some(batch) = (*pp).runq.put(gp, next) {
            put_batch(batch);
        }
        let s = sched();
        kick::kick(s);
        if s.gomaxprocs.load(Ordering::Relaxed) > 1 {
            wakep(s);
        }
    }
}

/// Goroutines that did not fit into a ring go to the global queue.
#[cold]
fn put_batch(batch: Vec<*mut G>) {
    let s = sched();
    let mut inner = s.inner.lock();
    for gp in batch {
        // SAFETY: runnable, taken out of the ring.
        unsafe { s.globrunqput(&mut inner, gp) };
    }
}

/// Goroutines came into the global queue: some M must take them; or sysmon must, while all Ps are
/// with goroutines that may not come back. sysmon may be asleep, if these had nobody behind them.
pub(crate) fn wake_for_global(s: &'static Sched) {
    wakep(s);
    kick::kick(s);
}

/// Host work arrived in the inbox of `home`: somebody must hold that P.
#[cold]
pub(crate) fn wake_host(s: &'static Sched, home: &'static P) {
    // Pairs with the heavy fence in find::sleep.
    light_fence();
    if home.status.load(Ordering::Relaxed) != PIDLE {
        kick::kick(s);
        return;
    }
    let mut inner = s.inner.lock();
    if !pidletake(s, &mut inner, home) {
        return;
    }
    drop(inner);
    startm(s, home, false);
}

/// One more M should look for Rust work, unless one does already.
#[inline]
pub(crate) fn wakep(s: &'static Sched) {
    // Pairs with the heavy fence in find::sleep.
    light_fence();
    if s.npidle.load(Ordering::Relaxed) == 0 || s.nmspinning.load(Ordering::Relaxed) != 0 {
        return;
    }
    wakep_slow(s);
}

#[cold]
#[inline(never)]
fn wakep_slow(s: &'static Sched) {
    // AcqRel: at most one M is started so; pairs with the fetch_sub of spinners.
    if s.nmspinning.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    let p = pidleget(s, &mut s.inner.lock());
    match p {
        Some(p) => {
            startm(s, p, true);
        }
        None => {
            s.nmspinning.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// This M starts to look for work.
pub(crate) fn start_spinning(m: &M, s: &Sched) {
    m.spinning.set(true);
    // AcqRel: pairs with the other steps of the count; the fences of the spin protocol do the rest.
    s.nmspinning.fetch_add(1, Ordering::AcqRel);
}

/// This M found work: another may have to continue the search.
pub(crate) fn reset_spinning(m: &M) {
    if m.spinning.replace(false) {
        let s = sched();
        // AcqRel: pairs with wakep_slow.
        s.nmspinning.fetch_sub(1, Ordering::AcqRel);
        wakep(s);
    }
}

/// Wakes an M from the idle list, wherever it sleeps.
pub(crate) fn wake_idle(s: &Sched, m: &M) {
    if m.park.notify() {
        s.netpoll.wake();
    }
}

/// Makes some M run with `p`, which is the caller's. If there is no thread to be had, `p` becomes idle.
pub(crate) fn startm(s: &'static Sched, p: &'static P, spinning: bool) -> bool {
    let m = loop {
        let mut inner = s.inner.lock();
        let poller = inner.poller;
        let m = mget(&mut inner);
        drop(inner);
        if m.is_some_and(|m| ptr::eq(m, poller)) && !spinning {
            // Nobody polls other Ps' timers any more. (A spinner that finds work has another look.)
            kick::kick(s);
        }
        if m.is_some() || cfg!(not(golib_loom)) {
            break m;
        }
        // A model makes no threads: one of its own is about to fall asleep.
        spin_hint();
    };
    if let Some(m) = m {
        m.spinning.set(spinning);
        // Release: publishes the P; pairs with the Acquire of take_nextp.
        m.nextp.store((p as *const P).cast_mut(), Ordering::Release);
        wake_idle(s, m);
        return true;
    }
    match newm::newm(s, Some(p), spinning) {
        Ok(()) => true,
        Err(e) => {
            no_thread(s, p, spinning, &e);
            false
        }
    }
}

/// No thread for `p`: idle it, remember the refusal for the next spawn.
#[cold]
fn no_thread(s: &Sched, p: &P, spinning: bool, e: &io::Error) {
    if spinning {
        // AcqRel: pairs with the other steps of the count.
        s.nmspinning.fetch_sub(1, Ordering::AcqRel);
    }
    let errno = e.raw_os_error().unwrap_or(errno::EAGAIN);
    let is_news = s.refused.swap(errno as u32, Ordering::Relaxed) == 0;
    if is_news && !s.told_no_thread.swap(true, Ordering::Relaxed) {
        eprintln!("go-lib: goroutines wait for a thread: {}", newm::limit_text(s, errno));
    }
    pidleput(s, &mut s.inner.lock(), p);
}

/// For a waiter at a descriptor whose thread holds no P: somebody must poll, and if all Ps are idle nobody may
/// come to look (`poller`, invariant 3).
#[cold]
pub(crate) fn attend(s: &'static Sched) {
    let mut inner = s.inner.lock();
    if s.netpoll.is_polling() {
        return;
    }
    let p = pidleget(s, &mut inner);
    drop(inner);
    if let Some(p) = p {
        startm(s, p, false);
    }
}

/// Arms a timer by `arm(heap)`: on the heap of this M's P, or, without one, on P 0's. `arm` tells
/// whether it is the heap's earliest now. True: it is, and this M has to watch it, because nobody
/// else knows.
#[inline]
pub(crate) fn arm_timer(m: &M, when_ns: i64, arm: impl FnOnce(&Timers) -> bool) -> bool {
    let pp = m.pp();
    // SAFETY: inside the runtime the P is ours.
    if let Some(p) = unsafe { pp.as_ref() } {
        let is_earliest = arm(&p.timers);
        looks::look_at_clock_soon(p);
        return is_earliest;
    }
    // A goroutine that has just forked may be the first that needs a P in the child.
    #[cfg(not(golib_loom))]
    let s = upcall::ensure_started();
    #[cfg(golib_loom)]
    let s = sched();
    if arm(&s.first_p().timers) {
        timer_armed_from_outside(s, when_ns);
    }
    false
}

/// A timer became the first P's earliest without that P's holder knowing.
#[cold]
fn timer_armed_from_outside(s: &'static Sched, when_ns: i64) {
    // Pairs with the heavy fences in find::sleep and stop::stop_until.
    light_fence();
    let mut inner = s.inner.lock();
    if !inner.poller.is_null() {
        if s.poll_until.load(Ordering::Relaxed) > when_ns {
            // SAFETY: Ms are never freed. nextp stays null: look at the timers again.
            unsafe { wake_idle(s, &*inner.poller) };
        }
        return;
    }
    let p = s.first_p();
    if pidletake(s, &mut inner, p) {
        drop(inner);
        startm(s, p, false);
    } else {
        drop(inner);
        kick::kick(s);
    }
}

/// Gives a P away that was taken from an M or that an M no longer needs. True if an M was woken
/// for it.
pub(crate) fn handoffp(s: &'static Sched, p: &'static P) -> bool {
    if !p.is_idle_inside() || s.runqsize.load(Ordering::Relaxed) > 0 {
        return startm(s, p, false);
    }
    // AcqRel: pairs with the other steps of the count.
    if s.nmspinning.load(Ordering::Relaxed) + s.npidle.load(Ordering::Relaxed) == 0
        && s.gomaxprocs.load(Ordering::Relaxed) > 1
        && s.nmspinning.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    {
        return startm(s, p, true);
    }
    let timers = p.timers.next_when() != NEVER;
    {
        let mut inner = s.inner.lock();
        if !(timers && inner.poller.is_null() || s.netpoll.is_unattended()) {
            pidleput(s, &mut inner, p);
            if timers && s.poll_until.load(Ordering::Relaxed) > p.timers.next_when() {
                // SAFETY: Ms are never freed; the poller looks at the timers again.
                unsafe { wake_idle(s, &*inner.poller) };
            }
            drop(inner);
            heavy_fence();
            if !p.is_idle_inside() && pidletake(s, &mut s.inner.lock(), p) {
                return startm(s, p, false);
            }
            return false;
        }
    }
    // Nobody watches its timers, or the network: an M must.
    startm(s, p, false)
}
