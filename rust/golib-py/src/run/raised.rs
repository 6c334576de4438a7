//! What is raised in the thread that waits in `run`, mostly by a signal's handler: the main goroutine raises it instead.
//!
//! It is left as the goroutine's pending exception, which the wait that it is in raises, or its next one. Code that does
//! not wait is reached by CPython's asynchronous exception: that is a class, and to make an instance of it takes what is
//! pending.

use std::os::raw::c_long;
use std::ptr;

use go_lib::runtime::embedder::{self, nanotime, Wait};
use pyo3::ffi;

use crate::cpython::ThreadState;
use crate::errors;
use crate::goroutine::GoroutineObj;
use crate::obj::{Global, Raw};

/// A call that nothing can interrupt is waited for so long.
const PATIENCE_NS: i64 = 1_000_000_000;

/// `golib._run._Raised`.
pub(crate) static CLASS: Global = Global::new();

/// An exception on its way into a main goroutine.
pub(super) struct OnItsWay {
    /// From then on it is lost unless it has arrived; None: it arrives, or there is none.
    lost_at_ns: Option<i64>,
}

impl OnItsWay {
    pub(super) const NOTHING: OnItsWay = OnItsWay { lost_at_ns: None };

    /// How long to wait before the next look.
    pub(super) fn wait(&self) -> Wait {
        self.lost_at_ns.map_or(Wait::Block, Wait::Until)
    }

    /// Looks after that wait: the exception, owned, if it has not been raised in `slf`; else null.
    pub(super) unsafe fn take_back(&mut self, slf: Raw) -> Raw {
        self.lost_at_ns = None;
        // SAFETY: a handle; the GIL is held.
        unsafe { GoroutineObj::take_pending(slf) }
    }
}

/// Has `error` (taken over) raised in the main goroutine `slf`, which has not ended.
pub(super) unsafe fn throw(slf: Raw, error: Raw) -> OnItsWay {
    // SAFETY: a handle; the GIL is held.
    unsafe {
        let status = GoroutineObj::gref(slf).status_text();
        GoroutineObj::interrupt(slf, error);
        if !matches!(status, "running" | "runnable" | "syscall") {
            return OnItsWay::NOTHING;
        }
        GoroutineObj::throw_pending(slf);
        OnItsWay { lost_at_ns: Some(nanotime().saturating_add(PATIENCE_NS)) }
    }
}

/// Sets CPython's asynchronous exception of the goroutine `slf` to `class`; null takes it back.
///
/// # Safety
/// `slf` is a handle; the GIL is held.
pub(crate) unsafe fn set_async(slf: Raw, class: Raw) {
    // SAFETY: the caller's duty: a goroutine that has not ended has its state.
    unsafe {
        let done = GoroutineObj::done(slf).is_set();
        let state = ThreadState::from_ptr(GoroutineObj::gref(slf).state().cast());
        if let Some(ts) = state.filter(|_| !done) {
            // Of several states with this ident CPython takes the newest: the goroutine's, not its main thread's.
            ffi::PyThreadState_SetAsyncExc(ts.ident() as c_long, class);
        }
    }
}

/// `_golib._take_raised()`: what is to be raised in the calling goroutine instead of an instance of the class.
pub(crate) unsafe extern "C" fn take_raised(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function; a host goroutine's payload is its handle.
    unsafe {
        let host: Raw = embedder::current_host().cast();
        let error = if host.is_null() { ptr::null_mut() } else { GoroutineObj::take_pending(host) };
        if error.is_null() {
            return errors::raise(ffi::PyExc_RuntimeError, "nothing is to be raised here");
        }
        error
    }
}
