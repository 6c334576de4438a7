//! Foreign OS threads: an M with a thread-G for each thread that calls in.
//!
//! Go: runtime/proc.go (needm, dropm)

use std::cell::Cell;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GDEAD, GIDLE, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::M;
#[cfg(all(unix, not(golib_loom)))]
use crate::runtime::proc::firstthread;
use crate::runtime::proc::status::casgstatus;
#[cfg(not(golib_loom))]
use crate::runtime::sched::sched;
use crate::sys::{thread, tls};

/// Gives the M back when its thread ends.
struct Leave(Cell<bool>);

impl Drop for Leave {
    fn drop(&mut self) {
        let m = tls::get().cast::<M>();
        tls::set(std::ptr::null_mut());
        if self.0.get() && !m.is_null() {
            give_back(m);
        }
    }
}

/// A foreign thread's M goes to the free list.
fn give_back(m: *mut M) {
    // SAFETY: the thread's own M, which it uses no more.
    casgstatus(unsafe { &(*m).g0 }, GRUNNING, GDEAD);
    #[cfg(not(golib_loom))]
    {
        let mut inner = sched().inner.lock();
        if let Some(i) = inner.foreign.iter().position(|&f| f == m) {
            inner.foreign.swap_remove(i);
            inner.free_foreign.push(m);
        }
    }
}

/// Calls `f` on this foreign thread as if it were another one: its own G is in the middle of a
/// wait.
#[cold]
pub(crate) fn as_another_g<R>(f: impl FnOnce() -> R) -> R {
    let own = tls::get();
    tls::set(std::ptr::null_mut());
    adopt();
    let r = f();
    give_back(tls::get().cast());
    tls::set(own);
    r
}

std::thread_local! {
    static LEAVE: Leave = const { Leave(Cell::new(false)) };
}

/// Makes the calling thread known to the runtime.
#[cold]
#[inline(never)]
pub(crate) fn adopt() -> &'static M {
    #[cfg(not(golib_loom))]
    let m = {
        let s = sched();
        let mut inner = s.inner.lock();
        let m = match inner.free_foreign.pop() {
            Some(m) => m,
            None => {
                let m = Box::into_raw(Box::new(M::new(0, true, s)));
                // SAFETY: just made.
                casgstatus(unsafe { &(*m).g0 }, GIDLE, GDEAD);
                m
            }
        };
        inner.foreign.push(m);
        m
    };
    #[cfg(golib_loom)]
    let m = {
        let m = Box::into_raw(Box::new(M::new(0, true, std::ptr::null::<()>())));
        // SAFETY: just made.
        casgstatus(unsafe { &(*m).g0 }, GIDLE, GDEAD);
        m
    };
    // SAFETY: off the free list: ours.
    let mref: &'static M = unsafe { &*m };
    let g: &G = &mref.g0;
    g.kind.set(Kind::Thread);
    g.m.store(m, Ordering::Relaxed);
    mref.curg.set((g as *const G).cast_mut());
    mref.tid.store(thread::gettid() as u32, Ordering::Relaxed);
    g.lock_depth.set(0);
    casgstatus(g, GDEAD, GRUNNABLE);
    casgstatus(g, GRUNNABLE, GRUNNING);
    tls::set(m.cast());
    #[cfg(all(unix, not(golib_loom)))]
    firstthread::watch();
    // A thread whose thread-locals are already gone keeps its M: 1 KiB is lost, nothing breaks.
    let _ = LEAVE.try_with(|l| l.0.set(true));
    mref
}
