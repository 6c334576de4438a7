//! Gs that somebody claimed together.
//!
//! # Invariants
//! 1. A claimed G is in no queue and belongs to the claimer.
//!
//! Go: runtime/runtime2.go (gList)

use std::ptr;

use crate::runtime::object::g::{Kind, G};

/// Gs whose waits were claimed, to be readied: linked by `schedlink`.
#[must_use = "a claimed waiter that is not readied sleeps for ever"]
pub(crate) struct ReadyList {
    first: *mut G,
    last: *mut G,
    pub(crate) len: usize,
    /// One of them is the host's.
    pub(crate) has_host: bool,
    /// One of them runs on any P.
    pub(crate) has_go: bool,
}

impl ReadyList {
    pub(crate) fn new() -> Self {
        let (first, last) = (ptr::null_mut(), ptr::null_mut());
        ReadyList { first, last, len: 0, has_host: false, has_go: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Appends `gp`, if it is not null.
    ///
    /// # Safety
    /// The caller claimed its wait.
    pub(crate) unsafe fn push(&mut self, gp: *mut G) {
        if gp.is_null() {
            return;
        }
        // SAFETY: by 1.
        unsafe {
            (*gp).schedlink.set(ptr::null_mut());
            self.has_host |= (*gp).kind.get() == Kind::Host;
            self.has_go |= (*gp).kind.get() == Kind::Go;
            if self.last.is_null() {
                self.first = gp;
            } else {
                (*self.last).schedlink.set(gp);
            }
        }
        self.last = gp;
        self.len += 1;
    }

    /// Takes the first one out; null if there is none.
    pub(crate) fn pop(&mut self) -> *mut G {
        let gp = self.first;
        if !gp.is_null() {
            // SAFETY: by 1. Read before somebody else has the G.
            self.first = unsafe { (*gp).schedlink.get() };
        }
        gp
    }
}
