//! A goroutine's first function and its last steps: the entry, the end, and who follows on the same stack.
//!
//! # Invariants
//! 1. Stacks are given at the first run and taken back, or handed on, at the end: see `stacks`.
//!
//! Go: runtime/proc.go (goexit0, gogo)

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use crate::panic::{self, GoroutinePanic};
use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GDEAD, GRUNNING};
use crate::runtime::object::gref::GRef;
use crate::runtime::object::host;
use crate::runtime::object::m::M;
use crate::runtime::proc::gfree::{add_gcount, gfput};
use crate::runtime::proc::leave::{leave_host_without_p, mcall};
use crate::runtime::proc::run::runs_now;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{direct, enter_rt, getm, leave_rt, relay, stacks, throw};
use crate::runtime::sched::{sched, Sched};
use crate::sys::{arch, sanitizer};

/// The first function on a goroutine's stack; a host goroutine's may be followed by others there.
///
/// For a host goroutine there is no landing pad here and nothing to drop: by the embedder's
/// invariant 3 a forced unwinding may pass.
pub(crate) unsafe extern "C-unwind" fn goentry() -> ! {
    sanitizer::has_come();
    let mut gp = getm().curg.get();
    // SAFETY: curg is the goroutine that runs here; after its end nothing of it is left on the stack.
    unsafe {
        while (*gp).kind.get() == Kind::Go {
            relay::settle();
            run_start(gp);
            gp = succeed_or_exit(gp);
        }
        let Some(t) = host::table() else { throw("a host goroutine without a host") };
        loop {
            let (host, state) = (&(*gp).host, &(*gp).host_state);
            if !(t.main)(host.load(Ordering::Relaxed), state.load(Ordering::Relaxed)) {
                goexit(gp, false);
            }
            gp = succeed_or_exit(gp);
        }
    }
}

/// Runs a Rust goroutine's function; a panic ends only that goroutine.
///
/// # Safety
/// Called by `goentry` on the stack of `gp`.
pub(crate) unsafe fn run_start(gp: *mut G) {
    // SAFETY: our own G.
    let start = unsafe { &mut *(*gp).start.get() };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| start.call())) {
        let r = GRef::new(gp);
        panic::report(GoroutinePanic { goid: r.goid(), created_at: r.location(), payload });
    }
}

/// Ends the running goroutine. `clean`: its host state may serve another.
///
/// # Safety
/// Called on the stack of `gp`, on which nothing is left to run.
pub(crate) unsafe fn goexit(gp: *mut G, clean: bool) -> ! {
    let m = enter_rt();
    // SAFETY: as above; nobody resumes this context.
    unsafe { mcall(m, gp, if clean { goexit0 } else { goexit_unclean }) };
    throw("a dead goroutine was resumed")
}

/// The state must not be used again: the host deletes it while it is attached.
unsafe fn goexit_unclean(m: *mut M, gp: *mut G) {
    // SAFETY: on g0 with the goroutine that just ended; its state is attached here.
    unsafe {
        // AcqRel: pairs with the Acquire of GRef::state, which must not see what is deleted here.
        let state = (*gp).host_state.swap(ptr::null_mut(), Ordering::AcqRel);
        (*m).attached.set(ptr::null_mut());
        if let Some(t) = host::table() {
            (t.discard)(state);
        }
        goexit0(m, gp);
    }
}

unsafe fn goexit0(m: *mut M, gp: *mut G) {
    // SAFETY: on g0 with the goroutine that just ended.
    let (m, g) = unsafe { (&*m, &*gp) };
    leave_host_without_p(m);
    let s = sched();
    dies(m, s, g);
    m.curg.set(ptr::null_mut());
    stacks::take_back(m, s, g);
    gfput(m, s, gp);
}

/// The goroutine that ran on `m` has ended.
#[inline(always)]
fn dies(m: &M, s: &Sched, g: &G) {
    // Release: pairs with the Acquire of GRef::host.
    g.host.store(ptr::null_mut(), Ordering::Release);
    casgstatus(g, GRUNNING, GDEAD);
    if !g.system.get() {
        add_gcount(m, s, -1);
    }
}

/// Ends `gp`, whose host state, if any, is clean, and starts the next one in its place, on its stack and with its
/// state: nothing is given back, taken or switched. That goroutine, which runs now; or null, and `goexit` must end
/// `gp`.
///
/// # Safety
/// Called on the stack of `gp`, on which nothing is left to run.
// Never inlined: a goroutine must not keep the room for this while it runs.
#[inline(never)]
pub(crate) unsafe fn succeed(gp: *mut G) -> *mut G {
    let m = enter_rt();
    let s = sched();
    // SAFETY: our own G.
    let g = unsafe { &*gp };
    let is_usual = |g: &G| stacks::is_usual(s, g);
    if m.pp().is_null() || !is_usual(g) || !stacks::one_more_end(m) {
        return ptr::null_mut();
    }
    let is_new = |next: &G| next.sched_sp.get() == 0 && is_usual(next);
    // SAFETY: inside the runtime, with a P; the next one, taken from the queue, is ours.
    unsafe {
        let next = match g.kind.get() {
            Kind::Host => direct::take_next(m, |next| is_new(&*next)),
            _ => relay::take_next(m, is_new),
        };
        if !next.is_null() {
            dies(m, s, g);
            stacks::hand_on(g, &*next);
            gfput(m, s, gp);
            runs_now(m, &*next);
            arch::reset_control_words();
            leave_rt(m);
        }
        next
    }
}

/// Ends `gp`, a Rust goroutine; the one that follows it on its stack. Does not return if there is none.
///
/// # Safety
/// As [`succeed`].
#[inline(always)]
pub(crate) unsafe fn succeed_or_exit(gp: *mut G) -> *mut G {
    // SAFETY: the caller's duty.
    unsafe {
        let next = succeed(gp);
        if next.is_null() {
            goexit(gp, true);
        }
        next
    }
}
