//! An asymmetric StoreLoad fence: free on the hot side, a system call on the rare side.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `register()` | prepares the process for `barrier`; false: the system has none |
//! | `barrier()` | returns when every thread of the process that was running has passed a full fence; false: refused |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |
//! | `bsd` | macOS, FreeBSD: has none |
//! | `windows` | Windows |
//!
//! # Memory ordering
//! `light(); load` on a hot thread and `store; heavy(); load` on a rare one act like a pair of
//! `fence(SeqCst)`, by the backend's `barrier`. Where the system has none, both sides are full fences; so they are from the
//! call on that the kernel refuses (a filter on system calls that came later).

use std::sync::atomic::{compiler_fence, fence, AtomicBool, Ordering};

#[cfg(not(any(target_os = "linux", windows)))]
mod bsd;
#[cfg(not(any(target_os = "linux", windows)))]
use bsd::{barrier, register};
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows::{barrier, register};
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux::{barrier, register};

use crate::sys::thread;

/// False while the kernel does the heavy half. Written by `init`, before the first M starts, and by the
/// first heavy fence that the kernel refuses.
static FULL: AtomicBool = AtomicBool::new(true);

/// Registers the process. Call before any thread relies on [`light`]; again in a forked child.
pub(crate) fn init() {
    // SeqCst: pairs with nothing, because no other thread of the runtime exists yet.
    FULL.store(!register(), Ordering::SeqCst);
}

/// The hot side.
#[inline(always)]
pub(crate) fn light() {
    // Relaxed: see `switch_to_full`. SeqCst: pairs with the fences of `heavy`.
    if FULL.load(Ordering::Relaxed) {
        fence(Ordering::SeqCst);
    } else {
        compiler_fence(Ordering::SeqCst);
    }
}

/// The rare side.
pub(crate) fn heavy() {
    heavy_by(&FULL, barrier);
}

fn heavy_by(full: &AtomicBool, barrier: impl Fn() -> bool) {
    // SeqCst: pairs with the fence of `light`.
    fence(Ordering::SeqCst);
    if !full.load(Ordering::Relaxed) && !barrier() {
        switch_to_full(full);
    }
}

/// Lets every later light fence be a full one, and waits out those that were not: a thread that has not
/// yet seen the switch made its store before, and a store reaches the others within microseconds, or with
/// the context switch that takes the thread off its CPU.
#[cold]
fn switch_to_full(full: &AtomicBool) {
    const STORES_ARRIVE_NS: i64 = 1_000_000;
    // SeqCst: the store and the fence pair with the full fence that `light` makes from now on.
    full.store(true, Ordering::SeqCst);
    thread::usleep_ns(STORES_ARRIVE_NS);
    fence(Ordering::SeqCst);
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::heavy_by;

    #[test]
    fn a_heavy_fence_that_the_kernel_refuses_makes_all_fences_full() {
        let (full, calls) = (AtomicBool::new(false), Cell::new(0));
        let answer = |done| {
            calls.set(calls.get() + 1);
            done
        };
        heavy_by(&full, || answer(true));
        assert!(!full.load(Ordering::Relaxed));
        heavy_by(&full, || answer(false));
        assert!(full.load(Ordering::Relaxed));
        heavy_by(&full, || answer(true));
        assert_eq!(calls.get(), 2, "the kernel is asked no more");
    }
}
