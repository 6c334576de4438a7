//! `GOLIB_DEBUG=blocked=100ms`: goroutines that keep their OS thread for so long, without a wait or a yield.
//!
//! sysmon looks at every M ten times in that time. A goroutine that is still there since an earlier look is told to the
//! host, which says where in its program that is; one of a Rust function is reported here. A thread of the host's that
//! keeps the interpreter for itself is told too. All of this costs nothing when the switch is off. A yield that finds
//! nobody else ready does not count: the goroutine keeps what it has.
//!
//! # Invariants
//! 1. A goroutine's time does not grow while it waits for the interpreter. Whether it does nobody knows; so it stands still
//!    while another one keeps the interpreter although it is wanted.
//! 2. The fields of an M may be read at different moments, so they decide nothing alone: `is_outside`, or the thread
//!    itself, confirms that the goroutine is still there before its frames are read.
//!
//! Go has nothing like it; asyncio's debug mode has (`slow_callback_duration`).

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::gref::GRef;
use crate::runtime::object::host::{self, Holder, Overstay};
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::sched::{GPtr, Sched};
use crate::runtime::traceback;
use crate::sys::clock::nanotime;

/// The goroutine that runs on an M, as of the last look.
#[derive(Clone, Copy)]
struct Run {
    g: GRef,
    /// It is another run if the M has got a P since, or its P has switched.
    stint: u32,
    tick: Option<u32>,
    since: i64,
    held_ns: i64,
    told: bool,
}

/// sysmon's record of the Ms, and of who holds the interpreter.
pub(crate) struct Watcher {
    runs: Vec<Option<Run>>,
    holder: Holder,
    held_since: i64,
    /// This hold has been reported.
    told: bool,
    looked: i64,
}

impl Default for Watcher {
    fn default() -> Self {
        Watcher { runs: Vec::new(), holder: Holder::NOBODY, held_since: 0, told: false, looked: 0 }
    }
}

impl Watcher {
    /// Looks if it is due. Called by sysmon.
    pub(crate) fn look(&mut self, s: &Sched) {
        if s.watch.next_when() == NEVER {
            return; // it is off: not even the clock is read
        }
        let now = nanotime();
        let Some(limit_ns) = s.watch.take_due(now) else { return };
        // SAFETY: it may be asked at any time.
        let holder = host::table().map_or(Holder::NOBODY, |t| unsafe { (t.holder)() });
        let kept = !holder.state.is_null()
            && (holder.state, holder.changes) == (self.holder.state, self.holder.changes);
        if !kept {
            (self.held_since, self.told) = (now, false);
        }
        let passed_ns = now - self.looked;
        (self.holder, self.looked) = (holder, now);
        let ms: Vec<&'static M> = {
            // SAFETY: Ms are never freed.
            s.inner.lock().allm.iter().map(|&m| unsafe { &*m }).collect()
        };
        if holder.is_wanted && now - self.held_since >= limit_ns && !self.told {
            let is_goroutines = ms.iter().any(|m| state_on(m) == holder.state);
            // SAFETY: on sysmon's thread.
            self.told = is_goroutines
                || host::table().is_none_or(|t| unsafe {
                    (t.monopolizes)(holder.state, now - self.held_since)
                });
        }
        for m in ms {
            let id = m.id as usize;
            if id >= self.runs.len() {
                self.runs.resize(id + 1, None);
            }
            if m.in_rt.load(Ordering::Relaxed) != 0 {
                continue; // between two calls of its goroutine's, or two goroutines: a later look tells
            }
            let Some(mut run) = continued(self.runs[id], m, now) else {
                self.runs[id] = None;
                continue;
            };
            let holds = !holder.state.is_null() && run.g.state() == holder.state;
            if holds {
                run.held_ns += passed_ns.min(now - run.since);
            } else if kept && holder.is_wanted {
                run.since += passed_ns.min(now - run.since); // by 1
            }
            let ns = now - run.since;
            if !run.told && ns >= limit_ns {
                let kept_ns = if holds { (now - self.held_since).min(ns) } else { 0 };
                let held_ns = run.held_ns;
                run.told = report(Overstay { g: run.g, ns, holds, held_ns, kept_ns });
            }
            self.runs[id] = Some(run);
        }
    }
}

/// The host state on `m`, read as `curg` is.
fn state_on(m: &M) -> *mut () {
    // SAFETY: Gs are never freed; the cell may be another thread's: a word that is read as it is.
    let g = unsafe { ptr::read_volatile(m.curg.as_ptr()).as_ref() };
    g.map_or(ptr::null_mut(), |g| GRef::new(ptr::from_ref(g).cast_mut()).state())
}

/// The run on `m` now: that of the last look, or a new one.
fn continued(last: Option<Run>, m: &M, now: i64) -> Option<Run> {
    // By 2. SAFETY: Gs are never freed, nor are Ps.
    let (gp, tick) = unsafe {
        let p = m.p.load(Ordering::Relaxed).as_ref();
        (ptr::read_volatile(m.curg.as_ptr()), p.map(|p| p.schedtick.load(Ordering::Relaxed)))
    };
    // SAFETY: as above.
    if gp.is_null() || unsafe { (*gp).system.get() } {
        return None;
    }
    let (g, stint) = (GRef::new(gp), m.stints.load(Ordering::Relaxed));
    match last {
        // Without its P it can only continue what it runs.
        Some(run) if run.g == g && run.stint == stint && (tick.is_none() || tick == run.tick) => {
            Some(Run { tick, ..run })
        }
        _ => Some(Run { g, stint, tick, since: now, held_ns: 0, told: false }),
    }
}

/// False: the host wants to be asked again.
fn report(overstay: Overstay) -> bool {
    let g = overstay.g;
    if g.g().kind.get() == Kind::Host {
        // SAFETY: on sysmon's thread.
        return host::table().is_none_or(|t| unsafe { (t.overstays)(overstay) });
    }
    let created = g.location().map(|at| format!(", created at {at},")).unwrap_or_default();
    let ms = overstay.ns / 1_000_000;
    eprintln!(
        "{}{created} has kept its OS thread for {ms} ms",
        traceback::header(g).trim_end_matches(':')
    );
    true
}

/// `g` is still on an OS thread, outside the runtime: in the host's code, or in a call.
pub fn is_outside(g: GRef) -> bool {
    // Acquire: pairs with the Release of `runs_now`. SAFETY: Ms are never freed.
    let m = unsafe { g.g().m.load(Ordering::Acquire).as_ref() };
    m.is_some_and(|m| runs_outside(m, g.gp)) && g.is_running()
}

fn runs_outside(m: &M, gp: *mut G) -> bool {
    // SAFETY: the cell may be another thread's: a word that is read as it is.
    let curg = unsafe { ptr::read_volatile(m.curg.as_ptr()) };
    ptr::eq(curg, gp) && m.in_rt.load(Ordering::Relaxed) == 0
}

/// What [`look_within`] has called on the other thread.
#[cfg(not(golib_loom))]
struct Look {
    gp: GPtr,
    f: unsafe fn(*mut ()),
    arg: *mut (),
    was_there: bool,
}

/// Has `f(arg)` called on the thread that runs `g`, in a signal handler, if `g` is outside the runtime there. True: it
/// was. Returns in any case after a few milliseconds, and `f` is not called any more.
///
/// # Safety
/// `f` does only what a signal handler may.
#[cfg(not(golib_loom))]
pub unsafe fn look_within(g: GRef, f: unsafe fn(*mut ()), arg: *mut ()) -> bool {
    // Acquire: pairs with the Release of `runs_now`. SAFETY: Ms are never freed.
    let Some(m) = (unsafe { g.g().m.load(Ordering::Acquire).as_ref() }) else { return false };
    let mut look = Look { gp: GPtr(g.gp), f, arg, was_there: false };
    let tid = m.tid.load(Ordering::Relaxed);
    // SAFETY: `within` does only what a handler may, and the record outlives the call.
    unsafe {
        crate::sys::disturb::call_within(tid, within, (&raw mut look).cast()) && look.was_there
    }
}

/// Has `f(arg)` called on the thread `tid`, as [`look_within`]. False: it was not, and will not be.
///
/// # Safety
/// As [`look_within`].
#[cfg(not(golib_loom))]
pub unsafe fn call_on_thread(tid: u32, f: unsafe fn(*mut ()), arg: *mut ()) -> bool {
    // SAFETY: as the caller says.
    unsafe { crate::sys::disturb::call_within(tid, f, arg) }
}

/// On the other thread.
#[cfg(not(golib_loom))]
unsafe fn within(look: *mut ()) {
    // SAFETY: look_within waits while this runs; an M is never freed.
    unsafe {
        let look = &mut *look.cast::<Look>();
        let m = crate::sys::tls::get().cast::<M>().as_ref();
        if m.is_some_and(|m| runs_outside(m, look.gp.0)) {
            (look.f)(look.arg);
            look.was_there = true;
        }
    }
}
