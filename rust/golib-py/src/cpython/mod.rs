//! CPython's private state: the Rust face of the C shim in `cpython/`, the only code that knows CPython's versions.
//!
//! * [`tstate`] one thread state per goroutine, and which one is attached
//! * [`entry`] the raw C-level entries through which Python calls operations that can park
//! * [`frames`] where another goroutine is, without the GIL
//! * [`movable`] whether a goroutine may resume on another OS thread
//! * [`main_thread`] `run`'s main goroutine stands in for the main thread
//! * [`runtime`] what the shim asks of the runtime
//! * [`identity`] builtins that CPython keys by OS thread made to follow the goroutine
//! * [`patch`] builtins that block, made to park on goroutines
//!
//! # Invariants
//! 1. A goroutine's thread state is attached on at most one OS thread, and bound there only while attached.
//! 2. No PyO3 token is alive across a call that attaches, detaches or swaps: PyO3 counts attachments per OS thread.
//!
//! The full contract of each function stands in `cpython/golib_shim.h`.

pub mod entry;
pub mod error;
mod ffi;
pub mod frames;
pub mod identity;
pub mod main_thread;
pub mod movable;
pub mod object;
pub mod patch;
pub mod runtime;
pub mod tstate;

use std::os::raw::c_int;

pub use entry::Caller;
pub use tstate::ThreadState;

/// Checks that this build fits the running interpreter. At import.
///
/// # Errors
/// -1: a Python exception (ImportError) is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn init() -> c_int {
    // SAFETY: the caller holds the GIL.
    unsafe { ffi::golib_shim_init() }
}

/// Checks that the running interpreter is the main one.
///
/// # Errors
/// -1: a Python exception (ImportError) is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn check_interpreter() -> c_int {
    // SAFETY: the caller holds the GIL.
    unsafe { ffi::golib_check_interpreter() }
}

/// Somebody holds the GIL. Callable from any thread at any time.
pub fn gil_locked() -> bool {
    // SAFETY: reads one atomic word of the main interpreter, which lives as long as the process uses Python.
    unsafe { ffi::golib_gil_locked() != 0 }
}

/// The interpreter is going away: an attach from now on does not return.
pub fn finalizing() -> bool {
    // SAFETY: reads one atomic word of the runtime.
    unsafe { ffi::golib_finalizing() != 0 }
}

/// Has the exit handler that was registered last called last.
///
/// # Errors
/// -1: a Python exception is set.
///
/// # Safety
/// The GIL is held; a handler has just been registered by `atexit.register`.
pub unsafe fn call_last_at_exit() -> c_int {
    // SAFETY: a handler is registered, and the GIL keeps others from the list.
    unsafe { ffi::golib_atexit_last() }
}
