//! The process's main thread, which sometimes sleeps in the runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, GRef};
use pyo3::ffi;

use crate::ffi::gil::Gil;
use crate::ffi::python::{as_unsigned, attribute, call0, import_from};
use crate::ffi::refs::Outcome;

/// `threading.get_ident()` of the main thread.
static MAIN_IDENT: AtomicU64 = AtomicU64::new(0);
/// The main thread's G, once it has slept in the runtime.
static MAIN_THREAD: Mutex<Option<GRef>> = Mutex::new(None);

/// Finds out which thread it is.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<()> {
    let main_thread = import_from(gil, c"threading", c"main_thread")?;
    let thread = call0(gil, main_thread.get());
    main_thread.release(gil);
    let thread = thread?;
    let ident = attribute(gil, thread.get(), c"ident");
    thread.release(gil);
    let ident = ident?;
    let value = as_unsigned(gil, ident.get());
    ident.release(gil);
    set_ident(value?);
    Ok(())
}

fn set_ident(ident: u64) {
    MAIN_IDENT.store(ident, Ordering::Relaxed);
}

/// The main thread's ident.
pub(crate) fn ident() -> u64 {
    MAIN_IDENT.load(Ordering::Relaxed)
}

/// True on the main OS thread (not: in the main goroutine).
pub(crate) fn is_this() -> bool {
    // SAFETY: no requirements.
    unsafe { pthread_self() == ident() }
}

unsafe fn pthread_self() -> u64 {
    // SAFETY: pthread_self has no requirements; CPython uses a thread's pthread_t as its ident.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// The calling thread is the main thread, and may be interrupted from now on.
pub(crate) fn note() {
    let me = embedder::current_or_thread();
    *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(me);
}

/// Makes the main thread run whatever is pending for it (`waits::interrupted`), if it waits in the runtime.
pub(crate) fn interrupt() {
    let thread = *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(thread) = thread {
        thread.interrupt();
    }
}

/// Its G, once it has slept in the runtime.
pub(crate) fn gref() -> Option<GRef> {
    *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a forked child: the caller is the main thread, and its goroutine `me` stands for it, if it is one.
pub(crate) fn after_fork(me: Option<GRef>) {
    *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = me;
    // SAFETY: the only thread.
    set_ident(unsafe { pthread_self() });
}
