//! May a goroutine resume on another OS thread?
//!
//! Every native frame between our entry and the goroutine's outermost call must be movable: the interpreter's own code
//! that keeps no thread-local address and no thread-owned lock. How that is found out: `cpython/movable.c`.

use std::os::raw::c_void;
use std::ptr;

use super::entry::Caller;
use super::ffi;
use super::tstate::ThreadState;

/// Whether the goroutine of `ts`, inside an entry that was called as `caller` says, may move; not without a `caller`.
///
/// # Safety
/// `ts` is attached on this OS thread, and `caller` is the record that the running entry was given.
#[inline]
pub unsafe fn may_migrate(ts: ThreadState, caller: Option<&Caller>) -> bool {
    let frame: *const Caller = caller.map_or(ptr::null(), ptr::from_ref);
    let ret: *const c_void = caller.map_or(ptr::null(), Caller::ret);
    // SAFETY: `ts` is attached here; the record is the running entry's frame.
    unsafe { ffi::golib_may_migrate(ts.as_ptr(), frame, ret) != 0 }
}

/// How often the answer was: movable at first sight, movable after a walk, pinned.
pub fn counts() -> [u64; 3] {
    let mut out = [0; 3];
    // SAFETY: `out` has room for three words.
    unsafe { ffi::golib_movable_counts(out.as_mut_ptr()) };
    out
}
