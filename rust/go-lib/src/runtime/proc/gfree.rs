//! Dead Gs, for the next goroutines; their numbers, and how many live.
//!
//! # Invariants
//! 1. A dead G is on exactly one free list: its P's, or the scheduler's.
//!
//! Go: runtime/proc.go (gfget, gfput)

use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GDEAD, GIDLE};
use crate::runtime::object::m::M;
use crate::runtime::object::p::GList;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::sched::{GPtr, Sched};

/// Dead Gs moved between a P and the scheduler at a time.
const BATCH: u32 = 32;
/// Dead Gs a P keeps.
const KEEP: u32 = 2 * BATCH;
/// Gs made at a time.
const SLAB: usize = 64;
/// Goroutine numbers a P reserves at a time.
const GOIDS: u64 = 16;

/// A dead G.
#[inline]
pub(crate) fn gfget(m: &M, s: &'static Sched) -> *mut G {
    let pp = m.pp();
    if pp.is_null() {
        // SAFETY: the lock is held.
        let gp = unsafe { s.inner.lock().gfree.pop() };
        return if gp.is_null() { make_g(s, None) } else { gp };
    }
    // SAFETY: inside the runtime this M owns the P, and so its list.
    unsafe {
        let list = &(*pp).gfree;
        let gp = list.pop();
        if gp.is_null() {
            gf_refill(s, list)
        } else {
            gp
        }
    }
}

/// Fills a P's empty list from the scheduler's and returns one more; new Gs if there is none.
#[cold]
#[inline(never)]
fn gf_refill(s: &'static Sched, list: &GList) -> *mut G {
    {
        let inner = s.inner.lock();
        // SAFETY: the lock is held; the P's list is ours.
        unsafe {
            while list.len.get() < BATCH {
                let gp = inner.gfree.pop();
                if gp.is_null() {
                    break;
                }
                list.push(gp);
            }
            let gp = list.pop();
            if !gp.is_null() {
                return gp;
            }
        }
    }
    make_g(s, Some(list))
}

/// A new G; with a list, a slab of them.
#[cold]
fn make_g(s: &'static Sched, list: Option<&GList>) -> *mut G {
    let n = if list.is_some() { SLAB } else { 1 };
    let slab: &'static mut [G] = Vec::leak((0..n).map(|_| G::new(Kind::Go)).collect::<Vec<_>>());
    let mut allgs = s.allgs.lock();
    let mut first: *mut G = ptr::null_mut();
    for g in slab {
        casgstatus(g, GIDLE, GDEAD);
        let gp: *mut G = g;
        allgs.push(GPtr(gp));
        match list {
            Some(list) if !first.is_null() => {
                // SAFETY: a new G, our list.
                unsafe { list.push(gp) }
            }
            _ => first = gp,
        }
    }
    first
}

/// Puts a dead G where the next goroutine finds it.
#[inline]
pub(crate) fn gfput(m: &M, s: &Sched, gp: *mut G) {
    let pp = m.pp();
    // SAFETY: gp is dead and on no list; inside the runtime the P and its list are ours.
    unsafe {
        if pp.is_null() {
            s.inner.lock().gfree.push(gp);
            return;
        }
        let list = &(*pp).gfree;
        list.push(gp);
        if list.len.get() >= KEEP {
            gf_spill(s, list);
        }
    }
}

/// Moves a batch from a P's full list to the scheduler's.
#[cold]
#[inline(never)]
fn gf_spill(s: &Sched, list: &GList) {
    let inner = s.inner.lock();
    for _ in 0..BATCH {
        // SAFETY: our list, the lock is held.
        unsafe { inner.gfree.push(list.pop()) };
    }
}

#[inline]
pub(crate) fn add_gcount(m: &M, s: &Sched, n: i64) {
    let pp = m.pp();
    if pp.is_null() {
        s.gcount.fetch_add(n, Ordering::Relaxed);
    } else {
        // SAFETY: inside the runtime the P is ours.
        unsafe { (*pp).add_gcount(n) };
    }
}

#[inline]
pub(crate) fn next_goid(m: &M, s: &Sched) -> u64 {
    let pp = m.pp();
    if pp.is_null() {
        return s.goid.fetch_add(1, Ordering::Relaxed) + 1;
    }
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*pp };
    if p.goid_next.get() == p.goid_end.get() {
        let first = s.goid.fetch_add(GOIDS, Ordering::Relaxed) + 1;
        p.goid_next.set(first);
        p.goid_end.set(first + GOIDS);
    }
    p.goid_next.replace(p.goid_next.get() + 1)
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::runtime::object::p::P;
    use crate::runtime::proc::lists::acquirep;

    /// An M of `s` with a P of its own.
    fn m_with_p(s: &'static Sched) -> (&'static M, &'static P) {
        let (m, p) = (Box::leak(Box::new(M::new(1, false, s))), Box::leak(Box::new(P::new(0))));
        acquirep(m, p);
        (m, p)
    }

    fn scheduler() -> &'static Sched {
        Box::leak(Box::new(Sched::new()))
    }

    #[test]
    fn dead_gs_go_round_between_ps_and_none_is_given_to_two() {
        const N: usize = 200;
        let s = scheduler();
        let ms = [m_with_p(s), m_with_p(s)];
        let without_p: &'static M = Box::leak(Box::new(M::new(2, false, s)));
        let mut made = 0;
        for round in 0..6 {
            // One P takes, the other gives back, as if goroutines ended where they did not begin.
            let ((taker, _), (giver, list)) = (ms[round % 2], ms[1 - round % 2]);
            let all: HashSet<*mut G> = (0..N).map(|_| gfget(taker, s)).collect();
            assert_eq!(all.len(), N, "two have the same");
            assert!(all.iter().all(|gp| !gp.is_null()));
            let another = gfget(without_p, s);
            assert!(!all.contains(&another));
            gfput(without_p, s, another);
            for gp in all {
                gfput(giver, s, gp);
                assert!(list.gfree.len.get() < KEEP);
            }
            let count = s.allgs.lock().len();
            let listed: u32 = ms.iter().map(|(_, p)| p.gfree.len.get()).sum();
            assert_eq!((listed + s.inner.lock().gfree.len.get()) as usize, count);
            assert!(round < 2 || count == made, "new ones though there are dead ones");
            made = count;
        }
    }

    #[test]
    fn a_refill_takes_a_batch_and_leaves_the_rest() {
        let s = scheduler();
        let (m, p) = m_with_p(s);
        let all: Vec<*mut G> = (0..100).map(|_| make_g(s, None)).collect();
        for gp in &all {
            // SAFETY: dead, on no list; the lock is held.
            unsafe { s.inner.lock().gfree.push(*gp) };
        }
        assert_eq!(gfget(m, s), all[100 - BATCH as usize], "the last of the batch");
        assert_eq!((p.gfree.len.get(), s.inner.lock().gfree.len.get()), (BATCH - 1, 100 - BATCH));
    }

    #[test]
    fn no_two_goroutines_have_one_number_wherever_they_are_made() {
        const EACH: usize = 2_000;
        let s = scheduler();
        let all: Vec<u64> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|i| {
                    scope.spawn(move || {
                        let m: &M = if i == 0 {
                            Box::leak(Box::new(M::new(9, false, s)))
                        } else {
                            m_with_p(s).0
                        };
                        (0..EACH).map(|_| next_goid(m, s)).collect::<Vec<_>>()
                    })
                })
                .collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        });
        assert!(all.chunks(EACH).all(<[u64]>::is_sorted), "a later one of a P has a lower number");
        let different: HashSet<u64> = all.iter().copied().collect();
        assert_eq!(different.len(), all.len());
        assert!(!different.contains(&0), "a g0's");
    }

    #[test]
    fn goroutines_are_counted_where_they_begin_and_where_they_end() {
        let s = scheduler();
        let (ms, without_p) = ([m_with_p(s), m_with_p(s)], M::new(2, false, s));
        add_gcount(ms[0].0, s, 1);
        add_gcount(ms[0].0, s, 1);
        add_gcount(ms[1].0, s, -1);
        add_gcount(&without_p, s, -1);
        let of_ps: i64 = ms.iter().map(|(_, p)| p.gcount.load(Ordering::Relaxed)).sum();
        assert_eq!((of_ps, s.gcount.load(Ordering::Relaxed)), (1, -1));
    }
}
