//! A G in a wait queue: one for each case of a wait.
//!
//! Go takes sudogs from a pool since its stacks move; ours do not, so a sudog lives in the frame
//! of the operation that waits.
//!
//! # Invariants
//! 1. A sudog is linked into its queue only under the queue's lock.
//! 2. It is out of every queue before the operation that made it returns: the claimer dequeued it
//!    or, when another case, a timer or an interrupt won, the waiter takes it out itself.
//!
//! Go: runtime/runtime2.go (sudog)

use std::cell::Cell;
use std::ptr;

use crate::runtime::object::g::G;

/// A waiter in a queue.
pub(crate) struct Sudog {
    pub(crate) g: *mut G,
    /// The value to send, or where to receive it. The claimer, then the waiter.
    pub(crate) elem: Cell<*mut ()>,
    pub(crate) next: Cell<*mut Sudog>,
    pub(crate) prev: Cell<*mut Sudog>,
    /// Linked in a queue. Guarded by the queue's lock.
    pub(crate) queued: Cell<bool>,
    /// True: a value was passed; false: woken by close. The claimer, before goready.
    pub(crate) success: Cell<bool>,
    /// The case of a select; or another note of the primitive's (a weight).
    pub(crate) tag: usize,
}

impl Sudog {
    pub(crate) fn new(g: *mut G, elem: *mut (), tag: usize) -> Self {
        Sudog {
            g,
            elem: Cell::new(elem),
            next: Cell::new(ptr::null_mut()),
            prev: Cell::new(ptr::null_mut()),
            queued: Cell::new(false),
            success: Cell::new(false),
            tag,
        }
    }
}

/// A FIFO of waiters, guarded by the lock of what owns it.
pub(crate) struct WaitQ {
    first: Cell<*mut Sudog>,
    last: Cell<*mut Sudog>,
}

impl WaitQ {
    pub(crate) const fn new() -> Self {
        WaitQ { first: Cell::new(ptr::null_mut()), last: Cell::new(ptr::null_mut()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// The first waiter, still queued.
    pub(crate) fn first(&self) -> *mut Sudog {
        self.first.get()
    }

    /// Appends `sg`.
    ///
    /// # Safety
    /// The queue's lock is held; `sg` is in no queue and stays valid until it is out again.
    pub(crate) unsafe fn enqueue(&self, sg: *mut Sudog) {
        // SAFETY: the caller's duty; queued sudogs are valid by the module's invariant 2.
        unsafe {
            let last = self.last.get();
            (*sg).next.set(ptr::null_mut());
            (*sg).prev.set(last);
            (*sg).queued.set(true);
            if last.is_null() {
                self.first.set(sg);
            } else {
                (*last).next.set(sg);
            }
            self.last.set(sg);
        }
    }

    /// Puts `sg` in front: a waiter that was woken and lost keeps its turn.
    ///
    /// # Safety
    /// As [`WaitQ::enqueue`].
    pub(crate) unsafe fn enqueue_front(&self, sg: *mut Sudog) {
        // SAFETY: the caller's duty.
        unsafe {
            let first = self.first.get();
            (*sg).prev.set(ptr::null_mut());
            (*sg).next.set(first);
            (*sg).queued.set(true);
            if first.is_null() {
                self.last.set(sg);
            } else {
                (*first).prev.set(sg);
            }
            self.first.set(sg);
        }
    }

    /// Takes `sg` out if it is queued.
    ///
    /// # Safety
    /// The queue's lock is held and `sg` is in this queue or in none.
    pub(crate) unsafe fn remove(&self, sg: *mut Sudog) {
        // SAFETY: the caller's duty.
        unsafe {
            if !(*sg).queued.get() {
                return;
            }
            let (prev, next) = ((*sg).prev.get(), (*sg).next.get());
            if prev.is_null() {
                self.first.set(next);
            } else {
                (*prev).next.set(next);
            }
            if next.is_null() {
                self.last.set(prev);
            } else {
                (*next).prev.set(prev);
            }
            (*sg).queued.set(false);
        }
    }

    /// Takes out waiters from the front until one can be claimed; null when none is left.
    ///
    /// # Safety
    /// The queue's lock is held. The caller must ready the G of the sudog it gets.
    pub(crate) unsafe fn dequeue_claimed(&self) -> *mut Sudog {
        loop {
            let sg = self.first.get();
            if sg.is_null() {
                return sg;
            }
            // SAFETY: queued sudogs are valid, and so is their G.
            unsafe {
                self.remove(sg);
                if (*(*sg).g).wait.claim_peer() {
                    (*(*sg).g).param.set(sg.cast());
                    return sg;
                }
            }
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::ptr;

    use super::{Sudog, WaitQ};
    use crate::runtime::object::g::{Kind, G};
    use crate::runtime::object::wait::Wake;
    use crate::test_rng::Rng;

    #[test]
    fn a_queue_of_waiters_does_as_a_list_that_loses_those_who_left() {
        const N: usize = 40;
        let mut rng = Rng::new("a_queue_of_waiters");
        let gs: Vec<G> = (0..N).map(|_| G::new(Kind::Go)).collect();
        let sudogs: Vec<Sudog> =
            (0..N).map(|i| Sudog::new((&raw const gs[i]).cast_mut(), ptr::null_mut(), i)).collect();
        let at = |i: usize| (&raw const sudogs[i]).cast_mut();
        let q = WaitQ::new();
        let mut model: Vec<usize> = Vec::new();
        for _ in 0..30_000 {
            let i = rng.below(N as u64) as usize;
            let place = model.iter().position(|&j| j == i);
            // SAFETY: the queue is the test's alone, and the sudogs outlive it.
            unsafe {
                match (rng.below(10), place) {
                    (0..5, None) => {
                        assert!(gs[i].wait.begin());
                        if rng.one_in(3) {
                            q.enqueue_front(at(i));
                            model.insert(0, i);
                        } else {
                            q.enqueue(at(i));
                            model.push(i);
                        }
                    }
                    // A timer is faster than the peer, and the waiter does not come to take itself out.
                    (0..2, Some(_)) => _ = gs[i].wait.claim_timer(gs[i].wait.generation()),
                    (2..5, Some(place)) => {
                        q.remove(at(i));
                        gs[i].wait.claim_peer();
                        model.remove(place);
                    }
                    (5..7, None) => q.remove(at(i)), // in no queue: nothing happens
                    _ => {
                        let waits = |&j: &usize| gs[j].wait.is_waiting();
                        let first = model.iter().position(waits);
                        let mut gone = model.drain(..first.map_or(model.len(), |n| n + 1));
                        let expected = gone.next_back().filter(|_| first.is_some());
                        let sg = q.dequeue_claimed();
                        assert_eq!(sg, expected.map_or(ptr::null_mut(), at));
                        if let Some(i) = expected {
                            assert_eq!(gs[i].param.get(), sg.cast());
                            assert_eq!(gs[i].wait.outcome(), Wake::Peer);
                        }
                    }
                }
            }
            let first = model.first().map_or(ptr::null_mut(), |&i| at(i));
            assert_eq!((q.first(), q.is_empty()), (first, model.is_empty()));
            assert!((0..N).all(|i| sudogs[i].queued.get() == model.contains(&i)));
        }
    }
}
