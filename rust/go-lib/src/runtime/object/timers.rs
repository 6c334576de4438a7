//! The timers of one P: a 4-ary heap, ordered by when they are due.
//!
//! The heap is passive: it tells which timers are due, and `proc` acts. A wait has one deadline at
//! most, so each G embeds the one [`Timer`] it can need and arming allocates nothing but heap
//! slots. A timer may also belong to an alarm (`runtime::block::time`), and calls a function of its
//! owner.
//!
//! # Invariants
//! 1. `heap[i].when <= heap[c].when` for each child `c` in `4i+1 ..= 4i+4`.
//! 2. A timer is in one heap at most. `Timer::heap` names it, `Timer::index` is its slot there;
//!    both are written under that heap's lock.
//! 3. A timer and the `Timers` it is in stay where they are and valid while it is armed.
//! 4. `earliest` is the root's `when`, or [`NEVER`] for an empty heap, whenever the lock is free.
//! 5. A timer that was popped acts outside the lock, so a disarm may come between: its `seq` makes
//!    one that comes too late harmless. For a wait that is the generation in the claim word.
//!
//! Go: runtime/time.go (timers)

use std::cell::Cell;
use std::ptr;

use crate::prim::{AtomicI64, AtomicPtr, Ordering};
use crate::runtime::object::g::G;
use crate::runtime::object::lock::Locked;

/// The `when` of no timer.
pub(crate) const NEVER: i64 = i64::MAX;

/// Timers fired between two acquisitions of the lock.
const BATCH: usize = 32;

/// A timer's action when it is due: `fire(arg, seq)`, on g0 with no lock held. Returns a G whose
/// wait it has claimed, for the caller to ready, or null.
#[derive(Clone, Copy)]
pub(crate) struct Action {
    pub(crate) fire: unsafe fn(*mut (), u64) -> *mut G,
    pub(crate) arg: *mut (),
    /// The setting for which `arg` was armed, by 5.
    pub(crate) seq: u64,
}

impl Action {
    /// The action of a timer that was never armed.
    const NOTHING: Action = Action { fire: do_nothing, arg: ptr::null_mut(), seq: 0 };
}

unsafe fn do_nothing(_arg: *mut (), _seq: u64) -> *mut G {
    ptr::null_mut()
}

/// Ends the wait `generation` of the G `arg`.
unsafe fn end_wait(arg: *mut (), generation: u64) -> *mut G {
    let gp = arg.cast::<G>();
    // SAFETY: a G is never freed (g.rs, 1).
    if unsafe { (*gp).wait.claim_timer(generation) } {
        gp
    } else {
        ptr::null_mut()
    }
}

/// One timer, embedded in what it belongs to.
pub(crate) struct Timer {
    /// The heap it is in, null for none. By 2.
    heap: AtomicPtr<Timers>,
    /// Its slot in that heap. Guarded by the heap's lock.
    index: Cell<usize>,
    /// Guarded by the heap's lock.
    action: Cell<Action>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Timer {
            heap: AtomicPtr::new(ptr::null_mut()),
            index: Cell::new(0),
            action: Cell::new(Action::NOTHING),
        }
    }
}

impl Timer {
    /// Leaves the heap it is in alone: that belongs to a scheduler that is gone.
    pub(crate) fn forget(&self) {
        self.heap.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A slot of the heap: 16 bytes, so that four children share a cache line.
#[derive(Clone, Copy)]
struct Entry {
    when: i64,
    timer: *const Timer,
}

// SAFETY: by 3 the timer outlives its entry, and its fields are only used under the heap's lock.
unsafe impl Send for Entry {}

/// The timers of one P.
pub(crate) struct Timers {
    heap: Locked<Vec<Entry>>,
    /// By 4. Written under the lock, read without.
    earliest: AtomicI64,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Timers { heap: Locked::new(Vec::new()), earliest: AtomicI64::new(NEVER) }
    }

    /// When the first timer is due, [`NEVER`] if there is none.
    #[inline]
    pub(crate) fn next_when(&self) -> i64 {
        // Relaxed: a hint; acting on it needs the lock. A sleeper that read it too early is woken
        // by the armer, which `arm` tells so.
        self.earliest.load(Ordering::Relaxed)
    }

    /// Arms `gp`'s timer to end the wait `generation` at `when_ns`. True: it is now the earliest,
    /// and an M that sleeps until the next timer must be told.
    ///
    /// # Safety
    /// `gp` is valid forever (g.rs, 1), its timer is not armed, and `self` does not move or end
    /// while it is.
    pub(crate) unsafe fn arm(&self, gp: *mut G, when_ns: i64, generation: u64) -> bool {
        let action = Action { fire: end_wait, arg: gp.cast(), seq: generation };
        // SAFETY: the caller's duty.
        unsafe { self.arm_for(&(*gp).timer, when_ns, action) }
    }

    /// Arms `timer` to do `action` at `when_ns`; returns as [`arm`](Self::arm).
    ///
    /// # Safety
    /// `timer` is not armed; it, what `action` refers to and `self` stay where they are and valid
    /// while it is, and until an action under way is over.
    pub(crate) unsafe fn arm_for(&self, timer: &Timer, when_ns: i64, action: Action) -> bool {
        let when = when_ns.min(NEVER - 1);
        let mut heap = self.heap.lock();
        debug_assert!(timer.heap.load(Ordering::Relaxed).is_null());
        timer.action.set(action);
        // Release: a disarm that finds this heap sees it as the armer did; pairs with the Acquire
        // in disarm. Index and action are ordered by the lock.
        timer.heap.store(ptr::from_ref(self).cast_mut(), Ordering::Release);
        let i = heap.len();
        heap.push(Entry { when, timer });
        // SAFETY: the lock is held; by 3 the entries are valid.
        unsafe { sift_up(&mut heap, i) };
        self.publish(&heap);
        ptr::eq(heap[0].timer, timer)
    }

    /// Takes `timer` out of whichever heap it is in. False: it is not armed, or it has just fired
    /// (then the claim word decides).
    ///
    /// # Safety
    /// The `Timers` that `timer` may be in are valid (by 3).
    pub(crate) unsafe fn disarm(timer: &Timer) -> bool {
        loop {
            // Acquire: pairs with the Release in arm.
            let of = timer.heap.load(Ordering::Acquire);
            if of.is_null() {
                return false;
            }
            // SAFETY: by 3; the Ps live as long as the scheduler.
            let timers = unsafe { &*of };
            let mut heap = timers.heap.lock();
            // Relaxed: by 2 the lock orders it. It fired meanwhile, and may be armed elsewhere.
            if timer.heap.load(Ordering::Relaxed) != of {
                continue;
            }
            // SAFETY: the lock is held and the timer is in this heap at its index.
            unsafe { remove(&mut heap, timer.index.get()) };
            timers.publish(&heap);
            return true;
        }
    }

    /// Fires the timers due at `now_ns`, outside the lock; each action's result goes to `fired`.
    /// Returns when the next timer is due.
    ///
    /// # Safety
    /// The invariants of the module; `fired` takes over the duty to ready the G, unless it is null.
    pub(crate) unsafe fn run_expired(&self, now_ns: i64, fired: &mut dyn FnMut(*mut G)) -> i64 {
        loop {
            if self.next_when() > now_ns {
                return self.next_when();
            }
            let mut due = [Action::NOTHING; BATCH];
            let mut n = 0;
            {
                let mut heap = self.heap.lock();
                while n < BATCH && heap.first().is_some_and(|e| e.when <= now_ns) {
                    // SAFETY: the lock is held; by 3 the entries are valid.
                    due[n] = unsafe { remove(&mut heap, 0) };
                    n += 1;
                }
                self.publish(&heap);
            }
            for action in &due[..n] {
                // SAFETY: by the duty of `arm_for`.
                fired(unsafe { (action.fire)(action.arg, action.seq) });
            }
        }
    }

    /// Restores 4, under the lock.
    fn publish(&self, heap: &[Entry]) {
        // Relaxed: see next_when.
        self.earliest.store(heap.first().map_or(NEVER, |e| e.when), Ordering::Relaxed);
    }
}

/// Writes `e` into slot `i`.
///
/// # Safety
/// The heap's lock is held and `e.timer` is valid.
unsafe fn place(heap: &mut [Entry], i: usize, e: Entry) {
    heap[i] = e;
    // SAFETY: the caller's duty.
    unsafe { (*e.timer).index.set(i) };
}

/// Moves the entry at `i` towards the root until 1 holds.
///
/// # Safety
/// The heap's lock is held and its entries are valid.
unsafe fn sift_up(heap: &mut [Entry], mut i: usize) {
    let e = heap[i];
    while i > 0 {
        let parent = (i - 1) / 4;
        if heap[parent].when <= e.when {
            break;
        }
        // SAFETY: the caller's duty.
        unsafe { place(heap, i, heap[parent]) };
        i = parent;
    }
    // SAFETY: the caller's duty.
    unsafe { place(heap, i, e) };
}

/// Moves the entry at `i` away from the root until 1 holds.
///
/// # Safety
/// The heap's lock is held and its entries are valid.
unsafe fn sift_down(heap: &mut [Entry], mut i: usize) {
    let e = heap[i];
    loop {
        let first = 4 * i + 1;
        if first >= heap.len() {
            break;
        }
        let last = (first + 4).min(heap.len());
        let mut child = first;
        for c in first + 1..last {
            if heap[c].when < heap[child].when {
                child = c;
            }
        }
        if heap[child].when >= e.when {
            break;
        }
        // SAFETY: the caller's duty.
        unsafe { place(heap, i, heap[child]) };
        i = child;
    }
    // SAFETY: the caller's duty.
    unsafe { place(heap, i, e) };
}

/// Takes the entry at `i` out and returns its action.
///
/// # Safety
/// The heap's lock is held, its entries are valid and `i` is one of them.
unsafe fn remove(heap: &mut Vec<Entry>, i: usize) -> Action {
    let out = heap.swap_remove(i);
    if i < heap.len() {
        // SAFETY: the caller's duty. The entry that came from the end may have to go either way.
        unsafe {
            sift_down(heap, i);
            sift_up(heap, i);
        }
    }
    // SAFETY: by 3 the timer is still valid under the lock.
    unsafe {
        let action = (*out.timer).action.get();
        // Release: the action has been read: a thread that sees null may arm the timer in another
        // heap, or free it. Pairs with the Acquire of `disarm`.
        (*out.timer).heap.store(ptr::null_mut(), Ordering::Release);
        action
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::cell::RefCell;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{Action, Timer, Timers, NEVER};
    use crate::runtime::object::g::{Kind, G};
    use crate::test_rng::Rng;

    #[allow(clippy::vec_box, reason = "a G must not move: timers point into it")]
    fn gs(n: usize) -> Vec<Box<G>> {
        (0..n).map(|_| Box::new(G::new(Kind::Go))).collect()
    }

    /// A G that waits, and the generation of that wait.
    fn waiting(g: &mut G) -> (*mut G, u64) {
        let generation = g.wait.next_generation();
        assert!(g.wait.begin());
        (g, generation)
    }

    #[test]
    fn random_arms_and_disarms_fire_the_rest_in_order() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let timers = Timers::new();
        let other = Timers::new();
        let mut all = gs(2000);
        let mut left = Vec::new();
        for g in &mut all {
            let when = (next() % 1000) as i64;
            let (gp, generation) = waiting(g);
            let to = if next() % 2 == 0 { &timers } else { &other };
            let before = to.next_when();
            // SAFETY: the Gs and the heaps outlive the test.
            let first = unsafe { to.arm(gp, when, generation) };
            assert_eq!(first, when < before);
            left.push((when, gp));
        }
        for i in (0..left.len()).rev() {
            if next() % 3 == 0 {
                let (_, gp) = left.swap_remove(i);
                // SAFETY: as above.
                assert!(unsafe { Timers::disarm(&(*gp).timer) });
                // SAFETY: as above.
                assert!(!unsafe { Timers::disarm(&(*gp).timer) });
            }
        }
        let when = |gp| left.iter().find(|(_, l)| *l == gp).map(|(w, _)| *w);
        let mut count = 0;
        for heap in [&timers, &other] {
            let mut fired = Vec::new();
            for now in [100, 500, 1000] {
                // SAFETY: as above.
                let after = unsafe { heap.run_expired(now, &mut |gp| fired.push(gp)) };
                assert!(after > now && after == heap.next_when());
            }
            assert_eq!(heap.next_when(), NEVER);
            let order: Vec<_> = fired.iter().map(|gp| when(*gp)).collect();
            assert!(order.iter().all(Option::is_some) && order.is_sorted());
            count += order.len();
        }
        assert_eq!(count, left.len());
    }

    #[test]
    fn a_timer_of_an_earlier_wait_wakes_nobody() {
        let timers = Timers::new();
        let mut g = gs(1);
        let (gp, generation) = waiting(&mut g[0]);
        // SAFETY: the G and the heap outlive the test.
        unsafe {
            timers.arm(gp, 5, generation);
            assert!((*gp).wait.claim_peer());
            (*gp).wait.outcome();
            assert!((*gp).wait.begin());
            assert_eq!(
                timers.run_expired(9, &mut |gp| assert!(gp.is_null(), "woke a later wait")),
                NEVER
            );
            assert!((*gp).wait.is_waiting());
        }
    }

    #[test]
    fn a_deadline_at_the_end_of_time_is_still_a_timer() {
        let timers = Timers::new();
        let mut g = gs(1);
        let (gp, generation) = waiting(&mut g[0]);
        // SAFETY: the G and the heap outlive the test.
        unsafe {
            assert!(timers.arm(gp, i64::MAX, generation));
            assert_ne!(timers.next_when(), NEVER);
            assert!(Timers::disarm(&(*gp).timer));
        }
        assert_eq!(timers.next_when(), NEVER);
    }

    /// Notes the timer's number in the list `arg`.
    unsafe fn note(arg: *mut (), number: u64) -> *mut G {
        // SAFETY: the tests arm it with a list that outlives the heap.
        unsafe { (*arg.cast::<RefCell<Vec<u64>>>()).borrow_mut().push(number) };
        ptr::null_mut()
    }

    #[test]
    fn a_heap_does_as_a_sorted_list_while_timers_are_armed_again_and_again() {
        const N: usize = 200;
        let mut rng = Rng::new("a_heap_does_as_a_sorted_list");
        let all: Vec<Timer> = (0..N).map(|_| Timer::new()).collect();
        let fired: RefCell<Vec<u64>> = RefCell::new(Vec::new());
        let heaps = [Timers::new(), Timers::new()];
        // (heap, when) of each armed one.
        let mut model: Vec<Option<(usize, i64)>> = vec![None; N];
        let mut now = 0;
        for _ in 0..20_000 {
            let i = rng.below(N as u64) as usize;
            // SAFETY: timers, heaps and the list outlive the loop.
            unsafe {
                if rng.one_in(20) {
                    now += rng.below(8) as i64;
                    for (h, heap) in heaps.iter().enumerate() {
                        let after = heap.run_expired(now, &mut |gp| assert!(gp.is_null()));
                        let when = |&i: &u64| model[i as usize].expect("armed").1;
                        let mut got = fired.take();
                        assert!(got.is_sorted_by_key(when), "out of order");
                        got.sort_unstable();
                        let is_due = |at: &Option<(usize, i64)>| {
                            at.is_some_and(|at| at.0 == h && at.1 <= now)
                        };
                        let due = |i: &u64| is_due(&model[*i as usize]);
                        assert_eq!(got, (0..N as u64).filter(due).collect::<Vec<_>>());
                        model.iter_mut().filter(|at| is_due(at)).for_each(|at| *at = None);
                        assert_eq!(after, heap.next_when());
                    }
                } else if rng.one_in(3) {
                    assert_eq!(Timers::disarm(&all[i]), model[i].take().is_some());
                } else {
                    Timers::disarm(&all[i]);
                    // Of few times, so that many are equal.
                    let (h, when) = (rng.below(2) as usize, now + rng.below(30) as i64 - 3);
                    let before = heaps[h].next_when();
                    let arg = (&raw const fired).cast_mut().cast();
                    let action = Action { fire: note, arg, seq: i as u64 };
                    let is_earliest = heaps[h].arm_for(&all[i], when, action);
                    model[i] = Some((h, when));
                    // The one that it was disarmed from may have been the earliest.
                    assert!(is_earliest == (when < before));
                }
            }
            for (h, heap) in heaps.iter().enumerate() {
                let whens = model.iter().flatten().filter(|at| at.0 == h).map(|at| at.1);
                assert_eq!(heap.next_when(), whens.min().unwrap_or(NEVER));
            }
        }
    }

    #[test]
    fn more_than_a_batch_that_is_due_at_once_goes_off_in_one_call() {
        let fired: RefCell<Vec<u64>> = RefCell::new(Vec::new());
        let all: Vec<Timer> = (0..100).map(|_| Timer::new()).collect();
        let timers = Timers::new();
        for (i, timer) in all.iter().enumerate() {
            let arg = (&raw const fired).cast_mut().cast();
            // SAFETY: timers, heap and list outlive the call.
            unsafe { timers.arm_for(timer, 7, Action { fire: note, arg, seq: i as u64 }) };
        }
        // SAFETY: as above.
        unsafe {
            assert_eq!(timers.run_expired(6, &mut |_| ()), 7);
            assert!(fired.take().is_empty());
            assert_eq!(timers.run_expired(7, &mut |_| ()), NEVER);
        }
        let mut fired = fired.take();
        fired.sort_unstable();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    /// Counts in `arg`.
    unsafe fn count(arg: *mut (), _seq: u64) -> *mut G {
        // SAFETY: the test arms it with a counter that outlives the heap.
        unsafe { (*arg.cast::<AtomicU64>()).fetch_add(1, Ordering::Relaxed) };
        ptr::null_mut()
    }

    #[test]
    fn a_timer_that_is_disarmed_while_it_goes_off_does_one_of_the_two() {
        const ROUNDS: u64 = 20_000;
        let (heaps, over) = ([Timers::new(), Timers::new()], AtomicBool::new(false));
        let (timer, fired) = (Timer::new(), AtomicU64::new(0));
        /// Timers and heaps are used by several Ms.
        struct Shared<'a>(&'a [Timers; 2]);
        // SAFETY: by the heaps' locks.
        unsafe impl Sync for Shared<'_> {}
        let shared = &Shared(&heaps);
        let mut disarmed = 0;
        std::thread::scope(|scope| {
            let over = &over;
            scope.spawn(move || {
                let Shared(heaps) = shared;
                while !over.load(Ordering::Acquire) {
                    // SAFETY: the heaps outlive the threads.
                    heaps.iter().for_each(|heap| _ = unsafe { heap.run_expired(1, &mut |_| ()) });
                    std::thread::yield_now();
                }
            });
            for round in 0..ROUNDS {
                let arg = (&raw const fired).cast_mut().cast();
                let action = Action { fire: count, arg, seq: round };
                // SAFETY: all of it outlives the threads; disarmed or gone off, it is not armed.
                unsafe {
                    heaps[round as usize % 2].arm_for(&timer, 1, action);
                    (0..round % 64).for_each(|_| std::hint::spin_loop());
                    disarmed += u64::from(Timers::disarm(&timer));
                }
            }
            over.store(true, Ordering::Release);
        });
        assert_eq!(disarmed + fired.load(Ordering::Relaxed), ROUNDS);
        assert!(heaps.iter().all(|heap| heap.next_when() == NEVER));
    }
}
