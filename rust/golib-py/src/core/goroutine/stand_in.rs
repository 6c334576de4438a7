//! The main goroutine of a `run` on the main thread: it stands in for that thread.

use std::os::raw::c_int;

use go_lib::runtime::embedder;

use super::handle::GoroutineObj;
use crate::cpython::{main_thread, ThreadState};
use crate::ffi::obj::Raw;
use crate::ffi::raw::instance;

/// The goroutine of `g` begins, on its own stack: it may be the one that stands in for the main thread.
///
/// # Safety
/// Its own handle; `ts` is its state, attached here.
#[inline]
pub(super) unsafe fn begins(g: *mut GoroutineObj, ts: ThreadState) {
    // SAFETY: the caller's duty; `run` has lent.
    unsafe {
        if (*g).is_main {
            main_thread::begin(ts);
        }
    }
}

/// From here on the goroutine of `g` is one as any other. False: it has been one before.
///
/// # Safety
/// A handle's; the GIL is held.
#[inline]
pub(crate) unsafe fn ends(g: *mut GoroutineObj) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let was = (*g).is_main;
        if was {
            (*g).is_main = false;
            main_thread::end();
        }
        was
    }
}

/// See `cpython::runtime::RuntimeTable`.
pub(crate) unsafe extern "C" fn in_main_goroutine() -> c_int {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: a host goroutine's payload is its handle.
    c_int::from(!host.is_null() && unsafe { (*instance::<GoroutineObj>(host)).is_main })
}
