//! Goroutines for which there is no memory for a stack wait aside, not in a queue that others could run from.
//!
//! A stack that comes back goes to the first of them. Memory may also come back unseen (others unmap, a
//! limit is raised): every so often sysmon lets one of them try again, and each that succeeds lets the next one try.
//!
//! # Invariants
//! 1. A G in `Inner::stackless` is runnable, in no queue, and has no stack. `Sched::stackless` counts them; it changes
//!    under the lock.
//! 2. A new goroutine waits behind those that wait already, unless there is an unused stack, or it takes over the
//!    stack of one that ends.
//! 3. A stack may still enter a P's cache while the P's holder does not see that somebody waits. A busy P finds it
//!    when it runs a goroutine that tries again; from an idle P, which belongs to the holder of the lock, sysmon takes it.

use std::io;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::m::M;
use crate::runtime::object::p::GFifo;
use crate::runtime::object::stack::{Bound, DEAR_DEFAULT_BYTES};
use crate::runtime::proc::entry::goentry;
use crate::runtime::proc::{kick, stacks, wake};
use crate::runtime::sched::{Inner, Sched};
use crate::sys::{arch, errno};

/// Between two tries.
pub(crate) const RETRY_NS: i64 = 10_000_000;

/// There is no stack: `gp`, which is the caller's, waits for one, and the next spawn learns of it.
#[cold]
pub(crate) fn wait(s: &'static Sched, gp: *mut G, e: &io::Error) -> bool {
    let errno = e.raw_os_error().unwrap_or(errno::ENOMEM);
    if s.refused.swap(errno as u32, Ordering::Relaxed) == 0 {
        eprintln!("go-lib: goroutines wait: {}: {e}", stacks::limit_text());
    }
    {
        let mut inner = s.inner.lock();
        // SAFETY: Gs are never freed; this one is the caller's.
        unsafe { inner.stackless[stacks::list_of((*gp).kind.get())].push(gp) };
        count(s, 1);
    }
    // From now on it tries for us.
    kick::kick(s);
    false
}

/// By 1: the lock is held.
fn count(s: &Sched, n: isize) {
    s.stackless
        .store(s.stackless.load(Ordering::Relaxed).wrapping_add_signed(n), Ordering::Relaxed);
}

fn pop(s: &Sched, inner: &mut Inner, list: usize) -> *mut G {
    let gp = inner.stackless[list].pop();
    if !gp.is_null() {
        count(s, -1);
    }
    gp
}

/// True if it is not worth asking for a new stack: by 2, and because the kernel would refuse each new goroutine a dozen times.
#[inline]
pub(crate) fn is_hopeless(s: &Sched) -> bool {
    s.stackless.load(Ordering::Relaxed) != 0 && !s.stack_try.swap(false, Ordering::Relaxed)
}

/// A new stack could be made, so one of those that wait tries too.
#[cold]
pub(crate) fn next_tries(m: &M, s: &'static Sched) {
    for list in 0..2 {
        let gp = pop(s, &mut s.inner.lock(), list);
        if !gp.is_null() {
            s.stack_try.store(true, Ordering::Relaxed);
            // SAFETY: by 1; the caller is inside the runtime.
            unsafe { wake::runqput_any(m, gp, false) };
            return;
        }
    }
}

/// Gives an unused stack to the first goroutine that waits. False: nobody waits for one of this kind.
#[cold]
pub(crate) fn take(m: &M, s: &'static Sched, list: usize, bound: Bound, size: usize) -> bool {
    if size < s.stacks.default_size().min(DEAR_DEFAULT_BYTES) {
        return false;
    }
    let gp = pop(s, &mut s.inner.lock(), list);
    if gp.is_null() {
        return false;
    }
    // SAFETY: by 1 it is ours; the caller is inside the runtime.
    unsafe {
        seat(&*gp, bound, size);
        wake::runqput_any(m, gp, false);
    }
    true
}

/// # Safety
/// Both are the caller's; `g` has no stack.
unsafe fn seat(g: &G, bound: Bound, size: usize) {
    g.stack_bytes.store(size, Ordering::Relaxed);
    // SAFETY: the caller's duty; nothing runs on the stack yet.
    unsafe {
        stacks::seat(g, bound);
        g.sched_sp.set(arch::init_stack(bound.top & !15, bound.stack.hi, goentry));
    }
}

/// sysmon's part: unused stacks go to waiting goroutines; if there is none, one of those tries again.
#[cold]
pub(crate) fn serve(s: &'static Sched) {
    let mut ready = GFifo::EMPTY;
    let size = s.stacks.default_size();
    {
        let mut inner = s.inner.lock();
        for list in 0..2 {
            while let Some(bound) = stacks::unused(&mut inner, list) {
                let gp = pop(s, &mut inner, list);
                if gp.is_null() {
                    inner.stack_pool[list].put_back(bound);
                    break;
                }
                // SAFETY: by 1 it is ours, as is what was unused.
                unsafe {
                    seat(&*gp, bound, size);
                    ready.push(gp);
                }
            }
        }
        for list in 0..2 {
            let gp = pop(s, &mut inner, list);
            if !gp.is_null() {
                s.stack_try.store(true, Ordering::Relaxed);
                // SAFETY: by 1.
                unsafe { ready.push(gp) };
                break;
            }
        }
    }
    loop {
        let gp = ready.pop();
        if gp.is_null() {
            return;
        }
        ready_from_outside(s, gp);
    }
}

/// Puts a runnable G into a queue, from a thread without an M.
fn ready_from_outside(s: &'static Sched, gp: *mut G) {
    // SAFETY: runnable, in no queue.
    unsafe {
        if (*gp).kind.get() == Kind::Host {
            let home = s.home_of(gp);
            home.hostq.push_inbox(gp);
            wake::wake_host(s, home);
        } else {
            s.globrunqput(&mut s.inner.lock(), gp);
            wake::wake_for_global(s);
        }
    }
}
