//! Who runs here, and entering and leaving the runtime.
//!
//! # The biased lock of a P
//! `enter_rt`: `in_rt = 1; light fence; read retake`. sysmon: `retake = 1; heavy fence; read
//! in_rt`. One of them sees the other: either sysmon finds `in_rt` and gives up, or the M finds
//! `retake` and waits on `retake_lock` until sysmon has decided. The fences are a pair
//! (`sys::membarrier`); the hot side costs two plain stores and a load.

use std::ptr;

use crate::prim::{heavy_fence, light_fence, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::M;
use crate::runtime::object::p::P;
use crate::runtime::proc::thread;
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

/// The value left for `may_migrate`. A park consumes it: an operation that parks again must set it
/// again, or its goroutine keeps its M.
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
    // Pairs with the heavy fence in take_p.
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
    // Release: the next owner of the P sees what was done with it; pairs with Acquire in take_p.
    m.in_rt.store(0, Ordering::Release);
}

/// True if this goroutine is in the middle of a Rust panic: its panic count is the OS thread's, so
/// it neither moves nor shares its M.
pub(crate) fn pinned_by_panic(gp: &G) -> bool {
    gp.kind.get() == Kind::Go && std::thread::panicking()
}

/// Takes `p` from its M if that is outside the runtime; true: it is the caller's. See the
/// header.
pub(crate) fn take_p(p: &P) -> bool {
    // Acquire: pairs with the Release of acquirep.
    let m = p.m.load(Ordering::Acquire);
    if m.is_null() {
        return false;
    }
    // SAFETY: Ms are never freed.
    let m: &M = unsafe { &*m };
    m.retake_lock.lock();
    m.retake.store(1, Ordering::Relaxed);
    // Pairs with the light fence in enter_rt.
    heavy_fence();
    // Acquire: pairs with leave_rt: sysmon sees what the M did with the P.
    let outside = m.in_rt.load(Ordering::Acquire) == 0 && ptr::eq(m.p.load(Ordering::Relaxed), p);
    if outside {
        m.p.store(ptr::null_mut(), Ordering::Relaxed);
        p.m.store(ptr::null_mut(), Ordering::Relaxed);
    }
    m.retake.store(0, Ordering::Release);
    m.retake_lock.unlock();
    outside
}
