//! A forked child: only the forking thread lives on; the runtime starts afresh there.
//!
//! The old scheduler, its Gs and their stacks stay as they are, untouched: channels made before
//! the fork may still link sudogs that live on those stacks. Their waits are made unclaimable, so
//! whoever meets such a sudog skips it.

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::lock::Mutex;
use crate::runtime::m::M;
use crate::runtime::p::PRUNNING;
use crate::runtime::proc::{procs, sysmon, wake};
use crate::runtime::sched::{replace_sched, sched, GPtr};
use crate::sys::{thread, tls};

/// What the child's only thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkChild {
    /// It runs the goroutine that forked.
    Goroutine,
    /// It is an ordinary thread.
    Thread,
}

/// Waits, before a fork, until no other thread holds the lock of a host's channel or semaphore: nobody
/// would release it in the child. The caller holds the interpreter, as does who takes such a lock; only
/// a goroutine that parks without a P gives it up before it unlocks.
pub fn before_fork() {
    /// Without the interpreter others may come and go for ever.
    const LOOKS: usize = 10_000;
    let s = sched();
    for _ in 0..LOOKS {
        // Acquire: pairs with the Release in park_m.
        if s.unlocking.load(Ordering::Acquire) == 0 {
            return;
        }
        std::thread::yield_now();
    }
}

/// Starts the runtime afresh in a forked child.
///
/// # Safety
/// Called once in the child, by its only thread, before any other call into the runtime.
pub unsafe fn after_fork_in_child() -> ForkChild {
    let old = sched();
    let me = tls::get().cast::<M>();
    // SAFETY: an M is never freed; the only thread owns everything.
    let forker = if me.is_null() { ptr::null_mut() } else { unsafe { (*me).curg.get() } };
    // SAFETY: the old locks may be held by threads that are gone: read behind them.
    unsafe { old.kill_waits_behind_locks(forker) };
    old.netpoll.forget();
    sysmon::want_no_yield();
    let new = replace_sched();
    if me.is_null() {
        return ForkChild::Thread;
    }
    // SAFETY: our own M; nobody else exists.
    let m = unsafe { &mut *me };
    m.sched.set(new);
    m.retake_lock = Mutex::new();
    m.retake.store(0, Ordering::Relaxed);
    m.tid.store(thread::gettid() as u32, Ordering::Relaxed);
    m.p.store(ptr::null_mut(), Ordering::Relaxed);
    if m.foreign {
        new.inner.lock().foreign.push(me);
        return ForkChild::Thread;
    }
    m.spinning.set(false);
    m.lockedg.set(ptr::null_mut());
    new.nthreads.store(1, Ordering::Relaxed);
    new.inner.lock().allm.push(me);
    new.allgs.lock().push(GPtr(forker));
    // Numbers go on where the parent's were.
    new.goid.store(old.goid.load(Ordering::Relaxed), Ordering::Relaxed);
    new.gcount.store(1, Ordering::Relaxed);
    procs::ensure_started();
    // SAFETY: P 0 exists now.
    let p = unsafe { &*new.p(0) };
    if wake::pidletake(new, &mut new.inner.lock(), p) {
        wake::acquirep(m, p);
    }
    debug_assert_eq!(p.status.load(Ordering::Relaxed), PRUNNING);
    ForkChild::Goroutine
}
