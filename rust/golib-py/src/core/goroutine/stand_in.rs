//! The main goroutine of a `run` on the main thread: it stands in for that thread.

use std::os::raw::c_int;

use go_lib::runtime::embedder;

use super::handle::Goroutine;
use crate::cpython::{main_thread, ThreadState};
use crate::ffi::class::this;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;

/// The goroutine of `g` begins, on its own stack: it may be the one that stands in for the main thread.
///
/// # Safety
/// `ts` is its state, attached here.
#[inline]
pub(super) unsafe fn begins(gil: Gil<'_>, g: &Goroutine, ts: ThreadState) {
    if g.is_main.get(gil.exclusive()) {
        // SAFETY: as the caller says; `run` has lent.
        unsafe { main_thread::begin(ts) };
    }
}

/// Makes the goroutine of `g` an ordinary one. False: it was one already.
#[inline]
pub(crate) fn ends(gil: Gil<'_>, g: &Goroutine) -> bool {
    let was = g.is_main.replace(gil.exclusive(), false);
    if was {
        // SAFETY: the token; it has begun, or been lent for.
        unsafe { main_thread::end() };
    }
    was
}

/// See `cpython::runtime::RuntimeTable`.
pub(crate) unsafe extern "C" fn in_main_goroutine() -> c_int {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: a host goroutine's payload is its handle; C calls us with the GIL.
    let is_main = unsafe {
        !host.is_null() && this::<Goroutine>(host).is_main.get(Gil::assume().exclusive())
    };
    c_int::from(is_main)
}
