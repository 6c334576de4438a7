//! A P's queue of runnable Rust goroutines: a ring of 256 and `runnext`.
//!
//! # Invariants
//! 1. Only the P's owner moves `tail` and writes slots; anybody may advance `head` by CAS.
//! 2. `tail - head` is the length, at most `CAP`; both only grow (wrapping).
//! 3. A slot is read before the CAS on `head` that takes it and not used if the CAS fails.
//!
//! # Memory ordering
//! The owner publishes slots by a Release store of `tail`; thieves load `tail` Acquire. A consumer
//! gives slots back by a Release CAS on `head`; the owner loads `head` Acquire before it reuses
//! them.
//!
//! Go: runtime/proc.go (runqput, runqget, runqsteal)

use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::object::g::G;

/// Slots of a ring; four under loom, to reach the full ring in few steps.
#[cfg(not(golib_loom))]
pub(crate) const CAP: u32 = 256;
/// See above.
#[cfg(golib_loom)]
pub(crate) const CAP: u32 = 4;

/// The ring.
pub(crate) struct RunQ {
    head: AtomicU32,
    tail: AtomicU32,
    /// The G that runs next, ahead of the ring: readied by the running goroutine.
    next: AtomicPtr<G>,
    slots: [AtomicPtr<G>; CAP as usize],
}

/// The overflow for the global queue: the G and half of the ring.
pub(crate) type Overflow = Vec<*mut G>;

impl RunQ {
    pub(crate) fn new() -> Self {
        RunQ {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            slots: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Puts `gp` at the ring's end, or (`next`) in front, kicking the former `runnext` to the end.
    /// Gs that do not fit are returned for the global queue.
    ///
    /// # Safety
    /// The caller owns the P; `gp` is runnable and in no queue.
    #[inline]
    pub(crate) unsafe fn put(&self, mut gp: *mut G, next: bool) -> Option<Overflow> {
        if next {
            if self.next.load(Ordering::Relaxed).is_null() {
                // Release: publishes gp; pairs with the Acquire of get's and grab's swap. Thieves
                // leave a null one alone.
                self.next.store(gp, Ordering::Release);
                return None;
            }
            // AcqRel: Release as above; Acquire pairs with the Release that put the old one there.
            gp = self.next.swap(gp, Ordering::AcqRel);
            if gp.is_null() {
                return None;
            }
        }
        // Acquire: slots given back by consumers may be reused; pairs with their CAS.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) < CAP {
            self.slots[(tail % CAP) as usize].store(gp, Ordering::Relaxed);
            // Release: publishes the slot and the G; pairs with Acquire in grab.
            self.tail.store(tail.wrapping_add(1), Ordering::Release);
            return None;
        }
        Some(self.overflow(gp, head))
    }

    /// Takes half of a full ring, to go to the global queue together with `gp`.
    #[cold]
    #[inline(never)]
    fn overflow(&self, gp: *mut G, head: u32) -> Overflow {
        let n = CAP / 2;
        let mut batch: Overflow = (0..n)
            .map(|i| self.slots[(head.wrapping_add(i) % CAP) as usize].load(Ordering::Relaxed))
            .collect();
        // Release: gives the slots back; by 3 a failed CAS means that thieves made room.
        if self
            .head
            .compare_exchange(head, head.wrapping_add(n), Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            batch.clear();
        }
        batch.push(gp);
        batch
    }

    /// Takes the next G; null if there is none. The flag: it came from `runnext` and inherits the
    /// time slice.
    ///
    /// # Safety
    /// The caller owns the P.
    #[inline]
    pub(crate) unsafe fn get(&self, allow_next: bool) -> (*mut G, bool) {
        if allow_next && !self.next.load(Ordering::Relaxed).is_null() {
            // AcqRel: Acquire pairs with put's Release; a thief may have been faster.
            let gp = self.next.swap(ptr::null_mut(), Ordering::AcqRel);
            if !gp.is_null() {
                return (gp, true);
            }
        }
        // Acquire: pairs with the Release CAS of thieves.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let tail = self.tail.load(Ordering::Relaxed);
            if tail == head {
                break;
            }
            let gp = self.slots[(head % CAP) as usize].load(Ordering::Relaxed);
            // Release: gives the slot back; pairs with Acquire in put.
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return (gp, false),
                Err(now) => head = now,
            }
        }
        if !allow_next && !self.next.load(Ordering::Relaxed).is_null() {
            // AcqRel: Acquire pairs with put's Release. The ring is empty, so runnext is all there is.
            return (self.next.swap(ptr::null_mut(), Ordering::AcqRel), false);
        }
        (ptr::null_mut(), false)
    }

    /// Puts back in front what `get(true)` has just given.
    ///
    /// # Safety
    /// The caller owns the P, and has put nothing since.
    #[inline]
    pub(crate) unsafe fn put_back(&self, gp: *mut G) {
        debug_assert!(self.next.load(Ordering::Relaxed).is_null());
        // Release: pairs with the Acquire of grab's swap. Only the owner fills a null `next`.
        self.next.store(gp, Ordering::Release);
    }

    /// Moves half of `self`'s Gs (with `steal_next`, also a lone `runnext`) to the thief's ring
    /// `to` and returns one of them to run; null if there was nothing.
    ///
    /// # Safety
    /// The caller owns the P of `to`, whose ring is empty.
    pub(crate) unsafe fn steal_into(&self, to: &RunQ, steal_next: bool) -> *mut G {
        let tail = to.tail.load(Ordering::Relaxed);
        let mut n = self.grab(to, tail, steal_next);
        if n == 0 {
            return ptr::null_mut();
        }
        n -= 1;
        let gp = to.slots[(tail.wrapping_add(n) % CAP) as usize].load(Ordering::Relaxed);
        if n > 0 {
            // Release: publishes the slots; pairs with the Acquire in grab.
            to.tail.store(tail.wrapping_add(n), Ordering::Release);
        }
        gp
    }

    /// Copies half of `self` to `to`'s slots from `tail` on; how many.
    fn grab(&self, to: &RunQ, tail: u32, steal_next: bool) -> u32 {
        loop {
            // Acquire: pairs with other consumers' CAS on head and with put's store of tail.
            let h = self.head.load(Ordering::Acquire);
            let t = self.tail.load(Ordering::Acquire);
            let len = t.wrapping_sub(h);
            let n = len - len / 2;
            if n == 0 {
                if steal_next && !self.next.load(Ordering::Relaxed).is_null() {
                    // AcqRel: Acquire pairs with put's Release.
                    let gp = self.next.swap(ptr::null_mut(), Ordering::AcqRel);
                    if gp.is_null() {
                        continue;
                    }
                    to.slots[(tail % CAP) as usize].store(gp, Ordering::Relaxed);
                    return 1;
                }
                return 0;
            }
            if n > CAP / 2 {
                continue; // h and t were read at different times
            }
            for i in 0..n {
                let gp = self.slots[(h.wrapping_add(i) % CAP) as usize].load(Ordering::Relaxed);
                to.slots[(tail.wrapping_add(i) % CAP) as usize].store(gp, Ordering::Relaxed);
            }
            // Release: gives the slots back; pairs with Acquire in put.
            if self
                .head
                .compare_exchange(h, h.wrapping_add(n), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return n;
            }
        }
    }

    /// How many Gs it holds, `next` included: a snapshot.
    pub(crate) fn len(&self) -> u32 {
        let next = u32::from(!self.next.load(Ordering::Relaxed).is_null());
        let tail = self.tail.load(Ordering::Relaxed);
        tail.wrapping_sub(self.head.load(Ordering::Relaxed)).min(CAP) + next
    }

    /// True if it looks empty; exact only for the owner.
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: pairs with the Release of put and of the consumers. Callers that decide about
        // sleeping put a fence of their own before it.
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Acquire)
            && self.next.load(Ordering::Acquire).is_null()
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::{RunQ, CAP};
    use crate::runtime::object::g::{Kind, G};
    use crate::test_rng::Rng;

    /// A ring and its `runnext` without their bounds.
    #[derive(Default)]
    struct Model {
        next: Option<*mut G>,
        ring: VecDeque<*mut G>,
    }

    impl Model {
        fn put(&mut self, mut gp: *mut G, next: bool) -> Option<Vec<*mut G>> {
            if next {
                gp = self.next.replace(gp)?;
            }
            if self.ring.len() < CAP as usize {
                self.ring.push_back(gp);
                return None;
            }
            let mut batch: Vec<_> = self.ring.drain(..CAP as usize / 2).collect();
            batch.push(gp);
            Some(batch)
        }

        fn get(&mut self, allow_next: bool) -> Option<(*mut G, bool)> {
            if let (true, Some(gp)) = (allow_next, self.next) {
                self.next = None;
                return Some((gp, true));
            }
            self.ring.pop_front().or_else(|| self.next.take()).map(|gp| (gp, false))
        }

        /// A thief's loot.
        fn steal(&mut self, steal_next: bool) -> Vec<*mut G> {
            let n = self.ring.len().div_ceil(2);
            let mut taken: Vec<_> = self.ring.drain(..n).collect();
            if n == 0 && steal_next {
                taken.extend(self.next.take());
            }
            taken
        }
    }

    fn drain(q: &RunQ) -> Vec<*mut G> {
        // SAFETY: the test owns the P.
        let get = || Some(unsafe { q.get(true) }.0).filter(|gp| !gp.is_null());
        std::iter::from_fn(get).collect()
    }

    #[test]
    fn a_ring_does_as_a_deque_with_a_place_in_front() {
        let mut rng = Rng::new("a_ring_does_as_a_deque");
        // Only their addresses are used: each is put as often as one likes.
        let gs: Vec<G> = (0..1000).map(|_| G::new(Kind::Go)).collect();
        let any = |rng: &mut Rng| (&raw const gs[rng.below(1000) as usize]).cast_mut();
        let (q, mut model) = (RunQ::new(), Model::default());
        let mut overflows = 0;
        for step in 0..30_000 {
            // Fuller and emptier by turns.
            let puts = if step / 2000 % 2 == 0 { 70 } else { 30 };
            // SAFETY: the test owns the P.
            unsafe {
                if rng.below(100) < puts {
                    let (gp, next) = (any(&mut rng), rng.one_in(3));
                    let batch = q.put(gp, next);
                    overflows += usize::from(batch.is_some());
                    assert_eq!(batch, model.put(gp, next));
                } else if rng.one_in(200) {
                    let (thief, steal_next) = (RunQ::new(), rng.one_in(2));
                    let mut expected = model.steal(steal_next);
                    let last = expected.pop().unwrap_or(std::ptr::null_mut());
                    assert_eq!(q.steal_into(&thief, steal_next), last);
                    assert_eq!(drain(&thief), expected);
                } else {
                    let allow_next = !rng.one_in(4);
                    let (gp, from_next) = q.get(allow_next);
                    let got = (!gp.is_null()).then_some((gp, from_next));
                    assert_eq!(got, model.get(allow_next));
                    if allow_next && !gp.is_null() && rng.one_in(5) {
                        q.put_back(gp);
                        model.next = Some(gp);
                    }
                }
            }
            let len = model.ring.len() + usize::from(model.next.is_some());
            assert_eq!((q.len() as usize, q.is_empty()), (len, len == 0));
        }
        assert!(overflows > 0, "it was never full");
    }

    #[test]
    fn whoever_takes_a_g_beside_thieves_has_it_alone() {
        const N: usize = 20_000;
        let mut rng = Rng::new("whoever_takes_a_g");
        let gs: Vec<G> = (0..N).map(|_| G::new(Kind::Go)).collect();
        let times: Vec<AtomicU32> = (0..N).map(|_| AtomicU32::new(0)).collect();
        let took = |gp: *mut G| {
            let i = (gp.addr() - gs.as_ptr().addr()) / size_of::<G>();
            times[i].fetch_add(1, Ordering::Relaxed);
        };
        let (q, over) = (RunQ::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mine = RunQ::new();
                    while !over.load(Ordering::Acquire) {
                        // SAFETY: its P is this thread's, and its ring empty.
                        let gp = unsafe { q.steal_into(&mine, true) };
                        if gp.is_null() {
                            std::thread::yield_now();
                        } else {
                            took(gp);
                            drain(&mine).into_iter().for_each(took);
                        }
                    }
                });
            }
            for g in &gs {
                // SAFETY: the P is this thread's.
                unsafe {
                    let batch = q.put((&raw const *g).cast_mut(), rng.one_in(2));
                    batch.into_iter().flatten().for_each(took);
                    let (gp, from_next) = q.get(rng.one_in(2));
                    if gp.is_null() {
                        continue;
                    }
                    if from_next && rng.one_in(2) {
                        q.put_back(gp);
                    } else if rng.one_in(3) {
                        took(gp);
                    } else if let Some(batch) = q.put(gp, false) {
                        batch.into_iter().for_each(took);
                    }
                }
            }
            drain(&q).into_iter().for_each(took);
            over.store(true, Ordering::Release);
        });
        assert!(times.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }
}
