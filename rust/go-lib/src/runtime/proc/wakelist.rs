//! Waiters that were claimed under a lock and are readied after it.
//!
//! # Invariants
//! 1. A claimed sudog is in no queue and belongs to the claimer until its G is readied; so its
//!    `next` links the list.
//! 2. Once readied, a G may return and its sudog is gone: `next` is read before.
//!
//! Go: runtime/runtime2.go (gList)

use std::ptr;

use crate::runtime::object::sudog::Sudog;
use crate::runtime::proc::ready::goready;

/// A FIFO of claimed waiters.
#[must_use = "a claimed waiter that is not readied sleeps for ever"]
pub(crate) struct WakeList {
    first: *mut Sudog,
    last: *mut Sudog,
}

impl WakeList {
    pub(crate) fn new() -> Self {
        WakeList { first: ptr::null_mut(), last: ptr::null_mut() }
    }

    /// Appends `sg`.
    ///
    /// # Safety
    /// The caller claimed its wait.
    pub(crate) unsafe fn push(&mut self, sg: *mut Sudog) {
        // SAFETY: by 1.
        unsafe {
            (*sg).next.set(ptr::null_mut());
            if self.last.is_null() {
                self.first = sg;
            } else {
                (*self.last).next.set(sg);
            }
        }
        self.last = sg;
    }

    /// Readies them all, in order; no lock may be held.
    pub(crate) fn ready(self) {
        let mut sg = self.first;
        while !sg.is_null() {
            // SAFETY: by 1 and 2.
            unsafe {
                let gp = (*sg).g;
                sg = (*sg).next.get();
                goready(gp);
            }
        }
    }
}
