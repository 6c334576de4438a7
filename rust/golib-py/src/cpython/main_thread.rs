//! `run`'s main goroutine stands in for CPython's main thread (`cpython/main_thread.c`): signal handlers run in it, wherever
//! it runs.

use super::ffi;
use super::tstate::ThreadState;

/// A goroutine will stand in for the calling thread.
///
/// # Safety
/// On the main thread, whose own state is attached.
pub unsafe fn lend() {
    // SAFETY: the state that is attached is the main thread's.
    unsafe { ffi::golib_main_lend(ffi::golib_ts_current()) }
}

/// From here on the goroutine of `ts` is the main thread for Python.
///
/// # Safety
/// `ts` is attached on this OS thread; [`lend`] was called, and [`end`] not since.
pub unsafe fn begin(ts: ThreadState) {
    // SAFETY: the state is attached here, and what `lend` lent is still out.
    unsafe { ffi::golib_main_begin(ts.as_ptr()) }
}

/// The main thread is what it was before [`lend`].
///
/// # Safety
/// The GIL is held; after [`begin`].
pub unsafe fn end() {
    // SAFETY: `begin` has begun, and the GIL keeps others from the record.
    unsafe { ffi::golib_main_end() }
}

/// Gives the main thread its part back while `f` runs, so that it can run what is pending for it.
///
/// # Safety
/// On the main thread, its own state attached; between [`begin`] and [`end`]. The goroutine may end meanwhile.
pub unsafe fn taken_back<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the main thread's own state is attached, and a goroutine stands in for it.
    unsafe { ffi::golib_main_take_back() };
    let result = f();
    // SAFETY: the same thread and state, with the record that was taken back.
    unsafe { ffi::golib_main_give_again() };
    result
}

/// A signal may have come: the code of the main goroutine sees it, if it runs. Callable without the GIL.
pub fn tell() {
    // SAFETY: atomic accesses to the main interpreter, which lives as long as the process uses Python.
    unsafe { ffi::golib_main_tell() }
}

/// A signal's handler, or a call that was left for the main thread, has not run yet.
///
/// # Safety
/// The GIL is held.
pub unsafe fn has_news() -> bool {
    // SAFETY: reads the interpreter's pending flags, for which the GIL suffices.
    unsafe { ffi::golib_main_has_news() != 0 }
}

/// The calling OS thread is the main thread for Python.
///
/// # Safety
/// The GIL is held.
pub unsafe fn is_here() -> bool {
    // SAFETY: compares the thread with the record, which changes with the GIL only.
    unsafe { ffi::golib_is_main_thread() != 0 }
}
