//! The seam's production side: std's atomics and the kernel's futex.

pub(crate) use std::hint::spin_loop as spin_hint;
pub(crate) use std::sync::atomic::{
    fence, AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};

use super::FutexWait;
use crate::sys;

/// The cheap side of an asymmetric StoreLoad fence: free where the kernel can run the other half.
///
/// Pairs with [`heavy_fence`].
#[inline(always)]
pub(crate) fn light_fence() {
    sys::membarrier::light();
}

/// The dear side of an asymmetric StoreLoad fence; pairs with [`light_fence`].
pub(crate) fn heavy_fence() {
    sys::membarrier::heavy();
}

/// Sleeps while `word` holds `expected`, until woken, `deadline_ns` (monotonic) or a signal.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    sys::futex::wait(word, expected, deadline_ns)
}

/// Wakes at most `count` sleepers of `word`.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    sys::futex::wake(word, count);
}
