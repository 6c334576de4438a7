//! A goroutine: its saved context, its status, its wait.
//!
//! An OS thread that calls into the runtime has a G too (`kind == Thread`), so that one code
//! serves both as waiters; its G sleeps on its M's note instead of leaving a stack.
//!
//! # Invariants
//! 1. A G is never freed: it lives in a slab and is reused. A stale pointer is always readable,
//!    the generation in `wait` tells one wait from the next, `goid` one goroutine from the next.
//! 2. Only `proc` writes `status`, through `casgstatus` and its table.
//! 3. The fields without atomics are written by the M that runs the G, by its creator before it
//!    is runnable, or by the queue that holds it (`schedlink`).
//! 4. Every wait is decided by one CAS on `wait`, see `waitword`.
//!
//! Go: runtime/runtime2.go (g), runtime/HACKING.md

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::runtime::object::m::M;
use crate::runtime::object::stack::Stack;
use crate::runtime::object::start::Start;
use crate::runtime::object::timers::Timer;
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::object::waitword::WaitWord;
use crate::sys::arch;
use crate::sys::clock::nanotime;

/// Just allocated.
pub(crate) const GIDLE: u32 = 0;
/// On a run queue, not running.
pub(crate) const GRUNNABLE: u32 = 1;
/// Running user code on an M.
pub(crate) const GRUNNING: u32 = 2;
/// Parked; not on a run queue.
pub(crate) const GWAITING: u32 = 4;
/// Ended; on a free list.
pub(crate) const GDEAD: u32 = 6;

/// The kind of a G.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A goroutine of a Rust closure.
    Go,
    /// A goroutine that runs in the embedder's interpreter.
    Host,
    /// An OS thread that called into the runtime, or an M's own g0.
    Thread,
}

/// The function of a Rust goroutine.
pub(crate) type GoFn = Box<dyn FnOnce() + Send + 'static>;

/// Where a goroutine was made.
#[derive(Clone, Copy)]
pub(crate) struct CreatedBy {
    pub(crate) goid: u64,
    pub(crate) location: Option<&'static std::panic::Location<'static>>,
}

/// A goroutine or an OS thread in the runtime's eyes.
#[repr(C, align(64))]
pub struct G {
    /// Saved stack pointer. The M that switches away from or to the G.
    pub(crate) sched_sp: Cell<usize>,
    /// When it began to wait (monotonic ns; 0 = not yet looked at). `proc`, sysmon.
    pub(crate) waitsince: AtomicU64,
    /// See `proc::status`. By 2.
    pub(crate) status: AtomicU32,
    /// The kind of the G. Creator.
    pub(crate) kind: Cell<Kind>,
    /// The host's own servant: neither counted nor shown. Creator.
    pub(crate) system: Cell<bool>,
    /// Why it waits; meaningful in GWAITING. Itself, before parking.
    pub(crate) waitreason: Cell<WaitReason>,
    /// The sudog that was claimed, left by the claimer. The claimer, before goready.
    pub(crate) param: Cell<*mut ()>,
    /// A park must keep the M: `lock_os_thread` depth plus the host's holds. Itself.
    pub(crate) lock_depth: Cell<u32>,
    /// Depth of announced blocking calls (Go's Gsyscall, but they nest and may use the runtime).
    /// Itself; sysmon and dumps read it.
    pub(crate) syscalls: AtomicU32,
    /// The claim word.
    pub(crate) wait: WaitWord,
    /// The M that runs it, or that is kept for it (`lockedm`). `proc`.
    pub(crate) m: AtomicPtr<M>,
    /// The M that is kept for it while it is parked. `proc`.
    pub(crate) lockedm: AtomicPtr<M>,
    /// The embedder's thread state, null before the first run. The M that runs it.
    pub(crate) host_state: AtomicPtr<()>,
    /// The embedder's payload for this goroutine. Creator; null after its end.
    pub(crate) host: AtomicPtr<()>,
    /// The stack, given at the first run. `proc`.
    pub(crate) stack: UnsafeCell<Stack>,
    /// Below it the goroutine's frames start; above it is the host's part. `proc`.
    pub(crate) stack_top: Cell<usize>,
    /// Identity, never reused; 0 for g0s.
    pub(crate) goid: AtomicU64,
    /// Wished stack size in bytes, 0 = default. Creator.
    pub(crate) stack_bytes: AtomicUsize,
    /// Link of the queue that holds the G (run queue, free list). The queue's owner.
    pub(crate) schedlink: Cell<*mut G>,
    /// The Rust function, until it runs. Creator, then itself.
    pub(crate) start: UnsafeCell<Start>,
    /// Where it was made. Creator.
    pub(crate) created: Cell<CreatedBy>,
    /// The timer of the wait under way: a sleep or a timeout.
    pub(crate) timer: Timer,
}

// SAFETY: by 3 every plain field has one owner at a time; ownership moves through queues, locks
// and the status word, which order the accesses.
unsafe impl Sync for G {}
// SAFETY: as Sync.
unsafe impl Send for G {}

impl G {
    /// Prefetches the first fields that will be needed of a G whose turn comes soon. If there are many goroutines,
    /// each has left the caches by then.
    #[inline(always)]
    pub(crate) fn bring_near(gp: *const G) {
        const LINE: usize = 64;
        if !gp.is_null() {
            for line in 0..3 {
                arch::prefetch(gp as usize + line * LINE);
            }
        }
    }

    /// Prefetches what a switch to this G reads first: the top of its stack and the host's state.
    #[inline(always)]
    pub(crate) fn bring_context_near(&self) {
        const LINE: usize = 64;
        if cfg!(golib_loom) {
            return; // A load more would only make the models larger.
        }
        let (sp, state) = (self.sched_sp.get(), self.host_state.load(Ordering::Relaxed).addr());
        for line in 0..4 {
            arch::prefetch(sp.wrapping_add(line * LINE));
        }
        arch::prefetch(state);
        arch::prefetch(state.wrapping_add(LINE));
    }

    /// A G in Gidle.
    pub(crate) fn new(kind: Kind) -> G {
        G {
            sched_sp: Cell::new(0),
            schedlink: Cell::new(ptr::null_mut()),
            status: AtomicU32::new(GIDLE),
            kind: Cell::new(kind),
            system: Cell::new(false),
            waitreason: Cell::new(WaitReason::Zero),
            param: Cell::new(ptr::null_mut()),
            lock_depth: Cell::new(0),
            syscalls: AtomicU32::new(0),
            wait: WaitWord::new(),
            m: AtomicPtr::new(ptr::null_mut()),
            lockedm: AtomicPtr::new(ptr::null_mut()),
            host_state: AtomicPtr::new(ptr::null_mut()),
            host: AtomicPtr::new(ptr::null_mut()),
            stack: UnsafeCell::new(Stack::NONE),
            stack_top: Cell::new(0),
            goid: AtomicU64::new(0),
            stack_bytes: AtomicUsize::new(0),
            waitsince: AtomicU64::new(0),
            start: UnsafeCell::new(Start::NONE),
            created: Cell::new(CreatedBy { goid: 0, location: None }),
            timer: Timer::new(),
        }
    }

    /// The status in the words of a dump.
    pub(crate) fn status_text(&self) -> &'static str {
        // Acquire: pairs with the Release of casgstatus.
        match self.status.load(Ordering::Acquire) {
            GIDLE => "idle",
            GRUNNABLE => "runnable",
            GRUNNING if self.syscalls.load(Ordering::Relaxed) > 0 => "syscall",
            GRUNNING => "running",
            GWAITING => {
                let text = self.waitreason.get().text();
                if text.is_empty() {
                    "waiting"
                } else {
                    text
                }
            }
            _ => "dead",
        }
    }

    /// How long a waiting G has been waiting, as far as sysmon has noticed.
    pub(crate) fn wait_ns(&self) -> u64 {
        // Acquire: pairs with the Release of casgstatus.
        if self.status.load(Ordering::Acquire) == GWAITING {
            self.waited_ns()
        } else {
            0
        }
    }

    /// How long ago its last wait began, as far as sysmon has noticed; 0 for a thread's.
    pub(crate) fn waited_ns(&self) -> u64 {
        let since = self.waitsince.load(Ordering::Relaxed);
        if since == 0 || self.kind.get() == Kind::Thread {
            0
        } else {
            (nanotime() as u64).saturating_sub(since)
        }
    }
}
