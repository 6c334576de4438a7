//! `golib.run`.
//!
//! The thread that called `run` waits for the main goroutine. If it is the main thread, the main goroutine stands in for it:
//! signal handlers run there (`cpython::main_thread`), and the thread passes on what comes for it (`bridge::news`).
//!
//! # Invariants
//! 1. `MAIN` is the main goroutine's handle while a `run` called on the main thread is under way; at most one is.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use go_lib::runtime::embedder::{self, WaitError, WaitReason};
use pyo3::ffi::{self, PyObject};

use crate::bridge::news::{self, News};
use crate::bridge::{deadlock, main_thread};
use crate::core::context::ambient::{self, Begun};
use crate::core::context::cancel;
use crate::core::goroutine::{stand_in, start_goroutine, GoroutineObj, Spec};
use crate::core::waits;
use crate::cpython::{self, tstate, ThreadState};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{guard_wait, instance, parking, Record};

/// By 1; borrowed: the waiting `run` holds a reference.
static MAIN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

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
        let is_main = main_thread::is_this() && MAIN.load(Ordering::Relaxed).is_null();
        if is_main {
            cpython::main_thread::lend();
            main_thread::note();
        }
        let slf = start_goroutine(Spec { kwargs, is_main, ..Spec::new(function, positional) });
        if !slf.is_null() {
            // It cannot run before we give the GIL up. Without memory it begins without them.
            if tstate::lend_hooks(slf).is_err() {
                ffi::PyErr_Clear();
            }
            if is_main {
                MAIN.store(slf, Ordering::Relaxed);
                news::begin(GoroutineObj::gref(slf));
            }
            deadlock::push_main(GoroutineObj::gref(slf));
        }
        slf
    }
}

/// That `run` is over, perhaps without its goroutine.
unsafe fn end_main(slf: Raw) {
    // SAFETY: what start_main returned; the GIL is held.
    unsafe {
        let gref = GoroutineObj::gref(slf);
        deadlock::pop_main(gref);
        if MAIN.load(Ordering::Relaxed) != slf {
            return;
        }
        MAIN.store(ptr::null_mut(), Ordering::Relaxed);
        news::end();
        if !stand_in::ends(instance::<GoroutineObj>(slf)) {
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
        let gil = Gil::assume();
        let mut shield: Option<Begun> = None;
        let ended = loop {
            match guard_wait(record, || done.wait(news.wait(), WaitReason::Join)) {
                Some(Ok(())) => break true,
                Some(Err(WaitError::Timeout | WaitError::WouldBlock)) => {}
                Some(Err(WaitError::Interrupted)) => {
                    embedder::take_interrupt();
                    cancel::expire(gil);
                    if ambient::cancelled(gil).is_some() {
                        match ambient::push_shield(gil) {
                            Ok(begun) => shield = Some(begun),
                            Err(_) => break false,
                        }
                        if cancel::cancel_goroutine(gil, slf).is_err() {
                            break false;
                        }
                    }
                }
                Some(Err(WaitError::Deadlock)) => {
                    waits::deadlock();
                    GoroutineObj::interrupt(slf, errors::fetch());
                }
                None => break false,
            }
            if is_main && !news.look() {
                break false;
            }
        };
        if let Some(shield) = shield {
            ambient::pop(gil, shield);
        }
        ended
    }
}

/// `_golib._print_error(error)`: reports an exception as the interpreter does with one that ends a program.
///
/// `sys.excepthook` may end the process by SystemExit: only the main thread calls this.
pub(crate) unsafe extern "C" fn print_error(_: Raw, error: Raw) -> Raw {
    // SAFETY: a METH_O function, called with an exception.
    unsafe {
        ffi::Py_INCREF(error);
        errors::restore(error);
        ffi::PyErr_Print();
        obj::none()
    }
}

/// In a forked child.
pub(crate) fn after_fork() {
    MAIN.store(ptr::null_mut(), Ordering::Relaxed);
}
