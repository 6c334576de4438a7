//! Runnable goroutines of the embedder's interpreter: the queue of the P that has the right.
//!
//! # Invariants
//! 1. `first`, `last`, `next` belong to the P's owner alone: no atomics, no stealing.
//! 2. Everybody else pushes to the `inbox`, a stack that the owner takes whole and reverses, so
//!    that order among one pusher's Gs is kept.
//! 3. Goroutines that wake from a sleep overtake a long queue: those up to `passing`, and no others, were put in front
//!    of it. Else a ticker would be late by a thousand hand-offs where a thousand goroutines begin with a call that
//!    blocks. Sleepers keep their order, and at most `MOST_PASS` of them overtake a goroutine that waits.
//! 4. `len` counts `first…last` and `next`; others read it as a hint.
//!
//! # Memory ordering
//! A push to the inbox is a Release CAS; the owner's swap is Acquire: it sees the G as the pusher
//! left it.

use std::cell::Cell;
use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::object::g::G;
use crate::runtime::object::waitreason::WaitReason;

/// `next` may overtake the queue this often in a row: two goroutines that wake one another must
/// not starve the rest.
const NEXT_LIMIT: u32 = 64;

/// How many must be waiting before goroutines that wake may overtake them.
const LONG: u32 = 32;
/// By 3.
const MOST_PASS: u32 = 64;

/// The queue.
pub(crate) struct HostQ {
    first: Cell<*mut G>,
    last: Cell<*mut G>,
    next: Cell<*mut G>,
    overtakes: Cell<u32>,
    /// Sleepers that have passed by the first one that has not.
    passed: Cell<u32>,
    /// By 3; null: nobody overtakes.
    passing: Cell<*mut G>,
    len: AtomicU32,
    inbox: AtomicPtr<G>,
}

/// The G that comes next, still in the queue.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    gp: *mut G,
    overtakes: bool,
}

impl Head {
    /// Null if the queue is empty.
    #[inline(always)]
    pub(crate) fn gp(self) -> *mut G {
        self.gp
    }
}

impl HostQ {
    pub(crate) fn new() -> Self {
        HostQ {
            first: Cell::new(ptr::null_mut()),
            last: Cell::new(ptr::null_mut()),
            next: Cell::new(ptr::null_mut()),
            overtakes: Cell::new(0),
            passed: Cell::new(0),
            passing: Cell::new(ptr::null_mut()),
            len: AtomicU32::new(0),
            inbox: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline(always)]
    fn add_len(&self, n: i32) {
        // Relaxed, not an RMW: by 1 and 4 there is one writer, and readers only want a hint.
        self.len.store(self.len.load(Ordering::Relaxed).wrapping_add_signed(n), Ordering::Relaxed);
    }

    /// Puts `gp` at the end, or (`next`) in front, kicking the former `next` to the end.
    ///
    /// # Safety
    /// The caller owns the P; `gp` is runnable and in no queue.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, gp: *mut G, next: bool) {
        self.add_len(1);
        let gp = if next { self.next.replace(gp) } else { gp };
        if !gp.is_null() {
            // SAFETY: the caller's duty.
            unsafe { self.append(gp) };
        }
    }

    /// Puts `gp`, which wakes from a sleep, at the end, or past those that wait, by 3.
    ///
    /// # Safety
    /// As `put`.
    pub(crate) unsafe fn put_sleeper(&self, gp: *mut G) {
        let (first, passing) = (self.first.get(), self.passing.get());
        // SAFETY: queued Gs are valid, and linked only by their queue's owner; a long queue has a first.
        unsafe {
            let passes = self.len() >= LONG
                && self.passed.get() < MOST_PASS
                && !first.is_null()
                && (!passing.is_null() || !is_sleeper(first));
            if !passes {
                self.put(gp, false);
                return;
            }
            self.add_len(1);
            self.passed.set(self.passed.get() + 1);
            if passing.is_null() {
                (*gp).schedlink.set(first);
                self.first.set(gp);
            } else {
                (*gp).schedlink.set((*passing).schedlink.replace(gp));
                if self.last.get() == passing {
                    self.last.set(gp);
                }
            }
        }
        self.passing.set(gp);
    }

    /// Links `gp` at the end.
    ///
    /// # Safety
    /// As `put`.
    #[inline(always)]
    unsafe fn append(&self, gp: *mut G) {
        // SAFETY: queued Gs are valid (never freed) and linked only by their queue's owner.
        unsafe {
            (*gp).schedlink.set(ptr::null_mut());
            let last = self.last.replace(gp);
            if last.is_null() {
                self.first.set(gp);
            } else {
                (*last).schedlink.set(gp);
            }
        }
    }

    /// Takes the next G; null if there is none.
    ///
    /// # Safety
    /// The caller owns the P.
    #[inline(always)]
    pub(crate) unsafe fn get(&self) -> *mut G {
        // SAFETY: the caller's duty; nothing is put in between.
        unsafe {
            let head = self.head();
            if !head.gp.is_null() {
                self.take(head);
            }
            head.gp
        }
    }

    /// Which G comes next.
    ///
    /// # Safety
    /// The caller owns the P.
    #[inline(always)]
    pub(crate) unsafe fn head(&self) -> Head {
        // Relaxed: the swap in drain_inbox orders what a push published.
        if !self.inbox.load(Ordering::Relaxed).is_null() {
            // SAFETY: the caller's duty.
            unsafe { self.drain_inbox() };
        }
        let (next, first) = (self.next.get(), self.first.get());
        if !next.is_null() && (self.overtakes.get() < NEXT_LIMIT || first.is_null()) {
            Head { gp: next, overtakes: true }
        } else {
            Head { gp: first, overtakes: false }
        }
    }

    /// Takes the G that comes next.
    ///
    /// # Safety
    /// The caller owns the P; `head`, not null, was given by [`head`](Self::head), and nothing was put
    /// or taken since.
    #[inline(always)]
    pub(crate) unsafe fn take(&self, head: Head) {
        self.add_len(-1);
        if head.overtakes {
            self.overtakes.set(self.overtakes.get().wrapping_add(1));
            self.next.set(ptr::null_mut());
            return;
        }
        self.overtakes.set(0);
        if self.passing.get().is_null() {
            self.passed.set(0);
        } else if self.passing.get() == head.gp {
            self.passing.set(ptr::null_mut());
        }
        // SAFETY: queued Gs are valid.
        let after = unsafe { (*head.gp).schedlink.get() };
        self.first.set(after);
        if after.is_null() {
            self.last.set(ptr::null_mut());
            return;
        }
        // SAFETY: as above. Its fields were brought near when it became the second.
        unsafe {
            (*after).bring_context_near();
            G::bring_near((*after).schedlink.get());
        }
    }

    /// Puts `gp` where any thread may: the inbox.
    ///
    /// # Safety
    /// `gp` is runnable and in no queue.
    pub(crate) unsafe fn push_inbox(&self, gp: *mut G) {
        let mut top = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: gp is ours until the CAS succeeds.
            unsafe { (*gp).schedlink.set(top) };
            // Release: publishes gp; pairs with the Acquire swap in drain_inbox.
            match self.inbox.compare_exchange_weak(top, gp, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Moves the inbox to the end of the queue, oldest first.
    ///
    /// # Safety
    /// The caller owns the P.
    #[cold]
    #[inline(never)]
    unsafe fn drain_inbox(&self) {
        // Acquire: pairs with push_inbox.
        let newest = self.inbox.swap(ptr::null_mut(), Ordering::Acquire);
        let (mut gp, mut oldest, mut n) = (newest, ptr::null_mut(), 0);
        let mut sleepers = false;
        // SAFETY: the swapped-out list is ours alone; queued Gs are valid. One walk: many Gs are not near.
        unsafe {
            while !gp.is_null() {
                sleepers |= is_sleeper(gp);
                let below = (*gp).schedlink.replace(oldest);
                oldest = gp;
                gp = below;
                n += 1;
            }
            if oldest.is_null() {
                return;
            }
            if sleepers && self.len() >= LONG {
                self.put_each(oldest);
                return;
            }
            match self.last.replace(newest) {
                last if last.is_null() => self.first.set(oldest),
                last => (*last).schedlink.set(oldest),
            }
        }
        self.add_len(n);
    }

    /// Puts each of a list where it belongs, in order.
    ///
    /// # Safety
    /// As `put`, for all that are linked behind `gp`.
    unsafe fn put_each(&self, mut gp: *mut G) {
        while !gp.is_null() {
            // SAFETY: the caller's duty.
            unsafe {
                let after = (*gp).schedlink.get();
                match is_sleeper(gp) {
                    true => self.put_sleeper(gp),
                    false => self.put(gp, false),
                }
                gp = after;
            }
        }
    }

    /// How many Gs it holds without the inbox: a hint.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// True if nothing waits here; exact for the owner, and for an idle M after its fence.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0 && self.inbox.load(Ordering::Relaxed).is_null()
    }
}

/// True for one that was woken from a sleep.
///
/// # Safety
/// `gp` is valid, and the caller's, or queued in the caller's queue.
unsafe fn is_sleeper(gp: *mut G) -> bool {
    // SAFETY: the caller's duty. One that has not begun was not woken from anything.
    unsafe { (*gp).sched_sp.get() != 0 && (*gp).waitreason.get() == WaitReason::Sleep }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::collections::VecDeque;
    use std::ptr;

    use super::{HostQ, LONG, MOST_PASS, NEXT_LIMIT};
    use crate::runtime::object::g::{Kind, G};
    use crate::runtime::object::waitreason::WaitReason;
    use crate::test_rng::Rng;

    fn gs(n: usize) -> Vec<G> {
        (0..n).map(|_| G::new(Kind::Host)).collect()
    }

    #[derive(Default)]
    struct Model {
        next: Option<usize>,
        overtakes: u32,
        queue: VecDeque<usize>,
        inbox: Vec<usize>,
    }

    impl Model {
        fn put(&mut self, i: usize, next: bool) {
            let end = if next { self.next.replace(i) } else { Some(i) };
            self.queue.extend(end);
        }

        fn get(&mut self) -> Option<usize> {
            self.queue.extend(self.inbox.drain(..));
            if self.overtakes < NEXT_LIMIT || self.queue.is_empty() {
                if let Some(i) = self.next.take() {
                    self.overtakes += 1;
                    return Some(i);
                }
            }
            let i = self.queue.pop_front()?;
            self.overtakes = 0;
            Some(i)
        }
    }

    #[test]
    fn the_hosts_queue_does_as_a_deque_with_a_place_in_front_and_an_inbox() {
        const N: usize = 300;
        let mut rng = Rng::new("the_hosts_queue");
        let gs = gs(N);
        let (q, mut model) = (HostQ::new(), Model::default());
        let mut outside: Vec<usize> = (0..N).collect();
        for _ in 0..30_000 {
            if rng.below(100) < 48 && !outside.is_empty() {
                let i = outside.swap_remove(rng.below(outside.len() as u64) as usize);
                let gp = (&raw const gs[i]).cast_mut();
                // SAFETY: the test owns the P; the G is in no queue.
                unsafe {
                    if rng.one_in(3) {
                        q.push_inbox(gp);
                        model.inbox.push(i);
                    } else {
                        let next = rng.one_in(2);
                        q.put(gp, next);
                        model.put(i, next);
                    }
                }
            } else {
                // SAFETY: as above.
                let gp = unsafe { q.get() };
                let expected = model.get();
                let wanted = expected.map_or(ptr::null_mut(), |i| (&raw const gs[i]).cast_mut());
                assert_eq!(gp, wanted);
                outside.extend(expected);
            }
            let len = model.queue.len() + usize::from(model.next.is_some());
            assert_eq!(q.len() as usize, len);
            assert_eq!(q.is_empty(), len + model.inbox.len() == 0);
        }
    }

    /// A G that has begun, and waits for `reason`.
    fn woken(reason: WaitReason) -> G {
        let g = G::new(Kind::Host);
        g.sched_sp.set(1);
        g.waitreason.set(reason);
        g
    }

    #[test]
    fn whoever_wakes_passes_by_many_that_wait_but_not_by_sleepers_and_not_for_ever() {
        let waiting = gs(3 * LONG as usize);
        let sleepers: Vec<G> = (0..200).map(|_| woken(WaitReason::Sleep)).collect();
        let at = |g: &G| (&raw const *g).cast_mut();
        let q = HostQ::new();
        // SAFETY: the test owns the P; each is in the queue once.
        unsafe {
            let mut next = sleepers.iter();
            // A short queue is passed by nobody.
            q.put(at(&waiting[0]), false);
            q.put_sleeper(at(next.next().unwrap()));
            assert!(q.get() == at(&waiting[0]) && q.get() == at(&sleepers[0]));
            waiting.iter().for_each(|g| q.put(at(g), false));
            // Half by way of the inbox; in their order, and so many at most.
            for g in next.by_ref().take(40) {
                q.put_sleeper(at(g));
            }
            next.by_ref().take(159).for_each(|g| q.push_inbox(at(g)));
            for g in &sleepers[1..=MOST_PASS as usize] {
                assert_eq!(q.get(), at(g));
            }
            assert_eq!(q.get(), at(&waiting[0]));
            // One that comes now passes the next one.
            q.put_sleeper(at(&sleepers[0]));
            assert_eq!(q.get(), at(&sleepers[0]));
            waiting[1..].iter().for_each(|g| assert_eq!(q.get(), at(g)));
            // Those that had been too many: nobody passes by them.
            q.put_sleeper(at(&sleepers[0]));
            for g in &sleepers[MOST_PASS as usize + 1..] {
                assert_eq!(q.get(), at(g));
            }
            assert!(q.get() == at(&sleepers[0]) && q.get().is_null() && q.is_empty());
        }
    }

    #[test]
    fn two_that_wake_one_another_do_not_starve_a_third() {
        let gs = gs(3);
        let [a, b, third] = [0, 1, 2].map(|i| (&raw const gs[i]).cast_mut());
        let q = HostQ::new();
        // SAFETY: the test owns the P; each is in the queue once.
        unsafe {
            q.put(third, false);
            q.put(a, true);
            for turn in 0.. {
                assert!(turn <= NEXT_LIMIT);
                let gp = q.get();
                if gp == third {
                    break;
                }
                q.put(if gp == a { b } else { a }, true);
            }
        }
    }

    #[test]
    fn what_several_push_at_once_arrives_in_the_order_of_each() {
        const EACH: usize = 5_000;
        let gs: Vec<Vec<G>> = (0..3).map(|_| gs(EACH)).collect();
        let q = HostQ::new();
        /// The owner's part of it is used by one thread.
        struct Shared<'a>(&'a HostQ);
        // SAFETY: the others push only.
        unsafe impl Sync for Shared<'_> {}
        let shared = &Shared(&q);
        std::thread::scope(|scope| {
            for theirs in &gs {
                scope.spawn(move || {
                    let Shared(q) = shared;
                    for g in theirs {
                        // SAFETY: in no queue.
                        unsafe { q.push_inbox((&raw const *g).cast_mut()) };
                    }
                });
            }
            let mut seen = [0; 3];
            while seen.iter().sum::<usize>() < 3 * EACH {
                // SAFETY: this thread is the owner.
                let gp = unsafe { q.get() };
                if gp.is_null() {
                    std::thread::yield_now();
                    continue;
                }
                let whose = gs.iter().position(|gs| gs.as_ptr_range().contains(&gp.cast_const()));
                let whose = whose.expect("one of ours");
                assert_eq!(gp.cast_const(), &raw const gs[whose][seen[whose]]);
                seen[whose] += 1;
            }
        });
        assert!(q.is_empty());
    }
}
