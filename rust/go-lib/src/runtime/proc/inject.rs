//! Gs that somebody claimed together, and how they are readied: by an M with a P, or from outside.
//!
//! # Invariants
//! 1. A claimed G is in no queue and belongs to the claimer.
//!
//! Go: runtime/proc.go (gList, injectglist)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GWAITING};
use crate::runtime::object::m::M;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{park, wake};
use crate::runtime::sched::Sched;

/// Gs whose waits were claimed, to be readied: linked by `schedlink`.
#[must_use = "a claimed waiter that is not readied sleeps for ever"]
pub(crate) struct ReadyList {
    first: *mut G,
    last: *mut G,
    pub(crate) len: usize,
    /// One of them is the host's.
    pub(crate) has_host: bool,
}

impl ReadyList {
    pub(crate) fn new() -> Self {
        ReadyList { first: ptr::null_mut(), last: ptr::null_mut(), len: 0, has_host: false }
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

    /// Readies them from `m`, which holds a P, on g0.
    pub(crate) fn inject(mut self, m: &M) {
        loop {
            let gp = self.pop();
            if gp.is_null() {
                return;
            }
            // SAFETY: by 1.
            unsafe { park::ready(m, gp, false) };
        }
    }

    /// Readies them, all of them threads, and tells how many they were: for a model.
    #[cfg(golib_loom)]
    pub(crate) fn drain_count(mut self) -> usize {
        let mut n = 0;
        loop {
            let gp = self.pop();
            if gp.is_null() {
                return n;
            }
            n += 1;
            // SAFETY: by 1.
            unsafe { park::goready(gp) };
        }
    }

    /// Readies them without a P: Rust goroutines by the global queue, the host's by its inbox.
    pub(crate) fn inject_from_outside(mut self, s: &'static Sched) {
        let mut for_all = ReadyList::new();
        loop {
            let gp = self.pop();
            if gp.is_null() {
                break;
            }
            // SAFETY: by 1; P 0 always exists; a thread-G's M is its own.
            unsafe {
                match (*gp).kind.get() {
                    Kind::Thread => (*(*gp).m.load(Ordering::Relaxed)).park.wakeup(),
                    Kind::Host => {
                        casgstatus(&*gp, GWAITING, GRUNNABLE);
                        (*s.p(0)).hostq.push_inbox(gp);
                    }
                    Kind::Go => for_all.push(gp),
                }
            }
        }
        if self.has_host {
            wake::wake_host(s);
        }
        if !for_all.is_empty() {
            let mut inner = s.inner.lock();
            loop {
                let gp = for_all.pop();
                if gp.is_null() {
                    break;
                }
                // SAFETY: by 1.
                unsafe {
                    casgstatus(&*gp, GWAITING, GRUNNABLE);
                    s.globrunqput(&mut inner, gp);
                }
            }
            drop(inner);
            wake::wake_for_global(s);
        }
    }
}
