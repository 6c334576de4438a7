//! A P: the right to run goroutines, with the queues and caches that go with it.
//!
//! # Invariants
//! 1. A P is held by at most one M; only the holder touches plain cells.
//! 2. P 0 has the interpreter's right (`hostq`), exists from the start and never stops.
//! 3. `status` changes under `sched.lock`, or by the holder.
//!
//! Go: runtime/runtime2.go (p)

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use crate::prim::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, Ordering};
use crate::runtime::object::g::G;
use crate::runtime::object::hostq::HostQ;
use crate::runtime::object::m::M;
use crate::runtime::object::runq::RunQ;
use crate::runtime::object::stack::Bound;
use crate::runtime::object::timers::Timers;

/// On the idle list.
pub(crate) const PIDLE: u32 = 0;
/// Held by an M.
pub(crate) const PRUNNING: u32 = 1;
/// Beyond GOMAXPROCS.
pub(crate) const PDEAD: u32 = 4;

/// A list of dead Gs, linked by `schedlink`.
pub(crate) struct GList {
    first: Cell<*mut G>,
    pub(crate) len: Cell<u32>,
}

impl GList {
    pub(crate) const fn new() -> Self {
        GList { first: Cell::new(ptr::null_mut()), len: Cell::new(0) }
    }

    /// Adds a G.
    ///
    /// # Safety
    /// The caller owns the list and the G.
    #[inline]
    pub(crate) unsafe fn push(&self, gp: *mut G) {
        // SAFETY: the caller's duty.
        unsafe { (*gp).schedlink.set(self.first.get()) };
        self.first.set(gp);
        self.len.set(self.len.get() + 1);
    }

    /// Takes a G; null when empty.
    ///
    /// # Safety
    /// The caller owns the list.
    #[inline]
    pub(crate) unsafe fn pop(&self) -> *mut G {
        let gp = self.first.get();
        if !gp.is_null() {
            // SAFETY: listed Gs are valid.
            let after = unsafe { (*gp).schedlink.get() };
            G::bring_near(after);
            self.first.set(after);
            self.len.set(self.len.get() - 1);
        }
        gp
    }
}

/// Gs in the order in which they came, linked by `schedlink`.
pub(crate) struct GFifo {
    first: *mut G,
    last: *mut G,
}

impl GFifo {
    pub(crate) const EMPTY: GFifo = GFifo { first: ptr::null_mut(), last: ptr::null_mut() };

    /// Adds a G.
    ///
    /// # Safety
    /// The caller owns the list and the G.
    pub(crate) unsafe fn push(&mut self, gp: *mut G) {
        // SAFETY: the caller's duty.
        unsafe {
            (*gp).schedlink.set(ptr::null_mut());
            match self.last.as_ref() {
                Some(last) => last.schedlink.set(gp),
                None => self.first = gp,
            }
        }
        self.last = gp;
    }

    /// Takes the first G; null when empty.
    pub(crate) fn pop(&mut self) -> *mut G {
        let gp = self.first;
        // SAFETY: listed Gs are valid, and the list's.
        if let Some(g) = unsafe { gp.as_ref() } {
            self.first = g.schedlink.get();
            if self.first.is_null() {
                self.last = ptr::null_mut();
            }
        }
        gp
    }
}

/// A processor.
#[repr(align(64))]
pub(crate) struct P {
    pub(crate) id: u32,
    /// By 2.
    right: bool,
    pub(crate) status: AtomicU32,
    /// The M that holds it.
    pub(crate) m: AtomicPtr<M>,
    /// Grows at each switch to a goroutine; sysmon compares.
    pub(crate) schedtick: AtomicU32,
    /// Goroutines chosen to run, by find_runnable or directly.
    pub(crate) looks: Cell<u32>,
    /// The value of `looks` at which find_runnable must choose. See `proc::find`.
    pub(crate) far_look: Cell<u32>,
    /// sysmon saw a due timer, or the end has come: find_runnable must choose.
    pub(crate) timers_due: AtomicBool,
    /// GOMAXPROCS shrank below this P.
    pub(crate) stop: AtomicBool,
    /// Runnable goroutines of the host (P 0 only).
    pub(crate) hostq: HostQ,
    /// Runnable Rust goroutines.
    pub(crate) runq: RunQ,
    pub(crate) timers: Timers,
    /// Dead Gs.
    pub(crate) gfree: GList,
    /// Stacks of the default size for the next first runs: Rust's, the host's.
    pub(crate) stacks: [UnsafeCell<Vec<Bound>>; 2],
    /// The next stack that is taken back must be trimmed. sysmon sets, the holder clears.
    pub(crate) trim_due: AtomicBool,
    /// Goroutines ended since stacks were trimmed.
    pub(crate) exits: Cell<u32>,
    /// Goroutine numbers reserved for this P.
    pub(crate) goid_next: Cell<u64>,
    pub(crate) goid_end: Cell<u64>,
    /// Made minus ended here. The holder writes, others read.
    pub(crate) gcount: AtomicI64,
}

// SAFETY: by 1.
unsafe impl Sync for P {}
// SAFETY: by 1.
unsafe impl Send for P {}

impl P {
    pub(crate) fn new(id: u32) -> P {
        P {
            id,
            right: id == 0,
            status: AtomicU32::new(PDEAD),
            m: AtomicPtr::new(ptr::null_mut()),
            schedtick: AtomicU32::new(0),
            looks: Cell::new(0),
            far_look: Cell::new(1),
            timers_due: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            hostq: HostQ::new(),
            runq: RunQ::new(),
            timers: Timers::new(),
            gfree: GList::new(),
            stacks: [UnsafeCell::new(Vec::new()), UnsafeCell::new(Vec::new())],
            trim_due: AtomicBool::new(false),
            exits: Cell::new(0),
            goid_next: Cell::new(0),
            goid_end: Cell::new(0),
            gcount: AtomicI64::new(0),
        }
    }

    /// Has the interpreter's right. By 2.
    #[inline(always)]
    pub(crate) fn has_right(&self) -> bool {
        self.right
    }

    /// The host's goroutine `gp` lives here and nowhere else: all of them do where the right is. See `Sched::home_of`.
    #[inline(always)]
    pub(crate) fn is_home_of(&self, _gp: *mut G) -> bool {
        self.right
    }

    /// Nothing runnable in its queues.
    pub(crate) fn is_idle_inside(&self) -> bool {
        self.runq.is_empty() && (!self.has_right() || self.hostq.is_empty())
    }

    /// Adds to the count of live goroutines. The holder only.
    #[inline(always)]
    pub(crate) fn add_gcount(&self, n: i64) {
        // Relaxed, no RMW: one writer, readers want a sum at some instant.
        self.gcount.store(self.gcount.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}
