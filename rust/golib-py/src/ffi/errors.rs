//! Exceptions: the classes of the Python layer, and how the runtime's outcomes become them.

use std::any::Any;
use std::ffi::CStr;

use go_lib::runtime::embedder::{self, WaitError};
use pyo3::ffi::{self, Py_ssize_t};

use crate::core::context::{self, ambient};
use crate::core::goroutine::GoroutineObj;
pub(crate) use crate::cpython::error::{fetch, restore};
use crate::cpython::main_thread;
use crate::ffi::obj::{Global, Raw};
use crate::ffi::raw::{self, unicode};

/// `golib.ChanClosed` and its kin, found in `golib._errors` at import.
pub(crate) static CHAN_CLOSED: Global = Global::new();
pub(crate) static SEND_ON_CLOSED: Global = Global::new();
pub(crate) static CLOSE_OF_CLOSED: Global = Global::new();
pub(crate) static CANCELLED: Global = Global::new();
pub(crate) static GOEXIT: Global = Global::new();
pub(crate) static CANCELED: Global = Global::new();
pub(crate) static DEADLINE_EXCEEDED: Global = Global::new();
/// `golib._errors.deadlock()`: makes the exception with the dump.
pub(crate) static DEADLOCK: Global = Global::new();

/// Finds the classes. False: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn init() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        let module = ffi::PyImport_ImportModule(c"golib._errors".as_ptr());
        if module.is_null() {
            return false;
        }
        let names: [(&CStr, &Global); 8] = [
            (c"ChanClosed", &CHAN_CLOSED),
            (c"SendOnClosed", &SEND_ON_CLOSED),
            (c"CloseOfClosed", &CLOSE_OF_CLOSED),
            (c"Cancelled", &CANCELLED),
            (c"Goexit", &GOEXIT),
            (c"Canceled", &CANCELED),
            (c"DeadlineExceeded", &DEADLINE_EXCEEDED),
            (c"deadlock", &DEADLOCK),
        ];
        let found = names.iter().all(|(name, global)| {
            global.set(ffi::PyObject_GetAttrString(module, name.as_ptr()));
            !global.get().is_null()
        });
        ffi::Py_DECREF(module);
        found
    }
}

/// Raises `kind(text)`.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn set(kind: Raw, text: &str) {
    // SAFETY: the GIL is held.
    unsafe {
        let text = unicode(text);
        if !text.is_null() {
            ffi::PyErr_SetObject(kind, text);
            ffi::Py_DECREF(text);
        }
    }
}

/// Raises `kind(text)` and returns null.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn raise(kind: Raw, text: &str) -> Raw {
    // SAFETY: the GIL is held.
    unsafe { set(kind, text) };
    std::ptr::null_mut()
}

/// Raises SendOnClosed.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn send_on_closed() -> Raw {
    // SAFETY: the GIL is held.
    unsafe { raise(SEND_ON_CLOSED.get(), "send on closed channel") }
}

/// Raises TimeoutError, which says after what `timeout`: seconds as they were given, null or None for none.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn timed_out(what: &str, timeout: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if timeout.is_null() || timeout == ffi::Py_None() {
            return raise(ffi::PyExc_TimeoutError, &format!("{what} timed out"));
        }
        match raw::seconds_of(timeout) {
            Some(seconds) => timed_out_after(what, seconds),
            None => std::ptr::null_mut(),
        }
    }
}

/// Raises TimeoutError, which says after how many seconds.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn timed_out_after(what: &str, seconds: f64) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let text = format!("{what} timed out after {} s", seconds.max(0.0));
        raise(ffi::PyExc_TimeoutError, &text)
    }
}

/// Raises Deadlock with the dump; at interpreter shutdown, when goroutines have been stopped, RuntimeError.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn deadlock() -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if embedder::is_exiting() {
            let text = "cannot wait at interpreter shutdown: goroutines have stopped";
            return raise(ffi::PyExc_RuntimeError, text);
        }
        let error = ffi::PyObject_CallNoArgs(DEADLOCK.get());
        if !error.is_null() {
            ffi::PyErr_SetObject(ffi::Py_TYPE(error).cast(), error);
            ffi::Py_DECREF(error);
        }
    }
    std::ptr::null_mut()
}

/// After an operation came back interrupted: true if it should be tried again; else an exception is set.
///
/// Somebody left an exception for this goroutine, or a context under which the caller runs was cancelled. A thread, or the
/// goroutine that is a forked child's main thread, may also have been woken by a signal, whose handlers run now: the wait is
/// over, so they may use golib as they like.
///
/// # Safety
/// The GIL is held; no wait is under way.
#[cold]
#[inline(never)]
pub(crate) unsafe fn interrupted() -> bool {
    let host = embedder::current_host();
    // SAFETY: the GIL is held; a host goroutine's payload is its handle.
    unsafe {
        // What a signal handler raises comes first: it is raised once, Cancelled at each wait.
        let raised = raise_pending(host.cast()) || run_handlers(host.cast());
        let node = ambient::cancelled();
        if node.is_null() {
            if !host.is_null() {
                embedder::take_interrupt();
            }
        } else {
            // The next wait is refused too, for as long as the block lasts.
            embedder::current_or_thread().interrupt();
            if !raised {
                context::raise_cancelled(node);
            }
        }
        !raised && node.is_null()
    }
}

/// Raises what somebody left for the goroutine `host` (null: a thread); true if there was something.
unsafe fn raise_pending(host: Raw) -> bool {
    // SAFETY: the GIL is held; a host goroutine's payload is its handle.
    unsafe {
        let pending = if host.is_null() { host } else { GoroutineObj::take_pending(host) };
        if !pending.is_null() {
            restore(pending);
        }
        !pending.is_null()
    }
}

/// Runs what is pending for the main thread, if the caller is that or stands in for it; true if it has raised.
unsafe fn run_handlers(host: Raw) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if !host.is_null() && !main_thread::is_here() {
            return false;
        }
        // They may wait themselves.
        embedder::take_interrupt();
        // 3.11 takes its note of the signal back in the second only.
        ffi::PyErr_CheckSignals() != 0 || ffi::Py_MakePendingCalls() != 0
    }
}

/// What a wait's failure means: true if it should be tried again; else an exception is set. `timeout` as in [`timed_out`].
///
/// # Safety
/// As [`interrupted`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn again(error: WaitError, what: &str, timeout: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        match error {
            WaitError::Interrupted => return interrupted(),
            WaitError::WouldBlock | WaitError::Timeout => timed_out(what, timeout),
            WaitError::Deadlock => deadlock(),
        };
    }
    false
}

/// Raises SystemError for a panic of the runtime.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(crate) unsafe fn panicked(payload: Box<dyn Any + Send>) {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    // SAFETY: the GIL is held.
    unsafe { set(ffi::PyExc_SystemError, &format!("golib: internal error: {text}")) };
}

/// `str(object)` of a `str`, for messages.
///
/// # Safety
/// The GIL is held; `object` is alive.
pub(crate) unsafe fn text_of(object: Raw) -> String {
    // SAFETY: the GIL is held; the buffer belongs to the object.
    unsafe {
        let mut len: Py_ssize_t = 0;
        let utf8 = ffi::PyUnicode_AsUTF8AndSize(object, &mut len);
        if utf8.is_null() {
            ffi::PyErr_Clear();
            return "?".to_owned();
        }
        String::from_utf8_lossy(std::slice::from_raw_parts(utf8.cast(), len as usize)).into_owned()
    }
}
