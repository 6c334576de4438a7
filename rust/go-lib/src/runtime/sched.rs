//! The state that all Ms share: idle lists, the global queue, all Gs, Ms and Ps.
//!
//! # Invariants
//! 1. `inner` is behind one lock (Go's sched.lock); no other lock is taken under it.
//! 2. `npidle` and `nmspinning` are hints read without the lock; an M that decides to sleep
//!    re-reads the queues after a SeqCst fence that pairs with the one in `proc::wake` (see there).
//! 3. The scheduler is a value: a model or a forked child builds a new one.
//!
//! Go: runtime/runtime2.go (schedt)

use std::ptr;

use crate::prim::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::runtime::object::due::{SchedTrace, WaitStamps, Watch};
use crate::runtime::object::g::{G, GDEAD, GIDLE};
use crate::runtime::object::gref::GRef;
use crate::runtime::object::lock::Locked;
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::object::note::Note;
use crate::runtime::object::p::{GFifo, GList, P};
use crate::runtime::object::stack::{Bound, Stack, Stacks};
use crate::runtime::object::stackpool::Pool;
use crate::runtime::poller::Netpoll;

/// The maximum number of Ps: more could not have a thread each. A model has few.
pub(crate) const MAX_PROCS: usize = if cfg!(golib_loom) { 2 } else { DEFAULT_MAX_THREADS };
/// Ps with a place in the scheduler itself.
const NEAR_PROCS: usize = if cfg!(golib_loom) { 2 } else { 256 };
/// Go's limit of threads.
const DEFAULT_MAX_THREADS: usize = 10_000;

/// How many idle Ms stay at least (`proc::idle`). In a model all do, unless it says otherwise.
pub(crate) const KEEP_IDLE: usize = if cfg!(golib_loom) { usize::MAX } else { 4 };

/// Guarded by `Sched::inner`.
pub(crate) struct Inner {
    /// Idle Ps; P 0 is taken last by Rust work.
    pub(crate) pidle: Vec<*mut P>,
    /// Ms asleep on their note.
    pub(crate) midle: Vec<*mut M>,
    /// The idle M that sleeps until the earliest timer, or in the network poller; also in `midle`.
    pub(crate) poller: *mut M,
    /// The global queue, linked by `schedlink`.
    pub(crate) runq_first: *mut G,
    pub(crate) runq_last: *mut G,
    /// All of the runtime's own Ms.
    pub(crate) allm: Vec<*mut M>,
    /// Ms whose threads have ended, for the next ones (`proc::idle`).
    pub(crate) mdead: Vec<*mut M>,
    /// Ms of foreign threads that ended.
    pub(crate) free_foreign: Vec<*mut M>,
    /// Dead Gs.
    pub(crate) gfree: GList,
    /// Gs that wait for a stack: Rust's, the host's (`proc::stackless`).
    pub(crate) stackless: [GFifo; 2],
    /// Unused stacks of the default size: Rust's, the host's.
    pub(crate) stack_pool: [Pool; 2],
    /// Unused stacks of other sizes: (size, the host's, stack).
    pub(crate) stacks_sized: Vec<(usize, bool, Bound)>,
    /// Stacks for which the host had no memory for a state, by size.
    pub(crate) unbound: Vec<(usize, Stack)>,
    /// Ms of foreign threads in use.
    pub(crate) foreign: Vec<*mut M>,
    /// Ms asleep for their pinned goroutine.
    pub(crate) locked_asleep: usize,
}

// SAFETY: the raw pointers are to things that are never freed; the lock orders access.
unsafe impl Send for Inner {}

/// The scheduler.
pub(crate) struct Sched {
    pub(crate) inner: Locked<Inner>,
    /// Length of the global queue.
    pub(crate) runqsize: AtomicUsize,
    pub(crate) npidle: AtomicU32,
    pub(crate) nmspinning: AtomicU32,
    /// All Ps that ever were; the first `gomaxprocs` are in use.
    pub(crate) allp: [AtomicPtr<P>; NEAR_PROCS],
    /// The places of the others: `MAX_PROCS - NEAR_PROCS` of them once there is one, forever.
    far_p: AtomicPtr<AtomicPtr<P>>,
    pub(crate) gomaxprocs: AtomicUsize,
    /// Every G of a goroutine.
    pub(crate) allgs: Locked<Vec<GPtr>>,
    /// Thread-Gs that sleep in the runtime without a deadline.
    pub(crate) threads_asleep: AtomicUsize,
    pub(crate) goid: AtomicU64,
    /// Goroutines made minus ended without a P.
    pub(crate) gcount: AtomicI64,
    /// The poller sleeps until then; i64::MAX: nobody polls or no timer.
    pub(crate) poll_until: AtomicI64,
    /// sysmon's sleep.
    pub(crate) sysmon_note: Note,
    /// Its kernel's thread id; 0 until it runs.
    pub(crate) sysmon_tid: AtomicU32,
    /// 1: sysmon sleeps for long, or until kicked.
    pub(crate) sysmon_sleeps: AtomicU32,
    /// The host is ending. `proc::exit` sets it, and says what else the end consists of.
    pub(crate) exiting: AtomicBool,
    pub(crate) nthreads: AtomicUsize,
    /// Ms started ahead that are not idle yet (`proc::idle`).
    pub(crate) starting: AtomicUsize,
    /// How many idle Ms stay (`proc::idle`).
    pub(crate) keep_idle: AtomicUsize,
    pub(crate) max_threads: AtomicUsize,
    /// How many Ps to start with; 0: as many as there are CPUs.
    pub(crate) wanted_procs: AtomicUsize,
    /// A forked child's main thread runs a goroutine, which gets the report of a deadlock.
    pub(crate) main_is_goroutine: AtomicBool,
    /// A thread or a stack was refused lately (errno); the next spawn reports it.
    pub(crate) refused: AtomicU32,
    /// stderr already says that goroutines wait for a thread.
    pub(crate) told_no_thread: AtomicBool,
    /// How many Gs wait for a stack. Written under `inner`.
    pub(crate) stackless: AtomicUsize,
    /// One of them is trying again.
    pub(crate) stack_try: AtomicBool,
    pub(crate) stacks: Stacks,
    /// Serialises start-up and GOMAXPROCS changes.
    pub(crate) resize: crate::runtime::object::lock::Mutex,
    /// Everything looked asleep: sysmon must make sure.
    pub(crate) maybe_dead: AtomicBool,
    /// Ms that have given the interpreter up with the locks of their goroutine's wait held.
    pub(crate) unlocking: AtomicUsize,
    pub(crate) netpoll: Netpoll,
    pub(crate) trace: SchedTrace,
    pub(crate) waits: WaitStamps,
    pub(crate) watch: Watch,
    /// sysmon has stopped (`proc::exit`).
    pub(crate) sysmon_stopped: AtomicBool,
    /// Ms made since the start; for ids.
    pub(crate) mid: AtomicU32,
    /// Ps taken from Ms, for stats.
    pub(crate) handoffs: AtomicU64,
}

/// A pointer to a G, which is never freed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GPtr(pub(crate) *mut G);
// SAFETY: Gs are Sync and never freed.
unsafe impl Send for GPtr {}

impl Sched {
    pub(crate) fn new() -> Sched {
        Sched {
            inner: Locked::new(Inner {
                pidle: Vec::new(),
                midle: Vec::new(),
                poller: ptr::null_mut(),
                runq_first: ptr::null_mut(),
                runq_last: ptr::null_mut(),
                allm: Vec::new(),
                mdead: Vec::new(),
                free_foreign: Vec::new(),
                gfree: GList::new(),
                stackless: [GFifo::EMPTY; 2],
                stack_pool: Default::default(),
                stacks_sized: Vec::new(),
                unbound: Vec::new(),
                foreign: Vec::new(),
                locked_asleep: 0,
            }),
            runqsize: AtomicUsize::new(0),
            npidle: AtomicU32::new(0),
            nmspinning: AtomicU32::new(0),
            allp: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            far_p: AtomicPtr::new(ptr::null_mut()),
            gomaxprocs: AtomicUsize::new(0),
            allgs: Locked::new(Vec::new()),
            threads_asleep: AtomicUsize::new(0),
            goid: AtomicU64::new(0),
            gcount: AtomicI64::new(0),
            netpoll: Netpoll::new(),
            trace: SchedTrace::new(),
            waits: WaitStamps::new(),
            watch: Watch::new(),
            poll_until: AtomicI64::new(i64::MAX),
            sysmon_note: Note::new(),
            sysmon_tid: AtomicU32::new(0),
            sysmon_sleeps: AtomicU32::new(0),
            exiting: AtomicBool::new(false),
            nthreads: AtomicUsize::new(0),
            starting: AtomicUsize::new(0),
            keep_idle: AtomicUsize::new(KEEP_IDLE),
            max_threads: AtomicUsize::new(DEFAULT_MAX_THREADS),
            wanted_procs: AtomicUsize::new(0),
            main_is_goroutine: AtomicBool::new(false),
            refused: AtomicU32::new(0),
            told_no_thread: AtomicBool::new(false),
            stackless: AtomicUsize::new(0),
            stack_try: AtomicBool::new(false),
            stacks: Stacks::new(),
            resize: crate::runtime::object::lock::Mutex::new(),
            maybe_dead: AtomicBool::new(false),
            unlocking: AtomicUsize::new(0),
            sysmon_stopped: AtomicBool::new(false),
            mid: AtomicU32::new(0),
            handoffs: AtomicU64::new(0),
        }
    }

    /// P number `i`; null if it never was.
    #[inline(always)]
    pub(crate) fn p(&self, i: usize) -> *mut P {
        // Acquire: pairs with the Release in set_p.
        match self.allp.get(i) {
            Some(place) => place.load(Ordering::Acquire),
            None => self.far_p(i),
        }
    }

    #[cold]
    #[inline(never)]
    fn far_p(&self, i: usize) -> *mut P {
        // Acquire: pairs with the Release in set_p.
        let places = self.far_p.load(Ordering::Acquire);
        if places.is_null() || i >= MAX_PROCS {
            return ptr::null_mut();
        }
        // SAFETY: the array has that many places, and is never freed.
        unsafe { (*places.add(i - NEAR_PROCS)).load(Ordering::Acquire) }
    }

    /// Makes `p` P number `i`. Under `resize`.
    pub(crate) fn set_p(&self, i: usize, p: P) {
        let place = self.allp.get(i).unwrap_or_else(|| {
            let mut places = self.far_p.load(Ordering::Relaxed);
            if places.is_null() {
                let new = (NEAR_PROCS..MAX_PROCS).map(|_| AtomicPtr::new(ptr::null_mut()));
                places = Vec::leak(new.collect()).as_mut_ptr();
                // Release: publishes the places; pairs with far_p.
                self.far_p.store(places, Ordering::Release);
            }
            // SAFETY: the array has that many places, and is never freed.
            unsafe { &*places.add(i - NEAR_PROCS) }
        });
        // Release: publishes the P.
        place.store(Box::into_raw(Box::new(p)), Ordering::Release);
    }

    /// The host is ending: every M that notices stops, sooner or later.
    #[inline(always)]
    pub(crate) fn is_ending(&self) -> bool {
        // Relaxed: a hint to look; what must not be missed is ordered in `proc::exit`.
        self.exiting.load(Ordering::Relaxed)
    }

    /// P 0, which exists from the start and never stops: where a timer goes that is armed without a P.
    #[inline(always)]
    pub(crate) fn first_p(&self) -> &P {
        // SAFETY: whoever asks comes after the start; Ps are never freed.
        unsafe { &*self.p(0) }
    }

    /// The Ps that have the interpreter's right, each the home of some of the host's goroutines: today the first one alone.
    pub(crate) fn homes(&self) -> impl Iterator<Item = &P> + '_ {
        std::iter::once(self.first_p())
    }

    /// The P in whose queue the host's goroutine `gp` belongs, wherever it was readied.
    #[inline(always)]
    pub(crate) fn home_of(&self, _gp: *mut G) -> &P {
        self.first_p()
    }

    /// Every P that ever was, including those that GOMAXPROCS retired, whose timers still count.
    pub(crate) fn every_p(&self) -> impl Iterator<Item = &P> + '_ {
        // SAFETY: Ps are never freed.
        (0..MAX_PROCS).map_while(|i| unsafe { self.p(i).as_ref() })
    }

    /// When the earliest timer of all Ps is due.
    pub(crate) fn earliest_timer(&self) -> i64 {
        self.every_p().map(|p| p.timers.next_when()).min().unwrap_or(NEVER)
    }

    /// The Ps in use.
    pub(crate) fn procs(&self) -> impl Iterator<Item = &P> + '_ {
        // Acquire: pairs with the Release of `grow`, which makes the Ps before.
        let n = self.gomaxprocs.load(Ordering::Acquire);
        // SAFETY: Ps are never freed; those below gomaxprocs exist.
        (0..n).map(|i| unsafe { &*self.p(i) })
    }

    /// Calls `f` with every live goroutine but the host's servants, in the order in which their Gs were made.
    pub(crate) fn for_each_g(&self, f: &mut dyn FnMut(GRef)) {
        // Copied: f may take as long as it likes and even make goroutines.
        let all: Vec<_> = self.allgs.lock().clone();
        for gp in all {
            // SAFETY: Gs are never freed. Acquire: pairs with the Release of casgstatus.
            let (status, system) =
                unsafe { ((*gp.0).status.load(Ordering::Acquire), (*gp.0).system.get()) };
            if status != GDEAD && status != GIDLE && !system {
                f(GRef::new(gp.0));
            }
        }
    }

    /// In a forked child: makes the waits of all goroutines and threads but `except` unclaimable.
    ///
    /// # Safety
    /// The process has one thread. A lock may be held by a thread that is gone, so none is taken.
    pub(crate) unsafe fn kill_waits_behind_locks(&self, except: *mut G) {
        // SAFETY: nobody else exists to change what the locks guard.
        unsafe {
            for gp in self.allgs.get_behind_lock().iter().filter(|gp| gp.0 != except) {
                (*gp.0).wait.kill();
            }
            for &m in &self.inner.get_behind_lock().foreign {
                if !std::ptr::eq(&(*m).g0, except) {
                    (*m).g0.wait.kill();
                }
            }
        }
    }

    /// Appends `gp` to the global queue.
    ///
    /// # Safety
    /// `gp` is runnable and in no queue.
    pub(crate) unsafe fn globrunqput(&self, inner: &mut Inner, gp: *mut G) {
        // SAFETY: the caller's duty; the lock is held.
        unsafe {
            (*gp).schedlink.set(ptr::null_mut());
            if inner.runq_last.is_null() {
                inner.runq_first = gp;
            } else {
                (*inner.runq_last).schedlink.set(gp);
            }
        }
        inner.runq_last = gp;
        // Relaxed: under the lock; readers without it take a hint.
        self.runqsize.store(self.runqsize.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Takes the first G of the global queue; null when empty.
    pub(crate) fn globrunqpop(&self, inner: &mut Inner) -> *mut G {
        let gp = inner.runq_first;
        if !gp.is_null() {
            // SAFETY: queued Gs are valid; the lock is held.
            inner.runq_first = unsafe { (*gp).schedlink.get() };
            if inner.runq_first.is_null() {
                inner.runq_last = ptr::null_mut();
            }
            self.runqsize.store(self.runqsize.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        gp
    }
}

#[cfg(not(golib_loom))]
static SCHED: std::sync::atomic::AtomicPtr<Sched> =
    std::sync::atomic::AtomicPtr::new(ptr::null_mut());

/// The scheduler of this process.
#[cfg(not(golib_loom))]
#[inline(always)]
pub(crate) fn sched() -> &'static Sched {
    // Acquire: pairs with the Release below. SAFETY: never freed once set.
    match unsafe { SCHED.load(Ordering::Acquire).as_ref() } {
        Some(s) => s,
        None => make_sched(),
    }
}

// Never inlined: it would have its caller's frame, in a goroutine's first page, grow by 3 KiB.
#[cfg(not(golib_loom))]
#[cold]
#[inline(never)]
fn make_sched() -> &'static Sched {
    let new = Box::into_raw(Box::new(Sched::new()));
    // AcqRel: Release publishes the new one, Acquire sees the one that was faster.
    match SCHED.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just leaked.
        Ok(_) => unsafe { &*new },
        Err(theirs) => {
            // SAFETY: ours was never published; theirs is never freed.
            unsafe {
                drop(Box::from_raw(new));
                &*theirs
            }
        }
    }
}

/// The scheduler of this process, if anything has needed it yet.
#[cfg(not(golib_loom))]
pub(crate) fn sched_if_made() -> Option<&'static Sched> {
    // SAFETY: never freed once set. Acquire: pairs with the Release in replace_sched.
    unsafe { SCHED.load(Ordering::Acquire).as_ref() }
}

/// Replaces the scheduler in a forked child; the old one stays untouched.
#[cfg(not(golib_loom))]
pub(crate) fn replace_sched() -> &'static Sched {
    let new = Box::into_raw(Box::new(Sched::new()));
    // Release: publishes the scheduler; pairs with the Acquire in `sched`.
    SCHED.store(new, Ordering::Release);
    // SAFETY: just leaked.
    unsafe { &*new }
}

/// In a model the scheduler hangs on the thread's M.
#[cfg(golib_loom)]
pub(crate) fn sched() -> &'static Sched {
    // SAFETY: models make an M, with its scheduler, for each of their threads first.
    unsafe { &*(*crate::sys::tls::get().cast::<M>()).sched.cast::<Sched>() }
}

static DEBUG_MIGRATE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// A debug switch: every movable host goroutine resumes on another OS thread after each park.
pub fn set_debug_migrate(on: bool) {
    DEBUG_MIGRATE.store(on, Ordering::Relaxed);
}

/// See [`set_debug_migrate`].
#[inline(always)]
pub(crate) fn debug_migrate() -> bool {
    DEBUG_MIGRATE.load(Ordering::Relaxed)
}
