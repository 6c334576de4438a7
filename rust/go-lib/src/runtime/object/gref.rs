//! A goroutine by name: what others may hold of it, and read.

use std::ptr;

use crate::prim::{AtomicPtr, AtomicU64, Ordering};
use crate::runtime::object::g::{self, G};

/// One goroutine, as long as its `goid` matches: a G is reused after its goroutine's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GRef {
    pub(crate) gp: *mut G,
    goid: u64,
}

// SAFETY: a G is never freed and its shared fields are atomics.
unsafe impl Send for GRef {}
// SAFETY: as Send.
unsafe impl Sync for GRef {}

impl GRef {
    pub(crate) fn new(gp: *mut G) -> GRef {
        // SAFETY: Gs are never freed.
        GRef { gp, goid: unsafe { (*gp).goid.load(Ordering::Relaxed) } }
    }

    pub(crate) fn g(&self) -> &G {
        // SAFETY: Gs are never freed.
        unsafe { &*self.gp }
    }

    /// The goroutine's number.
    pub fn goid(self) -> u64 {
        self.goid
    }

    /// True while the goroutine has not ended.
    pub fn is_alive(self) -> bool {
        // Acquire: pairs with the Release of newproc, which publishes the number, and of casgstatus.
        self.g().goid.load(Ordering::Acquire) == self.goid
            && self.g().status.load(Ordering::Acquire) != g::GDEAD
    }

    /// `runnable`, `running`, a wait reason, or `dead`.
    pub fn status_text(self) -> &'static str {
        if !self.is_alive() {
            return "dead";
        }
        self.g().status_text()
    }

    /// How long it has been waiting, in nanoseconds; 0 if it is not.
    pub fn wait_ns(self) -> u64 {
        if self.is_alive() {
            self.g().wait_ns()
        } else {
            0
        }
    }

    /// Where it was made: the parent's number.
    pub fn created_by(self) -> u64 {
        self.g().created.get().goid
    }

    /// Where it was made, for a goroutine of a Rust function.
    pub(crate) fn location(self) -> Option<&'static std::panic::Location<'static>> {
        self.g().created.get().location
    }

    /// The host's payload; null once it has ended.
    pub fn host(self) -> *mut () {
        if self.is_alive() {
            // Acquire: pairs with the Release of `dies`.
            self.g().host.load(Ordering::Acquire)
        } else {
            std::ptr::null_mut()
        }
    }

    /// The host's state; null before the first run.
    pub fn state(self) -> *mut () {
        // Acquire: pairs with the Release of `seat` and `hand_on` in `proc::stacks`.
        self.g().host_state.load(Ordering::Acquire)
    }

    /// The `pthread_t` of the OS thread that runs it now; 0 if none does.
    pub fn pthread(self) -> u64 {
        let g = self.g();
        // Acquire: pairs with the Release of `runs_now`, then with that of casgstatus.
        let m = g.m.load(Ordering::Acquire);
        let runs = g.status.load(Ordering::Acquire) == g::GRUNNING;
        if m.is_null() || !runs || !self.is_alive() {
            return 0;
        }
        // SAFETY: Ms are never freed.
        unsafe { (*m).pthread.load(Ordering::Relaxed) }
    }

    /// It runs on an OS thread: computing, waiting for the interpreter, or in a call of the host's.
    pub fn is_running(self) -> bool {
        // Acquire: pairs with the Release of casgstatus.
        self.is_alive() && self.g().status.load(Ordering::Acquire) == g::GRUNNING
    }
}

/// A [`GRef`] that one thread at a time may set while any may read it. A reader that meets a change half done gets a
/// G with another's number, which names nobody.
pub struct GRefCell {
    gp: AtomicPtr<G>,
    goid: AtomicU64,
}

impl GRefCell {
    /// With `gref` in it.
    pub fn new(gref: Option<GRef>) -> GRefCell {
        let (gp, goid) = parts(gref);
        GRefCell { gp: AtomicPtr::new(gp), goid: AtomicU64::new(goid) }
    }

    /// Replaces it.
    pub fn set(&self, gref: Option<GRef>) {
        let (gp, goid) = parts(gref);
        self.goid.store(goid, Ordering::Relaxed);
        // Release: the G has been made; pairs with the Acquire in get.
        self.gp.store(gp, Ordering::Release);
    }

    /// What is in it.
    pub fn get(&self) -> Option<GRef> {
        // Acquire: pairs with the Release in set.
        let gp = self.gp.load(Ordering::Acquire);
        (!gp.is_null()).then(|| GRef { gp, goid: self.goid.load(Ordering::Relaxed) })
    }
}

fn parts(gref: Option<GRef>) -> (*mut G, u64) {
    gref.map_or((ptr::null_mut(), 0), |gref| (gref.gp, gref.goid))
}
