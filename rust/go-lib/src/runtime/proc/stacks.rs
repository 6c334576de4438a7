//! Which goroutine gets which stack: the P's cache, the scheduler's pool, a new one.
//!
//! # Invariants
//! 1. A stack (with the host's state bound to it) is with one live goroutine, or in one cache.
//! 2. Deep pages go back to the kernel: of the stacks used since, when their P goes idle; of one that a
//!    busy P takes back, whenever sysmon asks (`P::trim_due`); in the pool, of all but the newest `WARM`,
//!    by sysmon. Telling the kernel costs more than a goroutine's whole life.

use std::io;
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::host;
use crate::runtime::object::m::M;
use crate::runtime::object::p::P;
use crate::runtime::object::stack::{Bound, Stack, DEAR_DEFAULT_BYTES};
use crate::runtime::proc::stackless;
use crate::runtime::sched::{sched, Inner, Sched};
use crate::sys::{errno, memory};

/// Stacks moved between a P and the pool at a time.
const BATCH: usize = 32;
/// Stacks a P keeps.
const KEEP: usize = 2 * BATCH;
/// Stacks in the pool that are not trimmed.
const WARM: usize = 1024;

pub(super) fn list_of(kind: Kind) -> usize {
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
        // SAFETY: on g0 this M owns the P, and so its cache.
        let cache = unsafe { &mut *(*m.pp()).stacks[list].get() };
        match cache.pop() {
            Some(bound) => bound,
            None => refill(m, s, cache, g)?,
        }
    } else {
        sized(s, list, size)?
    };
    // SAFETY: as above.
    unsafe { seat(g, bound) };
    Ok(bound.top)
}

/// Gives `g` the stack and the state of `bound`.
///
/// # Safety
/// Both are the caller's; `g` has none.
#[inline(always)]
pub(super) unsafe fn seat(g: &G, bound: Bound) {
    // SAFETY: the caller's duty.
    unsafe { *g.stack.get() = bound.stack };
    // Release: pairs with the Acquire of GRef::state.
    g.host_state.store(bound.state, Ordering::Release);
    g.stack_top.set(bound.top);
}

/// True if `g` has, or gets, a stack of the cached size.
#[inline(always)]
pub(crate) fn is_usual(s: &Sched, g: &G) -> bool {
    g.stack_bytes.load(Ordering::Relaxed) == s.stacks.default_size()
}

/// Gives `g`, a Rust goroutine that the caller owns and that has not run yet, a stack of the P's cache; the
/// address below which its frames start. 0: there is none, or its size is unusual.
///
/// # Safety
/// Inside the runtime, with a P.
#[inline]
pub(crate) unsafe fn give_cached(m: &M, g: &G) -> usize {
    // SAFETY: the caller's duty: this M owns the P, and so its cache.
    unsafe {
        if !is_usual(sched(), g) {
            return 0;
        }
        let cache = &mut *(*m.pp()).stacks[list_of(Kind::Go)].get();
        let Some(bound) = cache.pop() else { return 0 };
        seat(g, bound);
        bound.top
    }
}

/// A new stack of `size`, bound to the host if it is for a host goroutine.
#[cold]
fn make(s: &Sched, list: usize, size: usize) -> io::Result<Bound> {
    let unbound = {
        let mut inner = s.inner.lock();
        let at = inner.unbound.iter().position(|&(of, _)| of == size);
        at.map(|i| inner.unbound.swap_remove(i).1)
    };
    let stack = match unbound {
        Some(stack) => stack,
        None => s.stacks.cut(size)?,
    };
    bind(stack, list).inspect_err(|_| keep_unbound(s, size, stack))
}

/// The host has no memory for a state now: the stack waits for the next one. Without memory for that it is lost.
#[cold]
fn keep_unbound(s: &Sched, size: usize, stack: Stack) {
    let mut inner = s.inner.lock();
    if inner.unbound.try_reserve(1).is_ok() {
        inner.unbound.push((size, stack));
    }
}

/// Binds the host's state to a stack.
fn bind(stack: Stack, list: usize) -> io::Result<Bound> {
    if list == list_of(Kind::Go) {
        return Ok(Bound { stack, state: ptr::null_mut(), top: stack.top() });
    }
    // SAFETY: the stack is the caller's alone.
    host::table()
        .and_then(|t| unsafe { (t.bind)(stack.lo, stack.top()) })
        .map(|(state, top)| Bound { stack, state, top })
        .ok_or_else(|| io::Error::from_raw_os_error(errno::ENOMEM))
}

#[cold]
#[inline(never)]
fn refill(m: &M, s: &'static Sched, cache: &mut Vec<Bound>, g: &G) -> io::Result<Bound> {
    let list = list_of(g.kind.get());
    s.inner.lock().stack_pool[list].take(BATCH, cache);
    if let Some(bound) = cache.pop() {
        return Ok(bound);
    }
    if stackless::is_hopeless(s) {
        return Err(io::Error::from_raw_os_error(errno::ENOMEM));
    }
    let usual = s.stacks.default_size();
    let made = make(s, list, usual).or_else(|e| small(s, g, list).map_err(|_| e));
    if made.is_ok() && s.stackless.load(Ordering::Relaxed) != 0 {
        stackless::next_tries(m, s);
    }
    made
}

/// A stack of the default size that nobody uses, of the pool or of an idle P.
#[cold]
pub(super) fn unused(inner: &mut Inner, list: usize) -> Option<Bound> {
    let of_pool = &mut inner.stack_pool[list];
    of_pool.pop().or_else(|| {
        // SAFETY: an idle P, and its cache, is the lock's holder's.
        inner.pidle.iter().find_map(|&p| unsafe { (*(*p).stacks[list].get()).pop() })
    })
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

/// A stack of the size that is used where address space is short, because there is no room for the one that `g` wants.
#[cold]
fn small(s: &Sched, g: &G, list: usize) -> io::Result<Bound> {
    let bound = sized(s, list, DEAR_DEFAULT_BYTES)?;
    g.stack_bytes.store(DEAR_DEFAULT_BYTES, Ordering::Relaxed);
    Ok(bound)
}

/// Takes the stack of a goroutine that ended. On g0.
#[inline]
pub(crate) fn take_back(m: &M, s: &'static Sched, g: &G) {
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
            Err(_) => return keep_unbound(s, size, stack),
        }
    }
    let pp = m.pp();
    if s.stackless.load(Ordering::Relaxed) != 0 && stackless::take(m, s, list, bound, size) {
        return;
    }
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
    // SAFETY: on g0 this M owns the P, and so its cache.
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

/// Counts the end of a goroutine whose stack is handed on. False: it must be taken back, see invariant 2. The P is the
/// caller's.
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
    // Release: pairs with the Acquire of GRef::state.
    next.host_state.store(state, Ordering::Release);
    next.stack_top.set(g.stack_top.get());
}

/// Moves the older half of a P's full cache to the pool.
#[cold]
#[inline(never)]
fn spill(s: &Sched, cache: &mut Vec<Bound>, list: usize) {
    s.inner.lock().stack_pool[list].used.extend(cache.drain(..BATCH));
}

/// Trims some stacks of the pool; true if more must be trimmed. For sysmon.
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

/// A message that says why there is no stack.
pub(crate) fn limit_text() -> &'static str {
    if memory::guards_take_mappings() {
        "no memory for a goroutine's stack, or no mapping: before Linux 6.13 each stack takes two of those \
         that vm.max_map_count allows a process"
    } else {
        "no memory for a goroutine's stack"
    }
}

/// Is there a stack for such a goroutine in the pool again, or room for one?
#[cold]
pub(crate) fn probe(s: &Sched, kind: Kind) -> io::Result<()> {
    if s.inner.lock().stack_pool[list_of(kind)].has_some() {
        return Ok(());
    }
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

// They write to stacks from outside: on Windows a stack grows only under the thread that runs on it.
#[cfg(all(test, unix, not(golib_loom)))]
mod tests {
    use super::*;
    use crate::runtime::object::stack::MIN_BYTES;
    use crate::runtime::proc::lists::acquirep;

    const GO: usize = 0;

    /// A scheduler of the test's own, and an M with a P.
    fn scheduler() -> (&'static Sched, &'static M, &'static P) {
        let s: &'static Sched = Box::leak(Box::new(Sched::new()));
        let (m, p) = (Box::leak(Box::new(M::new(1, false, s))), Box::leak(Box::new(P::new(0))));
        acquirep(m, p);
        (s, m, p)
    }

    /// A stack with something in its deepest page.
    fn used(s: &Sched, bytes: usize) -> Bound {
        let bound = make(s, GO, bytes).expect("address space");
        // SAFETY: nothing runs on it.
        unsafe { (bound.stack.lo as *mut u8).write(1) };
        bound
    }

    fn is_trimmed(bound: &Bound) -> bool {
        // SAFETY: nothing runs on it.
        unsafe { (bound.stack.lo as *const u8).read() == 0 }
    }

    /// A stack that is only a number.
    fn number(n: usize) -> Bound {
        Bound { stack: Stack { lo: n, hi: n }, state: ptr::null_mut(), top: n }
    }

    fn numbers<'a>(bounds: impl IntoIterator<Item = &'a Bound>) -> Vec<usize> {
        bounds.into_iter().map(|bound| bound.top).collect()
    }

    /// A goroutine of `s` that has ended on `bound`.
    fn ended(bound: Bound, bytes: usize) -> G {
        let g = G::new(Kind::Go);
        g.stack_bytes.store(bytes, Ordering::Relaxed);
        g.stack_top.set(bound.top);
        // SAFETY: the G is ours.
        unsafe { *g.stack.get() = bound.stack };
        g
    }

    #[test]
    fn deep_pages_of_the_pool_go_back_but_for_the_newest() {
        const OLD: usize = BATCH + 5;
        let (s, ..) = scheduler();
        let all: Vec<Bound> = (0..WARM + OLD).map(|_| used(s, MIN_BYTES)).collect();
        s.inner.lock().stack_pool[GO].used.extend(all.iter().copied());
        assert!(trim_pool(s), "more than a batch is to be trimmed");
        assert!(all[..BATCH].iter().all(is_trimmed) && !is_trimmed(&all[BATCH]));
        assert!(!trim_pool(s) && !trim_pool(s));
        assert!(all[..OLD].iter().all(is_trimmed));
        assert!(!all[OLD..].iter().any(is_trimmed));
        let inner = s.inner.lock();
        let pool = &inner.stack_pool[GO];
        assert_eq!((pool.used.len(), pool.trimmed.len()), (WARM, OLD));
    }

    #[test]
    fn a_busy_p_trims_the_next_stack_when_it_is_asked_and_an_idle_one_what_was_used() {
        let (s, m, p) = scheduler();
        let usual = s.stacks.default_size();
        let all: Vec<Bound> = (0..6).map(|_| used(s, usual)).collect();
        for (i, bound) in all.iter().enumerate() {
            p.trim_due.store(i == 1, Ordering::Relaxed);
            assert_eq!(one_more_end(m), i != 1, "whoever is succeeded is not taken back");
            p.exits.set(i as u32);
            take_back(m, s, &ended(*bound, usual));
            assert_eq!(is_trimmed(bound), i == 1);
            assert!(!p.trim_due.load(Ordering::Relaxed), "once it was asked");
        }
        assert_eq!(p.exits.get(), 6);
        p.exits.set(3);
        trim_cached(p);
        let trimmed: Vec<bool> = all.iter().map(is_trimmed).collect();
        assert_eq!(trimmed, [false, true, false, true, true, true], "the three used last");
        assert_eq!(p.exits.get(), 0);
    }

    #[test]
    fn a_full_cache_spills_its_older_half_and_an_empty_one_is_filled_from_there() {
        let (s, m, p) = scheduler();
        let usual = s.stacks.default_size();
        let all: Vec<usize> = (0..KEEP)
            .map(|_| {
                let bound = make(s, GO, usual).expect("address space");
                take_back(m, s, &ended(bound, usual));
                bound.top
            })
            .collect();
        // SAFETY: the P is the test's.
        let cache = unsafe { &mut *p.stacks[GO].get() };
        assert_eq!(numbers(&*cache), all[BATCH..]);
        assert_eq!(numbers(&s.inner.lock().stack_pool[GO].used), all[..BATCH]);
        cache.clear();
        let wants = ended(number(0), usual);
        let one = refill(m, s, cache, &wants).expect("there are some");
        assert_eq!(one.top, all[BATCH - 1]);
        assert_eq!(numbers(&*cache), all[..BATCH - 1]);
        cache.clear();
        let new = refill(m, s, cache, &wants).expect("address space");
        assert!(!all.contains(&new.top) && cache.is_empty());
    }

    #[test]
    fn stacks_of_other_sizes_are_trimmed_and_found_again_by_size() {
        let (s, m, p) = scheduler();
        let sizes = [MIN_BYTES, 4 * MIN_BYTES, MIN_BYTES];
        let all = sizes.map(|size| used(s, size));
        for (bound, size) in all.iter().zip(sizes) {
            take_back(m, s, &ended(*bound, size));
            assert!(is_trimmed(bound));
        }
        // SAFETY: the P is the test's.
        assert!(unsafe { (*p.stacks[GO].get()).is_empty() });
        assert_eq!(sized(s, GO, 4 * MIN_BYTES).expect("there is one").top, all[1].top);
        let mut small = [0, 1].map(|_| sized(s, GO, MIN_BYTES).expect("there are two").top);
        small.sort_unstable();
        let mut expected = [all[0].top, all[2].top];
        expected.sort_unstable();
        assert_eq!(small, expected);
        assert!(s.inner.lock().stacks_sized.is_empty());
    }

    #[test]
    fn a_stack_is_handed_on_with_the_hosts_state() {
        let (g, next) = (ended(number(7), 0), G::new(Kind::Host));
        g.host_state.store(ptr::without_provenance_mut(3), Ordering::Relaxed);
        // SAFETY: both are the test's.
        unsafe {
            hand_on(&g, &next);
            assert!((*g.stack.get()).is_none());
            assert_eq!((*next.stack.get()).lo, 7);
        }
        assert!(g.host_state.load(Ordering::Relaxed).is_null());
        assert_eq!(next.host_state.load(Ordering::Relaxed).addr(), 3);
        assert_eq!(next.stack_top.get(), 7);
    }
}
