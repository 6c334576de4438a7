//! An M: an OS thread. Either one of ours, which runs goroutines from its g0, or a foreign thread
//! that called into the runtime and has only a thread-G.
//!
//! # Invariants
//! 1. `in_rt`, `retake` and `p` form a biased lock: see `proc::rt`. Outside the runtime
//!    (`in_rt == 0`) sysmon may take the P away.
//! 2. An M is never freed: when its thread has ended, it serves another one (`proc::idle`); the M of a foreign thread
//!    serves another foreign thread.
//! 3. Plain cells belong to the M's own thread.
//!
//! Go: runtime/runtime2.go (m)

use std::cell::Cell;
use std::ptr;

use crate::prim::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::note::Note;
use crate::runtime::object::p::P;

/// Runs on g0 after a goroutine left its stack by `mcall`.
pub(crate) type McallFn = unsafe fn(*mut M, *mut G);

/// The arguments that `gopark` hands to `park_m` over the stack switch.
#[derive(Clone, Copy)]
pub(crate) struct ParkArgs {
    pub(crate) unlockf: unsafe fn(*mut G, *mut ()),
    pub(crate) arg: *mut (),
    pub(crate) deadline_ns: i64,
}

/// No deadline.
pub(crate) const NEVER: i64 = i64::MAX;

/// An OS thread.
#[repr(C, align(64))]
pub(crate) struct M {
    /// 1 while the thread is inside the runtime. Own thread writes, sysmon reads.
    pub(crate) in_rt: AtomicU32,
    /// 1 while sysmon tries to take the P. Sysmon writes under `retake_lock`.
    pub(crate) retake: AtomicU32,
    /// Its goroutine has had its time. sysmon sets, own thread clears.
    pub(crate) yield_asked: AtomicBool,
    /// The P it holds; null on foreign threads. Own thread, or sysmon under the biased lock.
    pub(crate) p: AtomicPtr<P>,
    /// How often it has got a P; sysmon compares (`proc::watch`). Own thread writes.
    pub(crate) stints: AtomicU32,
    /// The goroutine that runs, or the thread-G of a foreign thread; null on g0.
    pub(crate) curg: Cell<*mut G>,
    /// The host state attached on this thread by the runtime.
    pub(crate) attached: Cell<*mut ()>,
    /// Saved stack pointer of the scheduler's loop.
    pub(crate) g0_sp: Cell<usize>,
    pub(crate) mcall_fn: Cell<Option<McallFn>>,
    pub(crate) park_args: Cell<ParkArgs>,
    /// The goroutine left for the one that runs, and not yet settled; whether it waits. See `proc::relay`.
    pub(crate) left: Cell<*mut G>,
    pub(crate) left_waits: Cell<bool>,
    /// The host's value for `may_migrate`.
    pub(crate) caller: Cell<*const ()>,
    /// Its scheduler, for models, which have one each; opaque, since that lies above.
    pub(crate) sched: *const (),
    pub(crate) retake_lock: Mutex,
    /// Sleeping place: idle, locked, or a thread-G's wait.
    pub(crate) park: Note,
    /// The P to take when woken. The waker, before `park.wakeup`.
    pub(crate) nextp: AtomicPtr<P>,
    /// The pinned goroutine for which this M is kept.
    pub(crate) lockedg: Cell<*mut G>,
    /// It sleeps for that goroutine. Under `sched.lock`.
    pub(crate) locked_asleep: Cell<bool>,
    /// Looking for work. Own thread.
    pub(crate) spinning: Cell<bool>,
    /// On no list any more: its thread ends (`proc::idle`).
    pub(crate) ends: Cell<bool>,
    /// Stopped for good (`proc::exit`). Own thread writes.
    pub(crate) stopped: AtomicU32,
    /// xorshift state.
    pub(crate) rng: Cell<u32>,
    pub(crate) id: u32,
    /// A thread that is not ours.
    pub(crate) foreign: bool,
    /// The kernel's thread id; 0 until it runs.
    pub(crate) tid: AtomicU32,
    /// Its `pthread_t`; 0 until it runs.
    pub(crate) pthread: AtomicU64,
    /// The thread-G of a foreign thread; the runtime's own M runs its scheduler as this G.
    pub(crate) g0: G,
}

// SAFETY: by 3 plain cells belong to one thread; the rest is atomic or locked.
unsafe impl Sync for M {}
// SAFETY: as Sync.
unsafe impl Send for M {}

unsafe fn no_unlock(_: *mut G, _: *mut ()) {}

impl M {
    pub(crate) fn new<S>(id: u32, foreign: bool, sched: *const S) -> M {
        M {
            in_rt: AtomicU32::new(1),
            retake: AtomicU32::new(0),
            yield_asked: AtomicBool::new(false),
            p: AtomicPtr::new(ptr::null_mut()),
            stints: AtomicU32::new(0),
            curg: Cell::new(ptr::null_mut()),
            attached: Cell::new(ptr::null_mut()),
            g0_sp: Cell::new(0),
            mcall_fn: Cell::new(None),
            park_args: Cell::new(ParkArgs {
                unlockf: no_unlock,
                arg: ptr::null_mut(),
                deadline_ns: NEVER,
            }),
            left: Cell::new(ptr::null_mut()),
            left_waits: Cell::new(false),
            caller: Cell::new(ptr::null()),
            sched: sched.cast(),
            retake_lock: Mutex::new(),
            park: Note::new(),
            nextp: AtomicPtr::new(ptr::null_mut()),
            lockedg: Cell::new(ptr::null_mut()),
            locked_asleep: Cell::new(false),
            spinning: Cell::new(false),
            ends: Cell::new(false),
            stopped: AtomicU32::new(0),
            rng: Cell::new(id.wrapping_mul(0x9E37_79B9) | 1),
            id,
            foreign,
            tid: AtomicU32::new(0),
            pthread: AtomicU64::new(0),
            g0: G::new(Kind::Thread),
        }
    }

    /// A cheap random number (xorshift32).
    pub(crate) fn cheaprand(&self) -> u32 {
        let mut x = self.rng.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.rng.set(x);
        x
    }

    /// The P, read by the M's own thread inside the runtime.
    #[inline(always)]
    pub(crate) fn pp(&self) -> *mut P {
        // Relaxed: by 1 nobody else changes it now.
        self.p.load(Ordering::Relaxed)
    }
}
