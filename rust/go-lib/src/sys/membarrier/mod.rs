//! An asymmetric StoreLoad fence: free on the hot side, a system call on the rare side.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `register()` | prepares the process for `barrier`; false if the system has none |
//! | `barrier()` | returns once every thread of the process that was running has passed a full fence; false if the system refuses |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |
//! | `bsd` | macOS, FreeBSD: has none |
//! | `windows` | Windows |
//!
//! # Memory ordering
//! `light(); load` on a hot thread and `store; heavy(); load` on a rare one act like a pair of
//! `fence(SeqCst)`, thanks to the backend's `barrier`. Where the system has none, both sides are full fences. They become so,
//! too, once the kernel refuses a call because a filter on system calls was installed later.

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

/// False while the kernel does the heavy half. `init` writes it before the first M starts, and the first
/// heavy fence that the kernel refuses writes it again.
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

/// Makes every later light fence a full one, and waits until those that were not have taken effect: a
/// thread that has not seen the switch yet made its store before it, and a store reaches other CPUs
/// within microseconds, or with the context switch that takes the thread off its CPU.
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
