//! `golib.run`.
//!
//! The thread that called `run` waits for the main goroutine. If it is the main thread, the main goroutine stands in for it:
//! signal handlers run there (`cpython::main_thread`), and the thread passes on what comes for it ([`news`]).
//!
//! # Invariants
//! 1. `MAIN` is the main goroutine's handle while a `run` called on the main thread is under way; at most one is.

mod news;

use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, WaitError, WaitReason};
use pyo3::ffi::{self, PyObject};

use crate::bridge::host;
use crate::core::context::ambient;
use crate::core::goroutine::{self, GoroutineObj, Spec};
use crate::cpython::{main_thread, tstate, ThreadState};
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{guard_wait, instance, parking, Record};

use news::News;
pub(crate) use news::{are_passed_on, main_thread_turn, pass_on, signal_sent};

/// By 1; borrowed: the waiting `run` holds a reference.
static MAIN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    // `_golib._run_main(fn, args, kwargs)`: runs fn as a main goroutine; returns or raises what that does.
    parking!(golib_entry_run_main => run_main(_module, args, n; record) {
        // SAFETY: a METH_FASTCALL function, called by golib._run with a function, a tuple and a dict.
        unsafe {
            if n != 3 {
                return errors::raise(ffi::PyExc_TypeError, "_run_main() takes 3 arguments");
            }
            let slf = start_main(*args, *args.add(1), *args.add(2));
            if slf.is_null() {
                return slf;
            }
            let ended = await_end(slf, record);
            end_main(slf);
            tstate::take_back_hooks(slf);
            let outcome = if ended { GoroutineObj::outcome(slf) } else { ptr::null_mut() };
            ffi::Py_DECREF(slf);
            outcome
        }
    });
}

pub(crate) use parks::golib_entry_run_main;

/// Starts a main goroutine; its handle, or null with an exception set.
unsafe fn start_main(function: Raw, positional: Raw, keywords: Raw) -> Raw {
    // SAFETY: called with a function, a tuple and a dict; the GIL is held.
    unsafe {
        ffi::Py_INCREF(positional);
        let kwargs = if ffi::PyDict_Size(keywords) > 0 {
            ffi::Py_INCREF(keywords);
            keywords
        } else {
            ptr::null_mut()
        };
        let is_main = host::on_main_os_thread() && MAIN.load(Ordering::Relaxed).is_null();
        if is_main {
            main_thread::lend();
            host::note_main_thread();
        }
        let slf = goroutine::start(Spec { kwargs, is_main, ..Spec::new(function, positional) });
        if !slf.is_null() {
            // It cannot run before we give the GIL up. Without memory it begins without them.
            if tstate::lend_hooks(slf).is_err() {
                ffi::PyErr_Clear();
            }
            if is_main {
                MAIN.store(slf, Ordering::Relaxed);
                news::begin(GoroutineObj::gref(slf));
            }
            host::push_main(GoroutineObj::gref(slf));
        }
        slf
    }
}

/// That `run` is over, perhaps without its goroutine.
unsafe fn end_main(slf: Raw) {
    // SAFETY: what start_main returned; the GIL is held.
    unsafe {
        let gref = GoroutineObj::gref(slf);
        host::pop_main(gref);
        if MAIN.load(Ordering::Relaxed) != slf {
            return;
        }
        MAIN.store(ptr::null_mut(), Ordering::Relaxed);
        news::end();
        if !stands_in_no_more(instance::<GoroutineObj>(slf)) {
            return;
        }
        // Abandoned.
        if let Some(ts) =
            ThreadState::from_ptr(gref.state().cast()).filter(|_| !GoroutineObj::done(slf).is_set())
        {
            ts.set_ident(tstate::ident_of(gref.goid()));
        }
    }
}

/// The goroutine of `g` begins, on its own stack: it may be the one that stands in for the main thread.
///
/// # Safety
/// Its own handle; `ts` is its state, attached here.
#[inline]
pub(crate) unsafe fn goroutine_begins(g: *mut GoroutineObj, ts: ThreadState) {
    // SAFETY: the caller's duty; start_main has lent.
    unsafe {
        if (*g).is_main {
            main_thread::begin(ts);
        }
    }
}

/// From here on the goroutine of `g` is one as any other. False: it has been one before.
///
/// # Safety
/// A handle's; the GIL is held.
#[inline]
pub(crate) unsafe fn stands_in_no_more(g: *mut GoroutineObj) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let was = (*g).is_main;
        if was {
            (*g).is_main = false;
            main_thread::end();
        }
        was
    }
}

/// Waits for the end of the main goroutine `slf`, passing on to it what comes for this thread: signals, a deadlock, and
/// cancellation. False: an exception is set that main could not be brought to raise.
///
/// Nothing in here is Python code, but what runs when main is in a call that nothing interrupts.
unsafe fn await_end(slf: Raw, record: Record) -> bool {
    // SAFETY: a handle, held by the caller; the GIL is held.
    unsafe {
        let done = GoroutineObj::done(slf);
        let is_main = MAIN.load(Ordering::Relaxed) == slf;
        let mut news = News::new(GoroutineObj::gref(slf));
        let mut shield: *mut ambient::Entry = ptr::null_mut();
        let ended = loop {
            match guard_wait(record, || done.wait(news.wait(), WaitReason::Join)) {
                Some(Ok(())) => break true,
                Some(Err(WaitError::Timeout | WaitError::WouldBlock)) => {}
                Some(Err(WaitError::Interrupted)) => {
                    embedder::take_interrupt();
                    if !ambient::cancelled().is_null() {
                        shield = ambient::push_shield();
                        if shield.is_null() || ambient::cancel_goroutine(slf).is_none() {
                            break false;
                        }
                    }
                }
                Some(Err(WaitError::Deadlock)) => {
                    errors::deadlock();
                    GoroutineObj::interrupt(slf, errors::fetch());
                }
                None => break false,
            }
            if is_main && !news.look() {
                break false;
            }
        };
        if !shield.is_null() {
            ambient::pop(shield);
        }
        ended
    }
}

/// See `cpython::identity::HostTable`.
pub unsafe extern "C" fn in_main_goroutine() -> c_int {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: a host goroutine's payload is its handle.
    c_int::from(!host.is_null() && unsafe { (*instance::<GoroutineObj>(host)).is_main })
}

/// How many reasons there are to expect a wake-up from outside the runtime.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// True while something outside the runtime may wake a goroutine.
pub fn others_can_wake() -> bool {
    EXPECTED.load(Ordering::Relaxed) != 0
}

/// Counts the threads of ours in Python that can wake nobody by themselves; null: there are none.
static IDLE_THREADS: Global = Global::new();

/// How many Python threads wait for others only, though the runtime does not see it.
///
/// # Safety
/// The GIL is held.
pub unsafe fn idle_threads() -> usize {
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
        let Some(delta) = crate::ffi::raw::integer_of(delta) else { return ptr::null_mut() };
        // Changed under the GIL alone.
        let now = EXPECTED.load(Ordering::Relaxed).saturating_add_signed(delta as isize);
        EXPECTED.store(now, Ordering::Relaxed);
        obj::none()
    }
}

/// In a forked child.
pub(crate) fn after_fork() {
    MAIN.store(ptr::null_mut(), Ordering::Relaxed);
    news::end();
    EXPECTED.store(0, Ordering::Relaxed);
}
