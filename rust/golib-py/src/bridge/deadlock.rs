//! Whether anything can still wake a waiter, when everything that the runtime knows is asleep; and who is told if not.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, GRef};
use pyo3::ffi;

use super::{attach, main_thread, signals};
use crate::cpython;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::integer_of;

/// The main goroutines of the `run`s under way: whom a deadlock is told.
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
        let gil = ffi::PyGILState_Ensure();
        let hope = hope();
        if hope == Hope::None {
            let mains = MAINS.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !mains.iter().rev().any(|m| m.deadlock()) {
                main_thread::gref().map(GRef::deadlock);
            }
        }
        ffi::PyGILState_Release(gil);
        hope != Hope::Unseen
    }
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

/// Looks for anything that can still wake a waiter. With the GIL held no Python thread can enter the runtime: what is dead stays dead. Only
/// [`idle`] may give it up; what follows that counts.
unsafe fn hope() -> Hope {
    // SAFETY: the GIL is held.
    unsafe {
        // Only the main thread sets and resets handlers, so a program that waits for a signal costs no further look.
        if !embedder::is_dead() || others_can_wake() || signals::program_handles_any() {
            return Hope::Seen;
        }
        let threads = python_threads();
        let idle = if threads > 0 { idle() } else { 0 };
        if threads > idle
            || signals::is_under_way()
            || embedder::strangers().is_none_or(|n| n > idle)
        {
            return Hope::Unseen;
        }
        if embedder::is_dead() && python_threads() <= idle {
            Hope::None
        } else {
            Hope::Seen
        }
    }
}

/// As [`idle_threads`]. The collector stands still meanwhile: a finalizer might wait, and sysmon with it.
unsafe fn idle() -> usize {
    // SAFETY: the GIL is held.
    unsafe {
        let enabled = ffi::PyGC_Disable();
        let idle = idle_threads();
        if enabled != 0 {
            ffi::PyGC_Enable();
        }
        idle
    }
}

/// How many reasons there are to expect a wake-up from outside the runtime.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// True while something outside the runtime may wake a goroutine.
fn others_can_wake() -> bool {
    EXPECTED.load(Ordering::Relaxed) != 0
}

/// Counts the threads of ours in Python that can wake nobody by themselves; null: there are none.
static IDLE_THREADS: Global = Global::new();

/// How many Python threads wait for others only, though the runtime does not see it.
///
/// # Safety
/// The GIL is held.
unsafe fn idle_threads() -> usize {
    // SAFETY: the GIL is held.
    unsafe {
        if IDLE_THREADS.get().is_null() {
            return 0;
        }
        let count = ffi::PyObject_CallNoArgs(IDLE_THREADS.get());
        let n = if count.is_null() { -1 } else { ffi::PyLong_AsLong(count) };
        ffi::Py_XDECREF(count);
        if !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_WriteUnraisable(IDLE_THREADS.get());
        }
        n.max(0) as usize
    }
}

/// `_golib._set_idle_threads(count)`: by whom [`idle_threads`] is answered, for good.
pub(crate) unsafe extern "C" fn set_idle_threads(_: Raw, count: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        ffi::Py_INCREF(count);
        let old = IDLE_THREADS.get();
        IDLE_THREADS.set(count);
        ffi::Py_XDECREF(old);
        obj::none()
    }
}

/// `_golib._expect_wakeups(delta)`: counts the reasons (a signal that `notify` waits for) for which nothing is a deadlock.
pub(crate) unsafe extern "C" fn expect_wakeups(_: Raw, delta: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        let Some(delta) = integer_of(delta) else { return ptr::null_mut() };
        // Changed under the GIL alone.
        let now = EXPECTED.load(Ordering::Relaxed).saturating_add_signed(delta as isize);
        EXPECTED.store(now, Ordering::Relaxed);
        obj::none()
    }
}

/// How many Python threads are alive that do not sleep in the runtime.
fn python_threads() -> usize {
    let mut states = 0usize;
    // SAFETY: the GIL is held: no state is deleted meanwhile.
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
