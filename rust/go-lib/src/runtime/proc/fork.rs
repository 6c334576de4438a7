//! A forked child: only the forking thread lives on; the runtime starts afresh there.
//!
//! The old scheduler, its Gs and their stacks stay untouched: channels made before the fork may still link sudogs that
//! live on those stacks. Their waits are made unclaimable, so whoever meets such a sudog skips it.

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::m::M;
use crate::runtime::proc::{firstthread, kick};
use crate::runtime::sched::{replace_sched, sched, sched_if_made, GPtr};
use crate::sys::{thread, tls};

/// The role of the child's only thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkChild {
    /// It runs the goroutine that forked.
    Goroutine,
    /// It is an ordinary thread.
    Thread,
}

/// Waits, before a fork, until no other thread holds the lock of a host's channel or semaphore: nobody would release
/// it in the child. The caller holds the interpreter, as do all that take such a lock; only a goroutine that parks
/// without a P gives it up before it unlocks.
pub fn before_fork() {
    /// Without the interpreter others may come and go forever.
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

/// Has the runtime forget, in a forked child, everything but the caller. It starts no thread, so that a host may call it
/// before its interpreter is usable again; whatever first needs a P starts the runtime.
///
/// A goroutine that forked is from now on tied to its thread, which is the child's main thread, and gets the report of
/// a deadlock. It continues without a P, as if it had lost its own in a call.
///
/// # Safety
/// Called once in the child, by its only thread, before any other call into the runtime.
pub unsafe fn after_fork_in_child() -> ForkChild {
    let me = tls::get().cast::<M>();
    let Some(old) = sched_if_made() else {
        firstthread::watch();
        return ForkChild::Thread;
    };
    // SAFETY: an M is never freed; the only thread owns everything.
    let forker = if me.is_null() { ptr::null_mut() } else { unsafe { (*me).curg.get() } };
    // SAFETY: the old locks may be held by threads that are gone: read behind them.
    unsafe { old.kill_waits_behind_locks(forker) };
    old.netpoll.forget();
    kick::want_no_yield();
    let new = replace_sched();
    // Numbers and limits continue from the parent's.
    new.goid.store(old.goid.load(Ordering::Relaxed), Ordering::Relaxed);
    new.max_threads.store(old.max_threads.load(Ordering::Relaxed), Ordering::Relaxed);
    new.wanted_procs.store(old.gomaxprocs.load(Ordering::Relaxed), Ordering::Relaxed);
    if me.is_null() {
        firstthread::watch();
        return ForkChild::Thread;
    }
    // SAFETY: our own M; nobody else exists.
    let m = unsafe { &mut *me };
    m.retake_lock = Mutex::new();
    m.retake.store(0, Ordering::Relaxed);
    m.tid.store(thread::gettid() as u32, Ordering::Relaxed);
    m.p.store(ptr::null_mut(), Ordering::Relaxed);
    m.nextp.store(ptr::null_mut(), Ordering::Relaxed);
    if m.foreign {
        new.inner.lock().foreign.push(me);
        firstthread::watch();
        return ForkChild::Thread;
    }
    m.spinning.set(false);
    m.lockedg.set(ptr::null_mut());
    new.nthreads.store(1, Ordering::Relaxed);
    new.inner.lock().allm.push(me);
    new.allgs.lock().push(GPtr(forker));
    new.main_is_goroutine.store(true, Ordering::Relaxed);
    // SAFETY: our own goroutine, which runs.
    unsafe {
        new.gcount.store(i64::from(!(*forker).system.get()), Ordering::Relaxed);
        (*forker).lock_depth.set((*forker).lock_depth.get() + 1);
    }
    ForkChild::Goroutine
}
