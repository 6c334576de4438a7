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
mod tests;
