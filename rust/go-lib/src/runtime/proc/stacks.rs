//! Which goroutine gets which stack: the P's cache, the scheduler's pool, a new one.
//!
//! # Invariants
//! 1. A stack (with the host's state bound to it) is with one live goroutine, or in one cache.
//! 2. Deep pages go back to the kernel: of the stacks used since, when their P goes idle; of one that a
//!    busy P takes back, whenever sysmon asks (`P::trim_due`); in the pool, of all but the newest `WARM`,
//!    by sysmon. To tell the kernel costs more than a goroutine's whole life.

use std::collections::VecDeque;
use std::io;
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::embedder;
use crate::runtime::g::{Kind, G};
use crate::runtime::m::M;
use crate::runtime::p::P;
use crate::runtime::sched::{sched, Sched};
use crate::runtime::stack::{Bound, Stack};

/// Stacks moved between a P and the pool at a time.
const BATCH: usize = 32;
/// Stacks a P keeps.
const KEEP: usize = 2 * BATCH;
/// Stacks in the pool that are not trimmed.
const WARM: usize = 1024;

/// Stacks of the default size that no P has, of one kind.
#[derive(Default)]
pub(crate) struct Pool {
    /// Not trimmed since they were used; the newest at the back.
    used: VecDeque<Bound>,
    trimmed: Vec<Bound>,
}

impl Pool {
    /// Moves `n` stacks, if there are so many, to `cache`: those used last.
    fn take(&mut self, n: usize, cache: &mut Vec<Bound>) {
        let of_used = self.used.len().min(n);
        let of_trimmed = self.trimmed.len().min(n - of_used);
        cache.extend(self.trimmed.drain(self.trimmed.len() - of_trimmed..));
        cache.extend(self.used.drain(self.used.len() - of_used..));
    }
}

fn list_of(kind: Kind) -> usize {
    usize::from(kind == Kind::Host)
}

/// Gives `gp`, which the caller owns, a stack and the host's state for it, unless it has one; the
/// address below which its frames start. Inside the runtime.
///
/// # Errors
/// No address space, no mapping, no memory for a host state.
#[inline]
pub(crate) fn give(m: &M, gp: *mut G) -> io::Result<usize> {
    // SAFETY: Gs are never freed.
    let g = unsafe { &*gp };
    let s = sched();
    let size = g.stack_bytes.load(Ordering::Relaxed);
    let list = list_of(g.kind.get());
    // SAFETY: the caller owns the goroutine, which has not run yet.
    if !unsafe { (*g.stack.get()).is_none() } {
        return Ok(g.stack_top.get());
    }
    let bound = if size == s.stacks.default_size() {
        // SAFETY: on g0 the P is ours, and so is its cache.
        let cache = unsafe { &mut *(*m.pp()).stacks[list].get() };
        match cache.pop() {
            Some(bound) => bound,
            None => refill(s, cache, list, size)?,
        }
    } else {
        sized(s, list, size)?
    };
    // SAFETY: as above.
    unsafe { *g.stack.get() = bound.stack };
    g.host_state.store(bound.state, Ordering::Release);
    g.stack_top.set(bound.top);
    Ok(bound.top)
}

/// Gives `g`, a Rust goroutine that the caller owns and that has not run yet, a stack of the P's cache; the
/// address below which its frames start. 0: there is none, or its size is unusual.
///
/// # Safety
/// Inside the runtime, with a P.
#[inline]
pub(crate) unsafe fn give_cached(m: &M, g: &G) -> usize {
    // SAFETY: the caller's duty: the P is ours, and so is its cache.
    unsafe {
        let is_usual = g.stack_bytes.load(Ordering::Relaxed) == sched().stacks.default_size();
        let cache = &mut *(*m.pp()).stacks[list_of(Kind::Go)].get();
        let bound = if is_usual { cache.pop() } else { None };
        let Some(bound) = bound else { return 0 };
        *g.stack.get() = bound.stack;
        g.stack_top.set(bound.top);
        bound.top
    }
}

/// A new stack of `size`, bound to the host if it is for a host goroutine.
#[cold]
fn make(s: &Sched, list: usize, size: usize) -> io::Result<Bound> {
    let stack = s.stacks.cut(size)?;
    bind(stack, list)
}

/// Binds the host's state to a stack.
fn bind(stack: Stack, list: usize) -> io::Result<Bound> {
    if list == list_of(Kind::Go) {
        return Ok(Bound { stack, state: ptr::null_mut(), top: stack.hi });
    }
    // SAFETY: the stack is the caller's alone.
    embedder::table()
        .and_then(|t| unsafe { (t.bind)(stack.lo, stack.hi) })
        .map(|(state, top)| Bound { stack, state, top })
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

#[cold]
#[inline(never)]
fn refill(s: &Sched, cache: &mut Vec<Bound>, list: usize, size: usize) -> io::Result<Bound> {
    s.inner.lock().stack_pool[list].take(BATCH, cache);
    match cache.pop() {
        Some(bound) => Ok(bound),
        None => make(s, list, size),
    }
}

#[cold]
fn sized(s: &Sched, list: usize, size: usize) -> io::Result<Bound> {
    {
        let mut inner = s.inner.lock();
        let host = list == list_of(Kind::Host);
        let at = inner.stacks_sized.iter().position(|e| e.0 == size && e.1 == host);
        if let Some(i) = at {
            return Ok(inner.stacks_sized.swap_remove(i).2);
        }
    }
    make(s, list, size)
}

/// Takes the stack of a goroutine that ended. On g0.
#[inline]
pub(crate) fn take_back(m: &M, s: &Sched, g: &G) {
    let size = g.stack_bytes.load(Ordering::Relaxed);
    let list = list_of(g.kind.get());
    // SAFETY: the goroutine has ended: its G is ours.
    let stack = unsafe { ptr::replace(g.stack.get(), Stack::NONE) };
    let state = g.host_state.swap(ptr::null_mut(), Ordering::Relaxed);
    let mut bound = Bound { stack, state, top: g.stack_top.get() };
    if state.is_null() && g.kind.get() == Kind::Host {
        // Its state was discarded: another one for the next goroutine.
        match bind(stack, list) {
            Ok(new) => bound = new,
            // No memory for a state now: the stack is lost, nothing else is.
            Err(_) => return,
        }
    }
    let pp = m.pp();
    if size != s.stacks.default_size() {
        // SAFETY: nothing runs on it.
        unsafe { stack.trim() };
        let host = list == list_of(Kind::Host);
        s.inner.lock().stacks_sized.push((size, host, bound));
        return;
    }
    if pp.is_null() {
        pool_put(s, list, bound);
        return;
    }
    // SAFETY: on g0 the P is ours, and so is its cache.
    unsafe {
        (*pp).exits.set((*pp).exits.get().wrapping_add(1));
        if (*pp).trim_due.load(Ordering::Relaxed) {
            (*pp).trim_due.store(false, Ordering::Relaxed);
            stack.trim();
        }
        let cache = &mut *(*pp).stacks[list].get();
        cache.push(bound);
        if cache.len() >= KEEP {
            spill(s, cache, list);
        }
    }
}

/// Counts a goroutine's end whose stack is not taken back; false: it is to be, see invariant 2. The P is
/// the caller's.
#[inline(always)]
pub(crate) fn one_more_end(m: &M) -> bool {
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*m.pp() };
    if p.trim_due.load(Ordering::Relaxed) {
        return false;
    }
    p.exits.set(p.exits.get().wrapping_add(1));
    true
}

/// Gives `next`, which has not run yet, the stack and the state of `g`, which has ended on it.
///
/// # Safety
/// Both are the caller's; the stack has the size that `next` wants.
#[inline(always)]
pub(crate) unsafe fn hand_on(g: &G, next: &G) {
    // SAFETY: the caller's duty.
    unsafe { *next.stack.get() = ptr::replace(g.stack.get(), Stack::NONE) };
    let state = g.host_state.load(Ordering::Relaxed);
    g.host_state.store(ptr::null_mut(), Ordering::Relaxed);
    next.host_state.store(state, Ordering::Release);
    next.stack_top.set(g.stack_top.get());
}

/// Moves the older half of a P's full cache to the pool.
#[cold]
#[inline(never)]
fn spill(s: &Sched, cache: &mut Vec<Bound>, list: usize) {
    s.inner.lock().stack_pool[list].used.extend(cache.drain(..BATCH));
}

/// Trims some stacks of the pool; true if more are to be trimmed. For sysmon.
pub(crate) fn trim_pool(s: &Sched) -> bool {
    let mut more = false;
    for list in [Kind::Go, Kind::Host].map(list_of) {
        let (batch, left): (Vec<Bound>, usize) = {
            let mut inner = s.inner.lock();
            let used = &mut inner.stack_pool[list].used;
            let n = used.len().saturating_sub(WARM).min(BATCH);
            (used.drain(..n).collect(), used.len())
        };
        if batch.is_empty() {
            continue;
        }
        more |= left > WARM;
        for bound in &batch {
            // SAFETY: nothing runs on it; it is ours.
            unsafe { bound.stack.trim() };
        }
        s.inner.lock().stack_pool[list].trimmed.extend(batch);
    }
    more
}

/// Is there room for a stack again? One goes to the pool if so.
#[cold]
pub(crate) fn probe(s: &Sched) -> io::Result<()> {
    let bound = make(s, list_of(Kind::Go), s.stacks.default_size())?;
    s.inner.lock().stack_pool[list_of(Kind::Go)].trimmed.push(bound);
    Ok(())
}

#[cold]
fn pool_put(s: &Sched, list: usize, bound: Bound) {
    // SAFETY: nothing runs on it.
    unsafe { bound.stack.trim() };
    s.inner.lock().stack_pool[list].trimmed.push(bound);
}

/// Trims the stacks used since the last time; called when `p` goes idle.
pub(crate) fn trim_cached(p: &P) {
    let used = p.exits.replace(0) as usize;
    for cache in &p.stacks {
        // SAFETY: the caller holds the P. Caches are LIFO: the newest were used last.
        let cache = unsafe { &*cache.get() };
        for bound in cache.iter().rev().take(used) {
            // SAFETY: nothing runs on a cached stack.
            unsafe { bound.stack.trim() };
        }
    }
}
