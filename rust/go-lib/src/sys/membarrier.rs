//! An asymmetric StoreLoad fence: free on the hot side, a system call on the rare side.
//!
//! # Memory ordering
//! `light(); load` on a hot thread and `store; heavy(); load` on a rare one act like a pair of
//! `fence(SeqCst)`: `membarrier(PRIVATE_EXPEDITED)` makes every running thread of the process
//! pass a full fence. Where the kernel has no membarrier, both sides are full fences.

use std::sync::atomic::{compiler_fence, fence, AtomicBool, Ordering};

const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED: i32 = 1 << 3;

/// True until `init` found that the kernel can do the heavy half. Written once, before the first
/// M starts.
static FULL: AtomicBool = AtomicBool::new(true);

/// Registers the process. Call before any thread relies on [`light`]; again in a forked child.
pub(crate) fn init() {
    // SAFETY: membarrier takes no pointers.
    let r = unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) };
    FULL.store(r != 0, Ordering::SeqCst);
}

/// The hot side.
#[inline(always)]
pub(crate) fn light() {
    // Relaxed: written once before the readers exist.
    if FULL.load(Ordering::Relaxed) {
        fence(Ordering::SeqCst);
    } else {
        compiler_fence(Ordering::SeqCst);
    }
}

/// The rare side.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    if !FULL.load(Ordering::Relaxed) {
        // SAFETY: membarrier takes no pointers; registered in init.
        unsafe { libc::syscall(libc::SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) };
    }
}
