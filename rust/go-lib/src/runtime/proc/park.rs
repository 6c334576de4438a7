//! Leaving the CPU and coming back: gopark, goready, gosched.
//!
//! # The hand-shake of a wait
//! The waiter links its sudogs under the channel's lock and calls `gopark`, which leaves the
//! goroutine's stack. On g0 `park_m` makes the status Gwaiting, opens the claim word, arms the
//! timer and only then calls `unlockf`, which lets go of the lock: so whoever can find the sudogs
//! finds a G that may be readied. A timer or an interrupt can win before `unlockf` has run; the G
//! then runs elsewhere and waits for the channel's lock, since it must take its sudogs out. A host
//! goroutine that holds P 0 does all of it on its own stack: see `direct`; for a Rust goroutine that is
//! left for another that one does: see `relay`.
//!
//! Go: runtime/proc.go (gopark, park_m, goready, Gosched)

use crate::prim::{fence, FutexWait, Ordering};
use crate::runtime::block::chan;
use crate::runtime::block::sema::WaitError;
use crate::runtime::embedder;
use crate::runtime::object::g::{Kind, Wake, G, GRUNNABLE, GRUNNING, GWAITING};
use crate::runtime::object::m::{McallFn, ParkArgs, M, NEVER};
use crate::runtime::object::timers::Timers;
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::schedule::detach;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{
    checkdead, direct, enter_rt, enter_rt_on, getm, leave_rt, locked, pinned_by_panic, procs,
    relay, sysmon, thread, wake,
};
use crate::runtime::sched::sched;
use crate::sys::clock::nanotime;
#[cfg(not(golib_loom))]
use crate::sys::sanitizer;

/// Leaves the running goroutine's stack; `f` runs on g0. Returns when the goroutine goes on,
/// perhaps on another thread.
///
/// # Safety
/// Called on a goroutine's stack, inside the runtime.
#[inline(always)]
pub(crate) unsafe fn mcall(m: &M, gp: *mut G, f: McallFn) {
    m.mcall_fn.set(Some(f));
    // SAFETY: g0_sp was saved when this goroutine was entered; the loop on g0 waits there.
    #[cfg(not(golib_loom))]
    unsafe {
        sanitizer::leaves_for_g0();
        crate::sys::arch::leave((*gp).sched_sp.as_ptr(), m.g0_sp.get());
        sanitizer::has_come();
    }
    #[cfg(golib_loom)]
    {
        let _ = gp;
        crate::prim::context_is_saved();
    }
}

/// Parks the calling goroutine or thread until somebody claims its wait; who did.
///
/// `unlockf(gp, arg)` is called once the wait can be claimed. After any result but `Peer` the
/// caller takes its own sudogs out of their queues.
///
/// # Safety
/// The locks that `unlockf` releases are held; `arg` is what it expects.
#[inline]
pub(crate) unsafe fn gopark(
    unlockf: unsafe fn(*mut G, *mut ()),
    arg: *mut (),
    reason: WaitReason,
    deadline_ns: Option<i64>,
) -> Wake {
    let m = getm();
    let gp = m.curg.get();
    // SAFETY: curg is valid and ours.
    let g = unsafe { &*gp };
    g.waitreason.set(reason);
    if g.kind.get() == Kind::Thread {
        // SAFETY: the caller's duty.
        return unsafe { thread_park(m, gp, unlockf, arg, deadline_ns) };
    }
    enter_rt_on(m);
    let args = ParkArgs { unlockf, arg, deadline_ns: deadline_ns.unwrap_or(NEVER) };
    // SAFETY: on the goroutine's stack, inside the runtime. Who resumed us left the runtime.
    unsafe {
        if direct::serves(m, g) {
            direct::park(m, gp, &args);
        } else {
            let next = relay::next(m, g);
            if next.is_null() {
                m.park_args.set(args);
                mcall(m, gp, park_m);
            } else {
                relay::switch(m, gp, next, Some(&args));
            }
            relay::settle();
        }
    }
    let wake = g.wait.outcome();
    if deadline_ns.is_some() && wake != Wake::Timeout {
        // SAFETY: the timer is ours.
        unsafe { Timers::disarm(&g.timer) };
    }
    wake
}

/// The second half of `gopark`, on g0.
///
/// # Safety
/// `gp` just left its stack on `m`, which is inside the runtime; `park_args` are its own.
pub(crate) unsafe fn park_m(m: *mut M, gp: *mut G) {
    // SAFETY: g0's caller passes its own M.
    let m = unsafe { &*m };
    let args = m.park_args.get();
    pin_if_needed(m, gp);
    let without_p = m.pp().is_null();
    if without_p {
        // Relaxed: the interpreter, given up next, orders it; see `fork::before_fork`.
        sched().unlocking.fetch_add(1, Ordering::Relaxed);
        leave_host_without_p(m);
    }
    m.curg.set(std::ptr::null_mut());
    // SAFETY: the caller's duty; the context of gp is saved.
    let opened = unsafe { make_claimable(m, gp, &args) };
    if without_p {
        // Release: the locks are free; pairs with the Acquire in `fork::before_fork`.
        sched().unlocking.fetch_sub(1, Ordering::Release);
    }
    if !opened {
        refused(m, gp);
    }
}

/// Everything a park does with a goroutine that is off its stack, or that nobody else can run.
///
/// # Safety
/// `gp` runs on `m`, which is inside the runtime; `args` are its own. Afterwards another M may run it,
/// unless `m` alone can.
#[inline(always)]
pub(crate) unsafe fn open_wait(m: &M, gp: *mut G, args: &ParkArgs) {
    // SAFETY: the caller's duty.
    if !unsafe { make_claimable(m, gp, args) } {
        refused(m, gp);
    }
}

/// Lets wakers at the wait; false: it was refused, and nobody else readies `gp`.
///
/// # Safety
/// As [`open_wait`].
#[inline(always)]
unsafe fn make_claimable(m: &M, gp: *mut G, args: &ParkArgs) -> bool {
    // SAFETY: Gs are never freed.
    let g = unsafe { &*gp };
    casgstatus(g, GRUNNING, GWAITING);
    g.waitsince.store(0, Ordering::Relaxed);
    let opened = g.wait.begin();
    // SAFETY: the parker's duty.
    unsafe {
        if opened && args.deadline_ns != NEVER {
            arm(m, gp, args.deadline_ns);
        }
        (args.unlockf)(gp, args.arg);
    }
    opened
}

/// Arms the timer of the wait that `gp` has opened.
///
/// # Safety
/// As [`open_wait`].
#[inline(never)]
unsafe fn arm(m: &M, gp: *mut G, when: i64) {
    // SAFETY: Gs are never freed.
    let generation = unsafe { (*gp).wait.generation() };
    // SAFETY: gp's timer is disarmed after each wait; Ps are never freed.
    wake::arm_timer(m, when, |timers| unsafe { timers.arm(gp, when, generation) });
}

/// An interrupt was pending: `gp` is runnable again at once.
#[cold]
#[inline(never)]
fn refused(m: &M, gp: *mut G) {
    // SAFETY: nobody else readies it.
    unsafe { make_runnable(m, gp, true) };
}

/// An M that lost its P gives the interpreter up before its goroutine can be found: another M may
/// attach the same state at once. With P 0 nobody else can, so the state stays attached.
#[inline(always)]
pub(crate) fn leave_host_without_p(m: &M) {
    if m.pp().is_null() {
        // A goroutine that has just forked may be the first that leaves its stack in the child.
        #[cfg(not(golib_loom))]
        procs::ensure_started();
        detach(m);
    }
}

/// Keeps the M for `gp` if it must go on on this thread; true if so.
#[inline(always)]
pub(crate) fn pin_if_needed(m: &M, gp: *mut G) -> bool {
    // SAFETY: gp just left this M.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Host {
        pin_host_if_needed(m, gp)
    } else {
        pin_if(m, gp, g.lock_depth.get() > 0 || pinned_by_panic(g))
    }
}

/// `pin_if_needed` for a host goroutine.
#[inline(always)]
pub(crate) fn pin_host_if_needed(m: &M, gp: *mut G) -> bool {
    // SAFETY: gp runs on this M, or has just left it.
    let g = unsafe { &*gp };
    let caller = m.caller.replace(std::ptr::null());
    let may_migrate = || {
        let state = g.host_state.load(Ordering::Relaxed);
        // SAFETY: the goroutine's state is attached here and the goroutine is parked.
        embedder::table().is_some_and(|t| unsafe { (t.may_migrate)(state, caller) })
    };
    pin_if(m, gp, g.lock_depth.get() > 0 || !may_migrate())
}

#[inline(always)]
fn pin_if(m: &M, gp: *mut G, pinned: bool) -> bool {
    if pinned {
        locked::keep_m(m, gp);
    }
    pinned
}

/// Readies a G whose wait the caller claimed.
///
/// # Safety
/// The caller won the claim; no runtime lock is held.
#[inline]
pub(crate) unsafe fn goready(gp: *mut G) {
    // SAFETY: Gs are never freed.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Thread {
        // A thread-G's M is its own. SAFETY: Ms are never freed; without one it is a doorbell's.
        unsafe {
            match g.m.load(Ordering::Relaxed).as_ref() {
                Some(m) => m.park.wakeup(),
                None => chan::ring(gp),
            }
        }
        return;
    }
    let m = enter_rt();
    // SAFETY: the claim made us the owner.
    unsafe { make_runnable(m, gp, true) };
    if !m.curg.get().is_null() {
        leave_rt(m);
    }
}

/// `goready` inside the runtime.
///
/// # Safety
/// As `goready`; the calling thread is inside the runtime with `m`.
#[inline(always)]
pub(crate) unsafe fn ready(m: &M, gp: *mut G, next: bool) {
    // SAFETY: Gs are never freed.
    unsafe {
        if (*gp).kind.get() == Kind::Thread {
            (*(*gp).m.load(Ordering::Relaxed)).park.wakeup();
            return;
        }
        make_runnable(m, gp, next);
    }
}

/// `ready` for one whose time has come.
///
/// # Safety
/// As `ready`.
pub(crate) unsafe fn ready_from_timer(m: &M, gp: *mut G) {
    let pp = m.pp();
    // SAFETY: the caller's duty; inside the runtime the P is ours.
    unsafe {
        let sleeps = (*gp).kind.get() == Kind::Host && (*gp).waitreason.get() == WaitReason::Sleep;
        if sleeps && !pp.is_null() && (*pp).has_right() {
            casgstatus(&*gp, GWAITING, GRUNNABLE);
            (*pp).hostq.put_sleeper(gp);
            sysmon::kick(sched());
        } else {
            ready(m, gp, false);
        }
    }
}

/// Puts a goroutine that waits no more where it will run.
///
/// # Safety
/// It is the caller's; the calling thread is inside the runtime with `m`.
#[inline(always)]
unsafe fn make_runnable(m: &M, gp: *mut G, next: bool) {
    // SAFETY: the caller's duty: it is in no queue.
    unsafe {
        casgstatus(&*gp, GWAITING, GRUNNABLE);
        wake::runqput_any(m, gp, next);
    }
}

/// Lets the other runnable goroutines run first.
pub(crate) fn gosched() {
    let m = getm();
    let gp = m.curg.get();
    // SAFETY: curg is valid.
    if unsafe { (*gp).kind.get() } == Kind::Thread {
        std::thread::yield_now();
        return;
    }
    enter_rt_on(m);
    if !others_want_p(m) {
        leave_rt(m);
        return;
    }
    // SAFETY: on the goroutine's stack, inside the runtime.
    unsafe {
        if direct::serves(m, &*gp) {
            direct::gosched(m, gp);
        } else {
            let next = relay::next(m, &*gp);
            if next.is_null() {
                mcall(m, gp, gosched_m);
            } else {
                relay::switch(m, gp, next, None);
            }
            relay::settle();
        }
    }
}

/// Yields if sysmon asks the calling goroutine to: where much is computed without a park, but not without
/// a lock.
#[inline(always)]
pub(crate) fn yield_if_asked() {
    if sysmon::wants_a_yield() {
        yield_if_it_is_us();
    }
}

#[cold]
#[inline(never)]
fn yield_if_it_is_us() {
    let m = getm();
    // A host's goroutine, or g0, may be here instead, long after the other was asked.
    // SAFETY: curg is valid, if there is one.
    let is_rust = unsafe { m.curg.get().as_ref() }.is_some_and(|g| g.kind.get() == Kind::Go);
    if is_rust && m.yield_asked.load(Ordering::Relaxed) {
        m.yield_asked.store(false, Ordering::Relaxed);
        enter_rt_on(m);
        if !others_want_p(m) {
            leave_rt(m);
            return;
        }
        // SAFETY: on the goroutine's stack, inside the runtime.
        unsafe {
            mcall(m, m.curg.get(), gopreempt_m);
            relay::settle();
        }
    }
}

/// True if a switch could run somebody else: the common case of a lone goroutine stays on its
/// stack.
#[inline]
fn others_want_p(m: &M) -> bool {
    let pp = m.pp();
    if pp.is_null() {
        return true;
    }
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*pp };
    !p.is_idle_inside()
        || p.timers.next_when() != NEVER
        || sched().runqsize.load(Ordering::Relaxed) != 0
        || p.stop.load(Ordering::Relaxed)
        || sched().exiting.load(Ordering::Relaxed)
        || crate::runtime::sched::debug_migrate()
}

/// Queues a goroutine that has left its stack: with its M's P, or for one.
///
/// # Safety
/// As [`park_m`].
pub(crate) unsafe fn gosched_m(m: *mut M, gp: *mut G) {
    // SAFETY: as park_m. Runnable, in no queue, its context saved.
    unsafe {
        stops_running(&*m, gp);
        wake::runqput_any(&*m, gp, false);
    }
}

/// Puts a goroutine that has had its time into the global queue. In its P's ring it would be before those
/// that wait there: they are looked at first once in 61 times, which are slices here.
unsafe fn gopreempt_m(m: *mut M, gp: *mut G) {
    let s = sched();
    // SAFETY: as gosched_m.
    unsafe {
        stops_running(&*m, gp);
        s.globrunqput(&mut s.inner.lock(), gp);
    }
    wake::wake_for_global(s);
}

/// The goroutine that has left its stack on `m` runs no more.
///
/// # Safety
/// As `park_m`.
unsafe fn stops_running(m: &M, gp: *mut G) {
    pin_if_needed(m, gp);
    leave_host_without_p(m);
    // SAFETY: Gs are never freed.
    casgstatus(unsafe { &*gp }, GRUNNING, GRUNNABLE);
    m.curg.set(std::ptr::null_mut());
}

/// A wait of an OS thread: the same protocol, sleeping on the M's note.
#[cold]
#[inline(never)]
unsafe fn thread_park(
    m: &M,
    gp: *mut G,
    unlockf: unsafe fn(*mut G, *mut ()),
    arg: *mut (),
    deadline_ns: Option<i64>,
) -> Wake {
    // SAFETY: a thread-G belongs to its thread.
    let g = unsafe { &*gp };
    m.park.clear();
    casgstatus(g, GRUNNING, GWAITING);
    let opened = g.wait.begin();
    // SAFETY: the parker's duty.
    unsafe { unlockf(gp, arg) };
    if opened {
        thread_sleep(m, g, deadline_ns);
    }
    casgstatus(g, GWAITING, GRUNNABLE);
    casgstatus(g, GRUNNABLE, GRUNNING);
    g.wait.outcome()
}

/// Sleeps until the wait is claimed, by whom soever: also by this thread's deadline or signal.
fn thread_sleep(m: &M, g: &G, deadline_ns: Option<i64>) {
    if m.park.woken() {
        return;
    }
    let table = embedder::table();
    // SAFETY: we are a thread of the host about to sleep, no lock held.
    let token = table.map(|t| unsafe { (t.thread_park)() });
    // A wait for ever may be a deadlock, which sysmon has to find.
    #[cfg(not(golib_loom))]
    let s = if deadline_ns.is_none() { procs::ensure_started() } else { sched() };
    #[cfg(golib_loom)]
    let s = sched();
    // One with a deadline wakes by itself: it does not sleep for good.
    let for_good = usize::from(deadline_ns.is_none());
    s.threads_asleep.fetch_add(for_good, Ordering::Relaxed);
    // Pairs with the heavy fence in find::sleep: one of us sees the other.
    fence(Ordering::SeqCst);
    checkdead::look(s);
    let generation = g.wait.next_generation().wrapping_sub(1 << 8);
    let mut look_ns = FIRST_LOOK_NS;
    let claimed_itself = loop {
        if m.park.woken() {
            break false;
        }
        // Goroutines have stopped for good, but a time still passes.
        let no_hope = s.exiting.load(Ordering::Relaxed) && deadline_ns.is_none();
        if no_hope && g.wait.claim_deadlock() {
            break true;
        }
        let wait = sleep_or_signal(m, deadline_ns, look_ns);
        look_ns = LATER_LOOKS_NS;
        let claimed = match wait {
            FutexWait::Woken => false,
            FutexWait::TimedOut => g.wait.claim_timer(generation),
            FutexWait::Interrupted => was_interrupted(token) && g.wait.interrupt(),
        };
        if claimed {
            break true;
        }
        if wait == FutexWait::TimedOut && !m.park.woken() {
            // Somebody claimed us first and is about to wake us.
            m.park.sleep();
        }
    };
    debug_assert!(claimed_itself || m.park.woken());
    s.threads_asleep.fetch_sub(for_good, Ordering::Relaxed);
    if let (Some(t), Some(token)) = (table, token) {
        // SAFETY: the token is this sleep's.
        unsafe { (t.thread_unpark)(token) };
    }
}

/// When a thread that handles the host's signals first looks whether one came just before it slept,
/// and how often it does afterwards.
const FIRST_LOOK_NS: i64 = 20_000_000;
const LATER_LOOKS_NS: i64 = 1_000_000_000;

/// Sleeps once on the M's note. A signal that came between the host's last look and the sleep does
/// not interrupt it: so the thread that handles signals sleeps `look_ns` at most, then looks.
fn sleep_or_signal(m: &M, deadline_ns: Option<i64>, look_ns: i64) -> FutexWait {
    // SAFETY: asked without the interpreter, as the host expects.
    let signal = || embedder::table().and_then(|t| unsafe { (t.thread_signal)() });
    match signal() {
        None => m.park.sleep_once(deadline_ns),
        Some(true) => FutexWait::Interrupted,
        Some(false) => {
            let look = nanotime() + look_ns;
            let wait = m.park.sleep_once(Some(deadline_ns.map_or(look, |d| d.min(look))));
            let timed_out = wait == FutexWait::TimedOut;
            if timed_out && deadline_ns.is_none_or(|d| nanotime() < d) {
                // Only a look: the caller's loop asks the host again.
                return if signal() == Some(true) {
                    FutexWait::Interrupted
                } else {
                    FutexWait::Woken
                };
            }
            wait
        }
    }
}

/// Sleeps until woken on an M that is kept for `gp`. If this is the thread that handles the host's signals (a forked
/// child's main thread), one that comes interrupts `gp`, once: it handles them before it waits again.
pub(crate) fn sleep_locked(m: &M, gp: *mut G) {
    // SAFETY: asked without the interpreter, as the host expects.
    let handles_signals = embedder::table().and_then(|t| unsafe { (t.thread_signal)() }).is_some();
    let mut look_ns = FIRST_LOOK_NS;
    while handles_signals && !m.park.woken() {
        if sleep_or_signal(m, None, look_ns) == FutexWait::Interrupted {
            // SAFETY: Gs are never freed; the claim makes us its owner, and no lock is held.
            unsafe {
                if (*gp).wait.interrupt() {
                    make_runnable(m, gp, true);
                }
            }
            break;
        }
        look_ns = LATER_LOOKS_NS;
    }
    m.park.sleep();
}

/// Asks the host what the signal that just came means for this sleep.
///
/// The host runs signal handlers there, which may use the runtime themselves: they do so as
/// another thread-G, since this one waits.
fn was_interrupted(token: Option<*mut ()>) -> bool {
    match (embedder::table(), token) {
        // SAFETY: the token is this sleep's.
        (Some(t), Some(token)) => thread::as_another_g(|| unsafe { (t.thread_poll)(token) }),
        _ => false,
    }
}

unsafe fn nothing_to_unlock(_: *mut G, _: *mut ()) {}

/// Parks without a waker; only an interrupt or the deadlock detector ends it.
pub(crate) fn park_forever(reason: WaitReason) -> WaitError {
    loop {
        // SAFETY: no locks to release.
        match unsafe { gopark(nothing_to_unlock, std::ptr::null_mut(), reason, None) } {
            Wake::Interrupt => return WaitError::Interrupted,
            Wake::Deadlock => return WaitError::Deadlock,
            Wake::Peer | Wake::Timeout => {}
        }
    }
}
