//! One pointer per OS thread: the current M.
//!
//! After a goroutine switch the code may run on another OS thread, so the compiler must not keep the slot's address
//! across one. With glibc the slot lives in initial-exec TLS and is read by assembly, in two instructions even in a
//! library that is loaded later; on Windows it is one of the system's slots. Elsewhere it is std's, behind a call.

#[cfg(all(any(windows, all(target_os = "linux", target_env = "gnu")), not(golib_loom)))]
use crate::sys::arch::tls as imp;

#[cfg(not(any(windows, all(target_os = "linux", target_env = "gnu"), golib_loom)))]
mod imp {
    use std::cell::Cell;

    thread_local! {
        static SLOT: Cell<*mut ()> = const { Cell::new(std::ptr::null_mut()) };
    }

    /// The calling thread's slot. Not inlined: no caller may keep the slot's address across a switch.
    #[inline(never)]
    pub(crate) fn get() -> *mut () {
        SLOT.with(Cell::get)
    }

    /// Sets the calling thread's slot; not inlined, as `get` is not.
    #[inline(never)]
    pub(crate) fn set(m: *mut ()) {
        SLOT.with(|slot| slot.set(m));
    }
}

#[cfg(golib_loom)]
mod imp {
    loom::thread_local! {
        static SLOT: std::cell::Cell<*mut ()> = std::cell::Cell::new(std::ptr::null_mut());
    }

    /// The model thread's slot.
    pub(crate) fn get() -> *mut () {
        SLOT.with(std::cell::Cell::get)
    }

    /// Sets the model thread's slot.
    pub(crate) fn set(m: *mut ()) {
        SLOT.with(|s| s.set(m));
    }
}

pub(crate) use imp::{get, set};
