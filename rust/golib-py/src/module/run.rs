//! `golib.run`.
//!
//! The thread that called `run` waits for the main goroutine. If it is the main thread, the main goroutine stands in for it:
//! signal handlers run there (`cpython::main_thread`), and the thread passes on what comes for it (`bridge::news`).
//!
//! # Invariants
//! 1. `MAIN` is the main goroutine's handle while a `run` called on the main thread is under way; at most one is.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use go_lib::runtime::embedder::{self, Event, GRef, WaitError, WaitReason};
use pyo3::ffi::{self, PyObject};

use crate::bridge::news::{self, News};
use crate::bridge::{deadlock, main_thread};
use crate::core::context::ambient::{self, Begun};
use crate::core::context::cancel;
use crate::core::goroutine::{stand_in, start_goroutine, GoroutineObj, Spec};
use crate::core::waits;
use crate::cpython::{self, tstate, ThreadState};
use crate::ffi::class::this;
use crate::ffi::errors;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::{entry, Method, Module};
use crate::ffi::obj::Raw;
use crate::ffi::python::{clear_error, type_error};
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// By 1; borrowed: the waiting `run` holds a reference.
static MAIN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

// `_golib._run_main(fn, args, kwargs)`: runs fn as a main goroutine; returns or raises what that does.
entry! { RUN: golib_entry_run_main => run_main fast(entry, _module: Module, args) {
    let [function, positional, keywords] = args.positional() else {
        let text = "_run_main() takes 3 arguments";
        return Err(errors::fail(entry.gil(), type_error(), text));
    };
    let main = MainGoroutine::start(entry.gil(), *function, *positional, *keywords)?;
    let ended = main.wait(entry);
    main.end(entry.gil(), ended)
} }

/// The function `_run_main`.
pub(super) const RUN_MAIN: Method<Module> =
    Method::parks(c"_run_main", RUN, c"For the Python part of golib.");

/// A main goroutine, whose handle the waiting `run` holds.
struct MainGoroutine {
    handle: New,
    /// The `run` was called on the main thread.
    stands_in: bool,
}

impl MainGoroutine {
    /// Starts it: a function, a tuple and a dict.
    fn start(
        gil: Gil<'_>,
        function: Ref<'_>,
        positional: Ref<'_>,
        keywords: Ref<'_>,
    ) -> Outcome<MainGoroutine> {
        let is_main = main_thread::is_this() && MAIN.load(Ordering::Relaxed).is_null();
        if is_main {
            // SAFETY: on the main thread, whose own state is attached.
            unsafe { cpython::main_thread::lend() };
            main_thread::note();
        }
        // SAFETY: as golib._run calls it: a dict.
        let is_empty = unsafe { ffi::PyDict_Size(keywords.as_raw()) } == 0;
        let kwargs = (!is_empty).then(|| keywords.own(gil));
        let spec = Spec { kwargs, is_main, ..Spec::new(function, positional.own(gil)) };
        let handle = start_goroutine(gil, spec)?;
        let main = MainGoroutine { handle, stands_in: is_main };
        // It cannot run before we give the GIL up. Without memory it begins without them. SAFETY: the token.
        if unsafe { tstate::lend_hooks(main.raw()) }.is_err() {
            clear_error(gil);
        }
        if is_main {
            MAIN.store(main.raw(), Ordering::Relaxed);
            news::begin(main.gref());
        }
        deadlock::push_main(main.gref());
        Ok(main)
    }

    fn raw(&self) -> Raw {
        self.handle.get().as_raw()
    }

    fn gref(&self) -> GRef {
        // SAFETY: a handle.
        unsafe { GoroutineObj::gref(self.raw()) }
    }

    fn done(&self) -> &Event {
        // SAFETY: a handle, which is held.
        unsafe { GoroutineObj::done(self.raw()) }
    }

    /// Waits for its end, passing on to it what comes for this thread: signals, a deadlock, and cancellation. Err: it could
    /// not be brought to raise that.
    ///
    /// No Python code runs in here, except for what is pending while main is in a call that nothing interrupts.
    fn wait(&self, entry: &mut Entry) -> Outcome<()> {
        let mut news = News::new(self.gref());
        let mut shield = None;
        let ended = loop {
            match entry.wait(|| self.done().wait(news.wait(), WaitReason::Join)) {
                Ok(Ok(())) => break Ok(()),
                Ok(Err(WaitError::Timeout | WaitError::WouldBlock)) => {}
                Ok(Err(WaitError::Interrupted)) => {
                    embedder::take_interrupt();
                    if let Err(raised) = self.pass_cancellation_on(entry.gil(), &mut shield) {
                        break Err(raised);
                    }
                }
                Ok(Err(WaitError::Deadlock)) => self.tell_deadlock(),
                Err(raised) => break Err(raised),
            }
            // SAFETY: on the main thread, which waits for it; an exception is set if it did not come.
            unsafe {
                if self.stands_in && !news.look() {
                    break Err(Raised::assume());
                }
            }
            if self.stayed_in_parent() {
                break Err(waits::deadlocked(entry.gil()));
            }
        };
        if let Some(shield) = shield {
            ambient::pop(entry.gil(), shield);
        }
        ended
    }

    /// This thread's wait was interrupted: it has been cancelled, perhaps.
    fn pass_cancellation_on(&self, gil: Gil<'_>, shield: &mut Option<Begun>) -> Outcome<()> {
        cancel::expire(gil);
        if ambient::cancelled(gil).is_some() {
            *shield = Some(ambient::push_shield(gil)?);
            // SAFETY: a handle, which is held.
            unsafe { cancel::cancel_goroutine(gil, self.raw())? };
        }
        Ok(())
    }

    /// A signal's handler that ran on this thread has forked: this is the child, and the goroutine does not exist here.
    fn stayed_in_parent(&self) -> bool {
        self.stands_in && MAIN.load(Ordering::Relaxed) != self.raw()
    }

    fn tell_deadlock(&self) {
        // SAFETY: the GIL is held; the exception that was just set is taken over.
        unsafe {
            let _ = waits::deadlocked(Gil::assume());
            GoroutineObj::interrupt(self.raw(), errors::fetch());
        }
    }

    /// Called when that `run` is over, perhaps without its goroutine; its outcome.
    fn end(self, gil: Gil<'_>, ended: Outcome<()>) -> Outcome<New> {
        self.stand_in_no_more(gil);
        // SAFETY: the token; a handle; it has ended, or an exception is set already.
        let outcome = unsafe {
            tstate::take_back_hooks(self.raw());
            ended.and_then(|()| New::made(GoroutineObj::outcome(self.raw())))
        };
        self.handle.release(gil);
        outcome
    }

    fn stand_in_no_more(&self, gil: Gil<'_>) {
        let gref = self.gref();
        deadlock::pop_main(gref);
        if MAIN.load(Ordering::Relaxed) != self.raw() {
            return; // another run's, or none in a forked child
        }
        MAIN.store(ptr::null_mut(), Ordering::Relaxed);
        news::end();
        // SAFETY: a handle, with the GIL. An abandoned goroutine's state lives as long as it.
        unsafe {
            if !stand_in::ends(gil, this(self.raw())) || self.done().is_set() {
                return;
            }
            if let Some(ts) = ThreadState::from_ptr(gref.state().cast()) {
                ts.set_ident(tstate::ident_of(gref.goid()));
            }
        }
    }
}

/// In a forked child.
pub(crate) fn after_fork() {
    MAIN.store(ptr::null_mut(), Ordering::Relaxed);
}
