//! Whether anything can still wake a waiter when everything that the runtime knows is asleep; and the goroutine that
//! gets `Deadlock` if not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, GRef};
use pyo3::ffi;

use super::{attach, main_thread, signals};
use crate::cpython;
use crate::ffi::args::integer_of;
use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Module};
use crate::ffi::python::{as_long, call0, none, write_unraisable};
use crate::ffi::refs::{release, New, Outcome, Ref, Slot};

/// The main goroutines of the `run`s under way, in which a deadlock is raised.
static MAINS: Mutex<Vec<GRef>> = Mutex::new(Vec::new());

/// A `run` waits for `main`: a deadlock will be raised there.
pub(crate) fn push_main(main: GRef) {
    MAINS.lock().unwrap_or_else(PoisonError::into_inner).push(main);
}

/// That `run` is over.
pub(crate) fn pop_main(main: GRef) {
    MAINS.lock().unwrap_or_else(PoisonError::into_inner).retain(|&m| m != main);
}

/// In a forked child: `me` is the goroutine that forked, if one did.
pub(crate) fn after_fork(me: Option<GRef>) {
    let mut mains = MAINS.lock().unwrap_or_else(PoisonError::into_inner);
    mains.clear();
    mains.extend(me);
    EXPECTED.store(0, Ordering::Relaxed);
}

/// Everything that the runtime knows is asleep: ends the main wait with `Deadlock` if nothing else can wake a waiter.
pub(crate) unsafe fn deadlock() -> bool {
    if cpython::finalizing() {
        return true;
    }
    // SAFETY: sysmon's thread has no state; Ensure makes one and Release deletes it.
    unsafe {
        let state = ffi::PyGILState_Ensure();
        let hope = look(Gil::assume());
        ffi::PyGILState_Release(state);
        hope != Hope::Unseen
    }
}

/// Raises the deadlock, if there is one, in the goroutine that gets it.
fn look(gil: Gil<'_>) -> Hope {
    let hope = hope(gil);
    if hope == Hope::None {
        let mains = MAINS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !mains.iter().rev().any(|m| m.deadlock()) {
            main_thread::gref().map(GRef::deadlock);
        }
    }
    hope
}

/// Whether anything can still wake a waiter.
#[derive(PartialEq, Eq)]
enum Hope {
    /// Nothing can.
    None,
    /// Something has, or will through the main thread, which looks for a deadlock again when it falls asleep.
    Seen,
    /// Something that can vanish without notice.
    Unseen,
}

/// Looks for anything that can still wake a waiter. With the GIL held no Python thread can enter the runtime, so a
/// deadlock stays one. Only [`idle`] may release it; only the checks after that count.
fn hope(gil: Gil<'_>) -> Hope {
    // Only the main thread sets and resets handlers, so a program that waits for a signal costs no further look.
    if !embedder::is_dead() || others_can_wake() || signals::program_handles_any(gil) {
        return Hope::Seen;
    }
    let threads = python_threads(gil);
    let idle = if threads > 0 { idle(gil) } else { 0 };
    if threads > idle || signals::is_under_way() || embedder::strangers().is_none_or(|n| n > idle) {
        return Hope::Unseen;
    }
    if embedder::is_dead() && python_threads(gil) <= idle {
        Hope::None
    } else {
        Hope::Seen
    }
}

/// As [`idle_threads`], with the collector switched off: a finalizer might wait, and sysmon with it.
fn idle(gil: Gil<'_>) -> usize {
    // SAFETY: the token.
    let enabled = unsafe { ffi::PyGC_Disable() };
    let idle = idle_threads(gil);
    if enabled != 0 {
        // SAFETY: the token.
        unsafe { ffi::PyGC_Enable() };
    }
    idle
}

/// The number of reasons to expect a wake-up from outside the runtime.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// True while something outside the runtime may wake a goroutine.
fn others_can_wake() -> bool {
    EXPECTED.load(Ordering::Relaxed) != 0
}

/// Counts the threads of ours in Python that can wake nobody by themselves; empty: there are none.
static IDLE_THREADS: Slot = Slot::empty();

/// How many Python threads wait for others only, though the runtime does not see it. Runs Python code.
fn idle_threads(gil: Gil<'_>) -> usize {
    let Some(count) = IDLE_THREADS.get(gil) else { return 0 };
    let counted = call0(gil, count.get()).and_then(|n| {
        let value = as_long(gil, n.get());
        n.release(gil);
        value
    });
    if counted.is_err() {
        write_unraisable(gil, count.get());
    }
    count.release(gil);
    counted.map_or(0, |n| n.max(0) as usize)
}

/// `_golib._set_idle_threads(count)`: sets the function that answers [`idle_threads`] from now on.
fn set_idle_threads(gil: Gil<'_>, _: &Object<Module>, count: Ref<'_>) -> Outcome<New> {
    release(gil, IDLE_THREADS.put(gil.exclusive(), Some(count.own(gil))));
    Ok(none(gil))
}

/// `_golib._expect_wakeups(delta)`: counts the reasons (a signal that `notify` waits for) for which nothing is a deadlock.
fn expect_wakeups(gil: Gil<'_>, _: &Object<Module>, delta: Ref<'_>) -> Outcome<New> {
    let delta = integer_of(gil, delta)?;
    // Changed under the GIL alone.
    let now = EXPECTED.load(Ordering::Relaxed).saturating_add_signed(delta as isize);
    EXPECTED.store(now, Ordering::Relaxed);
    Ok(none(gil))
}

/// The function `_set_idle_threads`.
pub(crate) const SET_IDLE_THREADS: Method<Module> =
    Method::one(c"_set_idle_threads", set_idle_threads, c"For the Python part of golib.");

/// The function `_expect_wakeups`.
pub(crate) const EXPECT_WAKEUPS: Method<Module> =
    Method::one(c"_expect_wakeups", expect_wakeups, c"For the Python part of golib.");

/// How many Python threads are alive that do not sleep in the runtime.
fn python_threads(_gil: Gil<'_>) -> usize {
    let mut states = 0usize;
    // SAFETY: the token: no state is deleted meanwhile.
    unsafe {
        let mut ts = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Main());
        while !ts.is_null() {
            states += 1;
            ts = ffi::PyThreadState_Next(ts);
        }
    }
    // Goroutines' states, the threads that sleep here, and sysmon's own.
    states.saturating_sub(attach::states() + embedder::threads_asleep() + 1)
}
