//! The runtime's functions for the C shim (`golib_runtime`).

use std::os::raw::{c_int, c_ulong, c_ulonglong};

use pyo3::ffi::PyThreadState;

/// The runtime's answers to the identity patches. All but `state` are called with the GIL held; `None` answers "no" or does nothing.
/// An `extern "C"` function here must not unwind.
#[repr(C)]
#[derive(Debug)]
pub struct RuntimeTable {
    /// The running goroutine took (+) or gave back (-) locks that CPython keys by OS thread. While its sum is above 0 it
    /// keeps its M when it parks. Does nothing on an ordinary thread.
    pub pin: Option<unsafe extern "C" fn(delta: c_int)>,
    /// The running goroutine's number, which no other ever has; 0 on an ordinary thread.
    pub goroutine: Option<unsafe extern "C" fn() -> c_ulonglong>,
    /// The running goroutine's thread state, null on an ordinary thread. Called with or without the GIL.
    pub state: Option<unsafe extern "C" fn() -> *mut PyThreadState>,
    /// 1 in the main goroutine of a `run` that was called on the main thread.
    pub in_main_goroutine: Option<unsafe extern "C" fn() -> c_int>,
    /// The `pthread_t` of the OS thread that runs the goroutine with this ident now; 0 if none does.
    pub pthread_of: Option<unsafe extern "C" fn(ident: c_ulong) -> c_ulong>,
    /// A signal may have been noted by CPython without the main thread having been woken by the kernel.
    pub signal_sent: Option<unsafe extern "C" fn()>,
    /// The main goroutine has sent a signal to the process: returns when the main thread has received it.
    pub main_thread_turn: Option<unsafe extern "C" fn()>,
    /// The main goroutine's OS thread blocks and lets through these signals from now on (bit n - 1 is signal n).
    pub masks_changed: Option<unsafe extern "C" fn(blocked: u64, unblocked: u64)>,
    /// The calling thread is about to fork, usually with the GIL held: returns when no lock is held that nobody would
    /// release in the child.
    pub before_fork: Option<unsafe extern "C" fn()>,
    /// Called in a forked child before CPython has done anything there: nothing of Python may run or be made.
    pub after_fork: Option<unsafe extern "C" fn()>,
}
