//! The scheduler's hands: the only code that moves a G between states and queues.
//!
//! | file | holds |
//! |---|---|
//! | `status` | casgstatus and the table of legal transitions |
//! | `park` | gopark, goready, gosched |
//! | `direct`, `relay` | from one goroutine to the next without g0: the host's, Rust's |
//! | `schedule` | the loop of an M, execute |
//! | `find` | find_runnable: where the next G comes from |
//! | `wake` | startm, stopm, wakep, handoffp: which M holds which P |
//! | `idle` | Ms that have nothing to do for long end |
//! | `inject` | readying several goroutines at once, also without a P |
//! | `newproc` | making and ending goroutines |
//! | `stacks`, `stackless` | which goroutine gets which stack; those that wait for one |
//! | `locked` | goroutines that keep their M |
//! | `syscall` | announced blocking calls |
//! | `sysmon`, `pace` | taking Ps back; how often it looks |
//! | `checkdead` | deadlock detection |
//! | `procs` | start-up, GOMAXPROCS, new threads |
//! | `thread` | foreign OS threads |
//! | `exit`, `fork` | the end of the host, a forked child |
//! | `stats`, `schedtrace` | counters and walks; a line of them every so often |
//! | `waitsince` | since when goroutines wait |
//!
//! # Invariants
//! 1. On g0 `in_rt` is 1: nobody takes the P of an M that schedules.
//! 2. A G enters a queue only after its context is saved, on g0 or by the next one (`relay`); or, if it
//!    is the host's, while its M holds P 0 inside the runtime (`direct`).
//! 3. A host state is attached only by `schedule`, and detached before the P is given away.
//!
//! # The biased lock of a P
//! `enter_rt`: `in_rt = 1; light fence; read retake`. sysmon: `retake = 1; heavy fence; read
//! in_rt`. One of them sees the other: either sysmon finds `in_rt` and gives up, or the M finds
//! `retake` and waits on `retake_lock` until sysmon has decided. The fences are a pair
//! (`sys::membarrier`); the hot side costs two plain stores and a load.
//!
//! Go: runtime/proc.go

pub(crate) mod checkdead;
pub(crate) mod direct;
pub(crate) mod exit;
pub(crate) mod find;
#[cfg(not(golib_loom))]
pub(crate) mod fork;
pub(crate) mod idle;
pub(crate) mod inject;
pub(crate) mod locked;
pub(crate) mod newproc;
pub(crate) mod pace;
pub(crate) mod park;
pub(crate) mod procs;
pub(crate) mod relay;
pub(crate) mod schedtrace;
pub(crate) mod schedule;
pub(crate) mod stackless;
pub(crate) mod stacks;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod syscall;
pub(crate) mod sysmon;
pub(crate) mod thread;
pub(crate) mod waitsince;
pub(crate) mod wake;

use std::ptr;

use crate::prim::{light_fence, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::M;
use crate::sys::tls;

/// The calling thread's M; makes one for a foreign thread.
#[inline(always)]
pub(crate) fn getm() -> &'static M {
    let m = tls::get().cast::<M>();
    if m.is_null() {
        return thread::adopt();
    }
    // SAFETY: an M is never freed.
    unsafe { &*m }
}

/// The caller's G: its goroutine, or its thread's G. Never null outside g0.
#[inline(always)]
pub(crate) fn getg() -> *mut G {
    getm().curg.get()
}

/// The caller's goroutine; null on a thread that runs none.
#[inline(always)]
pub(crate) fn current_goroutine() -> *mut G {
    let m = tls::get().cast::<M>();
    if m.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: an M is never freed; its curg belongs to this thread.
    unsafe {
        if (*m).foreign {
            return ptr::null_mut();
        }
        (*m).curg.get()
    }
}

/// See `embedder::set_caller`.
#[inline(always)]
pub(crate) fn set_caller(caller: *const ()) {
    getm().caller.set(caller);
}

/// What was left for `may_migrate`. A park takes it: who parks again in the same operation leaves it
/// again, else its goroutine keeps its M.
#[inline]
pub(crate) fn caller() -> *const () {
    getm().caller.get()
}

/// Enters the runtime: until `leave_rt` nobody takes this M's P.
#[inline(always)]
pub(crate) fn enter_rt() -> &'static M {
    let m = getm();
    enter_rt_on(m);
    m
}

/// As `enter_rt`, on the calling thread's M.
#[inline(always)]
pub(crate) fn enter_rt_on(m: &M) {
    m.in_rt.store(1, Ordering::Relaxed);
    // Pairs with the heavy fence in sysmon::take_p.
    light_fence();
    // Acquire: a 0 that ended a take-away tells that the P is gone; pairs with take_p's Release.
    if m.retake.load(Ordering::Acquire) != 0 {
        wait_for_retake(m);
    }
}

#[cold]
#[inline(never)]
fn wait_for_retake(m: &M) {
    m.retake_lock.lock();
    m.retake_lock.unlock();
}

/// Leaves the runtime.
#[inline(always)]
pub(crate) fn leave_rt(m: &M) {
    // Release: what was done with the P is seen by whoever takes it; pairs with Acquire in take_p.
    m.in_rt.store(0, Ordering::Release);
}

/// True if this goroutine is in the middle of a Rust panic: its panic count is the OS thread's, so
/// it neither moves nor shares its M.
pub(crate) fn pinned_by_panic(gp: &G) -> bool {
    gp.kind.get() == Kind::Go && std::thread::panicking()
}

/// The runtime's own bug: says so with all goroutines and dies.
#[cold]
#[inline(never)]
pub(crate) fn throw(what: &str) -> ! {
    eprintln!("fatal error: {what}");
    crate::runtime::traceback::print_all_raw();
    std::process::abort()
}

/// The program's fault, which it cannot recover from: Go's exit status 2.
#[cold]
#[inline(never)]
pub(crate) fn fatal(what: &str) -> ! {
    eprintln!("fatal error: {what}\n");
    crate::runtime::traceback::print_all_raw();
    crate::sys::thread::exit_process(2)
}
