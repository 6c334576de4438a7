//! Which M holds which P: handing Ps over, waking and putting Ms to sleep.
//!
//! # Invariants
//! 1. `midle` holds exactly the Ms that sleep (or are about to) in `stopm`; whoever takes one out
//!    sets its `nextp` and wakes it. One that leaves by itself may end (`idle`).
//! 2. At most one idle M is the poller: it sleeps until the earliest timer, in the network poller if
//!    somebody waits there. Its deadline is in `poll_until`; who arms an earlier timer without a
//!    running P wakes it.
//! 3. A P on `pidle` has status PIDLE; taking it off makes it PRUNNING.
//!
//! Go: runtime/proc.go (startm, stopm, wakep, handoffp)

use std::io;
use std::ptr;

use crate::prim::{heavy_fence, light_fence, spin_hint, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::{P, PIDLE, PRUNNING};
use crate::runtime::object::timers::Timers;
use crate::runtime::proc::schedule::detach;
use crate::runtime::proc::{checkdead, find, idle, procs, sysmon};
use crate::runtime::sched::{sched, Inner, Sched};
use crate::sys::errno;
use crate::sys::poll::Until;

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
            if !pp.is_null() && (*pp).has_right() {
                (*pp).hostq.put(gp, next);
                sysmon::kick(sched());
            } else {
                let s = sched();
                (*s.p(0)).hostq.push_inbox(gp);
                wake_host(s);
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
        sysmon::kick(s);
        if s.gomaxprocs.load(Ordering::Relaxed) > 1 {
            wakep(s);
        }
    }
}

/// What did not fit into a ring goes to the global queue.
#[cold]
fn put_batch(batch: Vec<*mut G>) {
    let s = sched();
    let mut inner = s.inner.lock();
    for gp in batch {
        // SAFETY: runnable, taken out of the ring.
        unsafe { s.globrunqput(&mut inner, gp) };
    }
}

/// Goroutines came into the global queue: some M must take them, or, while all Ps are with goroutines that
/// may not come back, sysmon must see to it, which sleeps if these had nobody behind them.
pub(crate) fn wake_for_global(s: &'static Sched) {
    wakep(s);
    sysmon::kick(s);
}

/// Host work arrived in the inbox: somebody must hold P 0.
#[cold]
pub(crate) fn wake_host(s: &'static Sched) {
    // Pairs with the heavy fence in find::sleep.
    light_fence();
    // SAFETY: P 0 always exists.
    let host = unsafe { &*s.p(0) };
    if host.status.load(Ordering::Relaxed) != PIDLE {
        sysmon::kick(s);
        return;
    }
    let mut inner = s.inner.lock();
    if !pidletake(s, &mut inner, host) {
        return;
    }
    drop(inner);
    startm(s, host, false);
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

/// This M found work: another may have to go on looking.
pub(crate) fn reset_spinning(m: &M) {
    if m.spinning.replace(false) {
        let s = sched();
        // AcqRel: pairs with wakep_slow.
        s.nmspinning.fetch_sub(1, Ordering::AcqRel);
        wakep(s);
    }
}

/// Puts `p` on the idle list.
pub(crate) fn pidleput(s: &Sched, inner: &mut Inner, p: &P) {
    p.status.store(PIDLE, Ordering::Relaxed);
    let at = (p as *const P).cast_mut();
    if p.has_right() {
        inner.pidle.insert(0, at); // taken last by Rust work
    } else {
        inner.pidle.push(at);
    }
    s.npidle.fetch_add(1, Ordering::Relaxed);
}

/// Any idle P, now the caller's.
pub(crate) fn pidleget(s: &Sched, inner: &mut Inner) -> Option<&'static P> {
    let p = inner.pidle.pop()?;
    s.npidle.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: Ps are never freed.
    let p = unsafe { &*p };
    p.status.store(PRUNNING, Ordering::Relaxed);
    Some(p)
}

/// Takes `p` off the idle list if it is there; true: it is the caller's.
pub(crate) fn pidletake(s: &Sched, inner: &mut Inner, p: &P) -> bool {
    let Some(i) = inner.pidle.iter().position(|&q| ptr::eq(q, p)) else {
        return false;
    };
    inner.pidle.remove(i);
    s.npidle.fetch_sub(1, Ordering::Relaxed);
    p.status.store(PRUNNING, Ordering::Relaxed);
    true
}

/// This M takes the idle `p`.
pub(crate) fn take_idle_p(m: &M, s: &Sched, p: &P) -> bool {
    let taken = pidletake(s, &mut s.inner.lock(), p);
    if taken {
        acquirep(m, p);
    }
    taken
}

/// This M takes some idle P.
pub(crate) fn take_any_idle_p(m: &M, s: &Sched) -> bool {
    let p = pidleget(s, &mut s.inner.lock());
    if let Some(p) = p {
        acquirep(m, p);
    }
    p.is_some()
}

/// Takes an idle P that has work: no thread could be had for it.
pub(crate) fn take_stranded_p(m: &M) -> bool {
    let s = sched();
    s.refused.load(Ordering::Relaxed) != 0
        && s.procs().any(|p| !p.is_idle_inside() && take_idle_p(m, s, p))
}

/// Ties `p`, which is the caller's, to this M.
pub(crate) fn acquirep(m: &M, p: &P) {
    // Release: sysmon reads m through p; pairs with Acquire in take_p and is_blocked.
    p.m.store((m as *const M).cast_mut(), Ordering::Release);
    // Relaxed: others only compare it.
    m.p.store((p as *const P).cast_mut(), Ordering::Relaxed);
    sched().waits.runs();
}

/// Unties this M's P, which stays the caller's to give away.
pub(crate) fn releasep(m: &M) -> &'static P {
    let pp = m.p.swap(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: callers hold a P.
    let p = unsafe { &*pp };
    p.m.store(ptr::null_mut(), Ordering::Relaxed);
    p
}

/// Takes an idle M: the newest one, the poller last. In the migration soak the oldest, so that
/// goroutines meet every thread.
fn mget(inner: &mut Inner) -> Option<&'static M> {
    let n = inner.midle.len();
    if n == 0 {
        return None;
    }
    let mut at = if crate::runtime::sched::debug_migrate() { 0 } else { n - 1 };
    if inner.midle[at] == inner.poller && n > 1 {
        at = if at == 0 { 1 } else { at - 1 };
    }
    let m = inner.midle.remove(at);
    if m == inner.poller {
        inner.poller = ptr::null_mut();
        sched().poll_until.store(NEVER, Ordering::Relaxed);
    }
    // SAFETY: Ms are never freed.
    Some(unsafe { &*m })
}

/// Wakes an M from the idle list, wherever it sleeps.
fn wake_idle(s: &Sched, m: &M) {
    if m.park.notify() {
        s.netpoll.wake();
    }
}

/// Has some M run with `p`, which is the caller's. Where no thread can be had, `p` goes idle.
pub(crate) fn startm(s: &'static Sched, p: &'static P, spinning: bool) -> bool {
    let m = loop {
        let mut inner = s.inner.lock();
        let poller = inner.poller;
        let m = mget(&mut inner);
        drop(inner);
        if m.is_some_and(|m| ptr::eq(m, poller)) && !spinning {
            // Nobody polls other Ps' timers any more. (A spinner that finds work has another look.)
            sysmon::kick(s);
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
    match procs::newm(s, Some(p), spinning) {
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
        eprintln!("go-lib: goroutines wait for a thread: {}", procs::limit_text(s, errno));
    }
    pidleput(s, &mut s.inner.lock(), p);
}

/// Sleeps until somebody hands this M a P, or as the poller until the earliest timer. Without a P afterwards: it is to
/// look again, or its thread ends (`M::ends`).
pub(crate) fn stopm(m: &'static M) {
    let s = sched();
    // An M that lost its P while it looked for work (GOMAXPROCS shrank) looks no more.
    reset_spinning(m);
    if !stop_until(m, s, earliest_timer(s)) {
        // A timer is due, or goroutines are ready, but no P is idle: who holds one sees it, and
        // sysmon does.
        stop_until(m, s, NEVER);
    }
}

/// As `stopm`; false: `until` has passed and there was no P to be had.
fn stop_until(m: &'static M, s: &'static Sched, mut until: i64) -> bool {
    debug_assert!(m.attached.get().is_null());
    let me = (m as *const M).cast_mut();
    let in_netpoll;
    let patience;
    {
        let mut inner = s.inner.lock();
        in_netpoll = s.netpoll.begin_sleep();
        let earlier = until < s.poll_until.load(Ordering::Relaxed);
        if !in_netpoll && earlier && s.netpoll.is_polling() && !inner.poller.is_null() {
            // It stays in the network poller, and looks at the timers again.
            // SAFETY: Ms are never freed.
            unsafe { wake_idle(s, &*inner.poller) };
            until = NEVER;
        } else if in_netpoll || earlier {
            // Also instead of a poller that would sleep longer; it then wakes up in vain once.
            inner.poller = me;
            s.poll_until.store(until, Ordering::Relaxed);
        } else {
            until = NEVER;
        }
        inner.midle.push(me);
        patience = if until == NEVER { idle::patience(s, &inner) } else { None };
    }
    if until != NEVER {
        // A timer armed meanwhile by a thread without a P either saw poll_until or is seen here;
        // pairs with the light fence in arm_timer.
        heavy_fence();
        let now_earliest = earliest_timer(s);
        if now_earliest < until {
            until = now_earliest;
        }
    }
    checkdead::look(s);
    if in_netpoll {
        return sleep_in_netpoll(m, s, until);
    }
    if until == NEVER {
        if !idle::sleep_or_end(m, s, patience) {
            return true;
        }
    } else if !m.park.sleep_until(until) && leave_idle_list(s, me) {
        m.park.clear();
        return take_p_for_timers(m, s);
    }
    m.park.clear();
    let p = take_nextp(m);
    if p.is_null() {
        // Woken as the poller to look at the timers again.
        if !leave_idle_list(s, me) {
            // Meanwhile somebody else took us with a P: that wakeup is still to come.
            take_promised_p(m);
            return true;
        }
        return take_p_for_timers(m, s);
    }
    // SAFETY: handed to us.
    acquirep(m, unsafe { &*p });
    true
}

/// Somebody took this M off the idle list: waits for the P that comes with it.
fn take_promised_p(m: &M) {
    let p = loop {
        m.park.sleep();
        m.park.clear();
        let p = take_nextp(m);
        if !p.is_null() {
            break p;
        }
        // An earlier wakeup, to look at the timers again.
    };
    // SAFETY: handed to us.
    acquirep(m, unsafe { &*p });
}

/// The rest of `stop_until` for the M that sleeps in the network poller. False: as there, or what has
/// become ready goes on where there are Ps.
fn sleep_in_netpoll(m: &'static M, s: &'static Sched, until: i64) -> bool {
    let ready = s.netpoll.sleep(m, if until == NEVER { Until::Woken } else { Until::At(until) });
    let me = (m as *const M).cast_mut();
    let has_p = if leave_idle_list(s, me) {
        m.park.clear();
        if ready.is_empty() || ready.has_host {
            take_p_for_timers(m, s)
        } else {
            take_any_idle_p(m, s)
        }
    } else {
        take_promised_p(m);
        true
    };
    if has_p {
        ready.inject(m);
    } else {
        ready.inject_from_outside(s);
    }
    has_p
}

/// The P that was handed to this sleeping M; null: not yet.
pub(crate) fn take_nextp(m: &M) -> *mut P {
    // Acquire: the P as its giver left it; pairs with the Release in startm and startlockedm. No swap: only a giver that took us off the idle list, or
    // the goroutine for which we are kept off its queue, writes it, so there is nothing to race for.
    let p = m.nextp.load(Ordering::Acquire);
    if !p.is_null() {
        m.nextp.store(ptr::null_mut(), Ordering::Relaxed);
    }
    p
}

/// Takes this M off the idle list; false: somebody else has taken it and will wake it.
fn leave_idle_list(s: &Sched, me: *mut M) -> bool {
    take_off_idle_list(s, &mut s.inner.lock(), me)
}

/// As `leave_idle_list`, under the lock.
pub(crate) fn take_off_idle_list(s: &Sched, inner: &mut Inner, me: *mut M) -> bool {
    if inner.poller == me {
        inner.poller = ptr::null_mut();
        s.poll_until.store(NEVER, Ordering::Relaxed);
    }
    match inner.midle.iter().position(|&m| m == me) {
        Some(i) => {
            inner.midle.remove(i);
            true
        }
        None => false,
    }
}

/// An idle P for due timers: P 0 if it can be had, for it runs what they wake.
fn take_p_for_timers(m: &M, s: &Sched) -> bool {
    // SAFETY: P 0 always exists.
    take_idle_p(m, s, unsafe { &*s.p(0) }) || take_any_idle_p(m, s)
}

/// When the earliest timer of all Ps is due.
pub(crate) fn earliest_timer(s: &Sched) -> i64 {
    s.every_p().map(|p| p.timers.next_when()).min().unwrap_or(NEVER)
}

/// Arms a timer by `arm(heap)`: on the heap of this M's P, or, without one, on P 0's. `arm` tells
/// whether it is the heap's earliest now. True: it is, and this M has to watch it, for nobody else
/// was told.
#[inline]
pub(crate) fn arm_timer(m: &M, when_ns: i64, arm: impl FnOnce(&Timers) -> bool) -> bool {
    let pp = m.pp();
    // SAFETY: inside the runtime the P is ours; P 0 always exists and its heap has a lock.
    unsafe {
        if !pp.is_null() {
            let is_earliest = arm(&(*pp).timers);
            find::look_at_clock_soon(&*pp);
            return is_earliest;
        }
        // A goroutine that has just forked may be the first that needs a P in the child.
        #[cfg(not(golib_loom))]
        let s = procs::ensure_started();
        #[cfg(golib_loom)]
        let s = sched();
        if arm(&(*s.p(0)).timers) {
            timer_armed_from_outside(s, when_ns);
        }
    }
    false
}

/// A timer became P 0's earliest without P 0's holder knowing.
#[cold]
fn timer_armed_from_outside(s: &'static Sched, when_ns: i64) {
    // Pairs with the heavy fences in find::sleep and stopm.
    light_fence();
    let mut inner = s.inner.lock();
    if !inner.poller.is_null() {
        if s.poll_until.load(Ordering::Relaxed) > when_ns {
            // SAFETY: Ms are never freed. nextp stays null: look at the timers again.
            unsafe { wake_idle(s, &*inner.poller) };
        }
        return;
    }
    // SAFETY: P 0 always exists.
    let host = unsafe { &*s.p(0) };
    if pidletake(s, &mut inner, host) {
        drop(inner);
        startm(s, host, false);
    } else {
        drop(inner);
        sysmon::kick(s);
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

/// The migration soak: leaves `gp`, a host goroutine that the caller took from a queue, to another M, with the P. False:
/// there is nobody to take it, and `gp` stays the caller's.
pub(crate) fn pass_p_on(m: &'static M, gp: *mut G) -> bool {
    /// A bound on threads that is not met: once this M sleeps the next one finds it. Two are enough, and one more for
    /// each goroutine that keeps its own.
    const ENOUGH: usize = 512;
    let s = sched();
    if s.inner.lock().midle.is_empty() && s.nthreads.load(Ordering::Relaxed) > ENOUGH {
        return false;
    }
    // SAFETY: a host goroutine, which only comes to an M with the right; so ours is P 0.
    unsafe { (*m.pp()).hostq.put(gp, true) };
    detach(m);
    let p = releasep(m);
    startm(s, p, false);
    stopm(m);
    true
}
