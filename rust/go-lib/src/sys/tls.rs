//! One pointer per OS thread: the current M.
//!
//! The slot lives in initial-exec TLS and is read by assembly. So a read is two instructions also
//! in a dlopen'd library (no `__tls_get_addr`), and the compiler can never keep the slot's address
//! across a goroutine switch, after which the code may run on another OS thread.

#[cfg(not(golib_loom))]
mod imp {
    use crate::sys::arch;

    /// The calling thread's slot; null on a thread that never entered the runtime.
    #[inline(always)]
    pub(crate) fn get() -> *mut () {
        arch::tls_get()
    }

    /// Sets the calling thread's slot.
    #[inline(always)]
    pub(crate) fn set(m: *mut ()) {
        arch::tls_set(m);
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
