//! How the runtime gives a goroutine the interpreter. A goroutine's host state is its `PyThreadState`.
//!
//! # Invariants
//! 1. `attach`, `detach`, `swap` run on g0, where no PyO3 token exists; `swap_at_once` runs on a goroutine's stack, and
//!    only stores.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cpython::{self, movable, Caller, ThreadState};

/// Thread states made for goroutines and not deleted.
static STATES: AtomicUsize = AtomicUsize::new(0);

/// How many there are.
pub(crate) fn states() -> usize {
    STATES.load(Ordering::Relaxed)
}

/// In a forked child: CPython is about to delete every state but the caller's, which is a goroutine's or not.
pub(crate) fn after_fork(in_goroutine: bool) {
    STATES.store(usize::from(in_goroutine), Ordering::Relaxed);
}

pub(crate) fn state_of(state: *mut ()) -> ThreadState {
    match ThreadState::from_ptr(state.cast()) {
        Some(ts) => ts,
        // The runtime hands out what bind returned, which is never null.
        None => std::process::abort(),
    }
}

pub(crate) unsafe fn bind(lo: usize, hi: usize) -> Option<(*mut (), usize)> {
    let ts = ThreadState::new()?;
    STATES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a new state, and a stack that stays mapped forever.
    let top = unsafe { ts.arm(lo as *mut u8, hi as *mut u8) };
    Some((ts.as_ptr().cast(), top as usize))
}

pub(crate) unsafe fn attach(state: *mut ()) {
    // SAFETY: the runtime's invariants: on g0, attached nowhere.
    unsafe { state_of(state).attach() }
}

pub(crate) unsafe fn detach(state: *mut ()) {
    // SAFETY: attached on this M, which has no state of its own.
    unsafe { state_of(state).detach() }
}

pub(crate) unsafe fn swap(from: *mut (), to: *mut ()) {
    // SAFETY: `from` is attached here; only P 0's M, which we are, attaches either.
    unsafe { state_of(from).swap(state_of(to)) }
}

pub(crate) unsafe fn swap_at_once(from: *mut (), to: *mut ()) -> bool {
    // SAFETY: as swap.
    unsafe { state_of(from).swap_at_once(state_of(to)) }
}

pub(crate) unsafe fn discard(state: *mut ()) {
    STATES.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: attached here; its goroutine has ended.
    unsafe { state_of(state).delete_current() }
}

pub(crate) unsafe fn may_migrate(state: *mut (), caller: *const ()) -> bool {
    // SAFETY: attached here; the record is the parked entry's and lies on its stack.
    unsafe { movable::may_migrate(state_of(state), caller.cast::<Caller>().as_ref()) }
}

pub(crate) unsafe fn is_free() -> bool {
    !cpython::gil_locked()
}
