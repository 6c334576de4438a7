//! The monitor: a thread without a P that takes Ps back and watches over timers and deadlocks.
//!
//! A P whose tick has not moved is with a goroutine that does not come back. sysmon hands it to
//! another M when something waits for it and
//! - the goroutine is the host's and nobody holds the interpreter in two looks running: it is
//!   blocked in a call outside;
//! - the goroutine announced a blocking call, or its OS thread sleeps in the kernel in two looks;
//! - or 10 ms have passed: it computes. A Rust goroutine is first asked to yield, which it does where it takes a lock:
//!   until the next look. Otherwise it continues without a P; the next M competes for the CPU (and for the
//!   interpreter).
//!
//! # Invariants
//! 1. sysmon never takes the interpreter except through the host's deadlock hook.
//! 2. While nothing runs it sleeps until kicked, or for a minute, but for the first milliseconds if kicks have been in vain
//!    (`pace`); while something waits for a P that does not come back, 1 ms at most.
//!
//! Go: runtime/proc.go (sysmon, retake)

use std::ffi::c_void;
use std::io;
use std::ptr;

use crate::prim::{heavy_fence, spin_hint, Ordering};
use crate::runtime::clock::kernel_time;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::host;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::p::{P, PRUNNING};
use crate::runtime::proc::pace::{Looked, Pace, LONG_NS, SHORT_NS, WAITING_NS};
use crate::runtime::proc::{
    checkdead, exit, idle, kick, lists, schedtrace, stackless, stacks, take_p, waitsince, wake,
    watch,
};
use crate::runtime::sched::Sched;
use crate::sys::clock::nanotime;
use crate::sys::poll::Until;
use crate::sys::thread;

/// A goroutine's time slice.
const SLICE_NS: i64 = 10_000_000;
/// The time between two looks at stacks to trim in the pool: a sleep that a kick ends.
const POOL_NS: i64 = WAITING_NS + SHORT_NS;
/// How long at most between two looks at what may be a deadlock.
const LOOK_AGAIN_NS: i64 = 1_000_000_000;
/// How often in one look the interpreter must be found free then, some 50 ns apart.
const SAMPLES: u32 = 24;

/// sysmon's record of a P.
#[derive(Clone, Copy, Default)]
struct Seen {
    tick: u32,
    since: i64,
    /// How many looks in a row have seen the goroutine blocked.
    blocked: u32,
    /// It was asked to yield.
    asked: bool,
    /// When it was last told to trim a stack.
    trimmed: i64,
}

impl Seen {
    /// Another goroutine runs there now.
    fn changed(&mut self, tick: u32, now: i64) {
        *self = Seen { tick, since: now, blocked: 0, asked: false, trimmed: self.trimmed };
    }
}

/// Asks the goroutine that computes on `p` to yield; false: it cannot be asked.
fn ask_to_yield(p: &P) -> bool {
    let Some((m, _, Kind::Go)) = running(p) else { return false };
    m.yield_asked.store(true, Ordering::Relaxed);
    kick::want_a_yield();
    true
}

/// Starts the monitor of `s`.
pub(crate) fn start(s: &'static Sched) -> io::Result<()> {
    s.nthreads.fetch_add(1, Ordering::Relaxed);
    s.waits.begin();
    // SAFETY: sysmon_main expects a scheduler that is never freed.
    let started = unsafe { thread::spawn(sysmon_main, (s as *const Sched).cast_mut().cast()) };
    if started.is_err() {
        s.nthreads.fetch_sub(1, Ordering::Relaxed);
    }
    started
}

extern "C" fn sysmon_main(arg: *mut c_void) -> *mut c_void {
    // SAFETY: start passed a scheduler that is never freed.
    let s: &'static Sched = unsafe { &*arg.cast::<Sched>() };
    s.sysmon_tid.store(crate::sys::thread::gettid() as u32, Ordering::Relaxed);
    let mut seen = Vec::new();
    thread::sleep_exactly();
    let mut pace = Pace::new();
    let (mut look_again, mut look_when) = (0, NEVER);
    let (mut pool_when, mut pool_has_more) = (0, false);
    let mut stacks_when = 0;
    let mut watcher = watch::Watcher::default();
    loop {
        if sleep(s, pace.delay, look_when) {
            pace.kicked();
            s.waits.stirred();
        }
        if exit::sysmon_stops(s) {
            return ptr::null_mut();
        }
        schedtrace::look(s);
        watcher.look(s);
        if s.netpoll.is_overdue(nanotime()) {
            s.netpoll.poll(Until::Now).inject_from_outside(s);
        }
        // AcqRel: pairs with the store of `suspect`: the cause of the suspicion is seen.
        if s.maybe_dead.swap(false, Ordering::AcqRel) {
            (look_again, look_when) = match checkdead::verify(s) {
                true => {
                    let look_again = (look_again * 2).clamp(LONG_NS, LOOK_AGAIN_NS);
                    (look_again, nanotime() + look_again)
                }
                false => (0, NEVER),
            };
        }
        let looked = retake(s, &mut seen, pace.soon > 0);
        let idle =
            s.npidle.load(Ordering::Relaxed) as usize >= s.gomaxprocs.load(Ordering::Relaxed);
        let now = nanotime();
        if idle || now >= pool_when {
            pool_has_more = stacks::trim_pool(s);
            pool_when = nanotime() + POOL_NS;
        }
        let some_wait = s.stackless.load(Ordering::Relaxed) != 0;
        if some_wait && now >= stacks_when {
            stackless::serve(s);
            stacks_when = nanotime() + stackless::RETRY_NS;
        }
        waitsince::look(s, now, idle);
        pace.looked(&looked, idle);
        if !idle {
            (look_again, look_when) = (0, NEVER);
        } else if pool_has_more {
            pace.delay = POOL_NS;
        } else if some_wait {
            pace.delay = stackless::RETRY_NS;
        }
    }
}

/// Sleeps for `delay` ns, until the earliest timer, or until kicked (true). While nothing runs, at most until
/// `look_when`, and then suspects a deadlock again: a time, so that earlier wake-ups of sysmon (`schedtrace`) do not
/// put it off forever.
pub(crate) fn sleep(s: &Sched, delay: i64, look_when: i64) -> bool {
    if delay <= WAITING_NS {
        thread::usleep_ns(delay);
        return false;
    }
    s.sysmon_note.clear();
    s.sysmon_sleeps.store(1, Ordering::Relaxed);
    // Pairs with the light fences of submitters: either they see sysmon_sleeps, or the checks
    // below see their work.
    heavy_fence();
    let idle = s.npidle.load(Ordering::Relaxed) as usize >= s.gomaxprocs.load(Ordering::Relaxed);
    let kicked = if s.is_ending() || s.maybe_dead.load(Ordering::Relaxed) {
        false
    } else if delay == NEVER && idle {
        // Nothing runs: idle Ms watch the timers. A wait that begins kicks sysmon.
        let until = look_when.min(next_report(s)).min(s.waits.next_when());
        if until == NEVER {
            s.sysmon_note.sleep();
            true
        } else {
            let kicked = s.sysmon_note.sleep_until(until);
            if !kicked && until == look_when {
                s.maybe_dead.store(true, Ordering::Relaxed);
            }
            kicked
        }
    } else {
        let now = nanotime();
        let delay = if delay == NEVER { WAITING_NS } else { delay };
        let timer = kernel_time(s.earliest_timer()).min(next_report(s)).max(now + SHORT_NS);
        s.sysmon_note.sleep_until((now + delay).min(timer))
    };
    s.sysmon_sleeps.store(0, Ordering::Relaxed);
    kicked
}

/// When the next look for a debug switch is due.
fn next_report(s: &Sched) -> i64 {
    s.trace.next_when().min(s.watch.next_when())
}

/// Looks at every P, and takes those away that do not come back while something waits for them. `eager`: others have
/// just blocked.
fn retake(s: &'static Sched, seen: &mut Vec<Seen>, eager: bool) -> Looked {
    let now = nanotime();
    let mut looked = Looked::default();
    if kick::wants_a_yield() {
        kick::want_no_yield();
    }
    for p in s.procs() {
        let id = p.id as usize;
        if id >= seen.len() {
            seen.resize(id + 1, Seen::default());
        }
        let last = &mut seen[id];
        if p.status.load(Ordering::Relaxed) != PRUNNING {
            // An idle P with a due timer and nobody to watch it.
            let unwatched = is_due(p, now) && s.poll_until.load(Ordering::Relaxed) == NEVER;
            if unwatched && lists::pidletake(s, &mut s.inner.lock(), p) {
                looked.took |= wake::startm(s, p, false);
            }
            continue;
        }
        let tick = p.schedtick.load(Ordering::Relaxed);
        let switched = tick != last.tick;
        if switched {
            last.changed(tick, now);
        }
        if now - last.trimmed >= SLICE_NS {
            last.trimmed = now;
            p.trim_due.store(true, Ordering::Relaxed);
        }
        let due = is_due(p, now);
        if due {
            p.timers_due.store(true, Ordering::Relaxed);
        }
        let wanted = due
            || !p.is_idle_inside()
            || s.runqsize.load(Ordering::Relaxed) > 0
            || p.stop.load(Ordering::Relaxed);
        looked.waiting |= wanted || p.timers.next_when() != NEVER;
        if !wanted {
            last.since = last.since.max(now - SLICE_NS / 2);
            continue;
        }
        if switched && !(eager && p.has_right()) {
            // It comes back by itself, and asking the kernel about its thread is expensive.
            continue;
        }
        let (blocked, announced) = is_blocked(p, if eager { SAMPLES } else { 1 });
        last.blocked = if blocked { last.blocked + 1 } else { 0 };
        looked.suspects |= last.blocked == 1;
        let sits = last.blocked >= 2 || announced;
        let computes = now - last.since >= SLICE_NS;
        if computes && !sits && !last.asked && ask_to_yield(p) {
            last.asked = true;
            looked.took = true; // The next look is soon.
        } else if (sits || computes) && take_p(p) {
            last.changed(tick, now);
            s.handoffs.fetch_add(1, Ordering::Relaxed);
            wake::handoffp(s, p);
            looked.took = true;
            looked.sat |= sits;
        }
    }
    if looked.sat && eager {
        idle::spare(s);
    }
    looked
}

/// A timer of `p` is due.
fn is_due(p: &P, now: i64) -> bool {
    kernel_time(p.timers.next_when()) <= now
}

/// Whether the goroutine on `p` is in a call outside, and whether it announced that call. Looks at the interpreter
/// `samples` times.
fn is_blocked(p: &P, samples: u32) -> (bool, bool) {
    let Some((m, g, kind)) = running(p) else { return (false, false) };
    if m.in_rt.load(Ordering::Relaxed) != 0 {
        return (false, false);
    }
    let announced = g.syscalls.load(Ordering::Relaxed) != 0;
    match kind {
        Kind::Host => {
            let free = host::table().is_some_and(|t| {
                (0..samples).all(|i| {
                    if i > 0 {
                        spin_hint();
                    }
                    // SAFETY: it may be asked at any time.
                    unsafe { (t.is_free)() }
                })
            });
            (free, free && announced)
        }
        _ => (announced || thread::sleeps(m.tid.load(Ordering::Relaxed)), announced),
    }
}

/// The M of `p`, its goroutine and that one's kind. They may change meanwhile. A wrong answer costs only a
/// look, since take_p decides, or a needless yield.
fn running(p: &P) -> Option<(&'static M, &'static G, Kind)> {
    // SAFETY: Ms and Gs are never freed.
    unsafe {
        // Acquire: pairs with the Release of acquirep.
        let m = p.m.load(Ordering::Acquire).as_ref()?;
        let g = ptr::read_volatile(m.curg.as_ptr()).as_ref()?;
        Some((m, g, ptr::read_volatile(g.kind.as_ptr())))
    }
}
