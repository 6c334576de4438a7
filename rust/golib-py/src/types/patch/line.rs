//! Lines: goroutines that wait for an object of CPython's, by its address. Patched locks and queues park in them.
//!
//! Such an object knows nothing of goroutines, and an ordinary thread that waits for it sleeps in CPython's own way. So the
//! object itself says whether it can be had: whoever comes to its turn here *attempts* to take it, and waits again, first in
//! line, if somebody else was quicker. Whoever makes the object available wakes one of each kind: a thread by the original
//! function, and a goroutine by [`golib_lot_wake`].
//!
//! ```text
//!  goroutine                        whoever gives back
//!  attempt fails                    original release
//!  enqueue          ┐ one step      first in line: dequeue, set its event
//!  park             ┘ under the GIL
//!  attempt again: it has it, or is first in line again
//! ```
//!
//! # Invariants
//! 1. Everything here happens with the GIL held, and between an attempt that failed and the enqueueing nothing gives the GIL
//!    up. So no wake-up falls between the two.
//! 2. A waiter that was dequeued by a wake-up attempts before it leaves, for whatever reason it leaves; or, if it must not
//!    have the object any more, wakes the next one. So no wake-up is lost to one that leaves.
//! 3. A waiter lies on its goroutine's stack, which stays while it is in a queue.
//! 4. An address has an entry while somebody waits for it, or while it is kept for one that has been woken.
//!
//! # Fairness
//! A goroutine that gives a lock back and takes it again at once is always quicker than the one it has woken. Once the first
//! in line has waited for [`PATIENCE_NS`], the object is *kept* for it: until it has attempted, every other goroutine lines
//! up. Threads, and calls that do not wait, are not held up by that.
//!
//! Go: runtime/sema.go, and the starving mode of sync.Mutex

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use go_lib::runtime::embedder::{self, nanotime, Event, Wait, WaitError, WaitReason};

use super::waits::deadline;
use crate::core::waits;
use crate::cpython::patch::{Lines, Waiting};
use crate::ffi::gil::Gil;
use crate::ffi::raw::{guard, guard_wait, Record};

/// How long the first in line is passed over.
const PATIENCE_NS: i64 = 1_000_000;

/// What [`wait`] returns besides what the attempt did: `GOLIB_LINE_…` of `cpython/patch_line.h`.
const TIMED_OUT: c_int = 0;
const FAILED: c_int = -1;
/// The patch was taken back: the caller does the rest by the original function.
const TAKEN_BACK: c_int = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In no queue: its turn came to nothing, or it has not lined up yet.
    Out,
    InLine,
    /// A wake-up has dequeued it, and it has not attempted.
    Turn,
    /// Dequeued by [`empty`].
    TakenBack,
}

struct Waiter {
    event: Event,
    address: usize,
    since_ns: i64,
    place: Place,
    prev: *mut Waiter,
    next: *mut Waiter,
}

struct Queue {
    first: *mut Waiter,
    last: *mut Waiter,
    /// The object is kept for one that has been woken.
    is_kept: bool,
}

#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(byte as usize);
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing: the table looks at the highest bits, addresses differ in the lower ones.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Queues = HashMap<usize, Queue, BuildHasherDefault<AddressHasher>>;

struct Table(UnsafeCell<Option<Queues>>);

// SAFETY: by 1.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(None));

/// How many addresses have an entry: 0 in the common case, in which nobody need be woken. Written under the GIL.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What C calls `golib_lines`.
pub(super) static LINES: Lines =
    Lines { wait, wake: wake_first, is_kept, empty, count: COUNT.as_ptr() };

/// The queues.
///
/// # Safety
/// By 1. The reference is not kept over anything that gives the GIL up, or calls into this file.
unsafe fn queues() -> &'static mut Queues {
    // SAFETY: by 1 nobody else has the table; no other reference to it is in use.
    unsafe { (*TABLE.0.get()).get_or_insert_with(Queues::default) }
}

fn count(queues: &Queues) {
    COUNT.store(queues.len(), Ordering::Relaxed);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    First,
    Last,
}

impl Waiter {
    fn new(address: usize) -> Waiter {
        Waiter {
            event: Event::new(),
            address,
            since_ns: nanotime(),
            place: Place::Out,
            prev: ptr::null_mut(),
            next: ptr::null_mut(),
        }
    }

    /// Lines up. Its event is new.
    unsafe fn enqueue(me: *mut Waiter, at: At) {
        // SAFETY: by 1 and 3.
        unsafe {
            let queues = queues();
            let empty = Queue { first: ptr::null_mut(), last: ptr::null_mut(), is_kept: false };
            let q = queues.entry((*me).address).or_insert(empty);
            (*me).place = Place::InLine;
            ((*me).prev, (*me).next) = match at {
                At::First => (ptr::null_mut(), q.first),
                At::Last => (q.last, ptr::null_mut()),
            };
            *(*me).next.as_mut().map_or(&mut q.last, |next| &mut next.prev) = me;
            *(*me).prev.as_mut().map_or(&mut q.first, |prev| &mut prev.next) = me;
            count(queues);
        }
    }

    /// Leaves the line, in which it is.
    unsafe fn dequeue(me: *mut Waiter) {
        // SAFETY: by 1 and 3.
        unsafe {
            let queues = queues();
            if let Some(q) = queues.get_mut(&(*me).address) {
                *(*me).next.as_mut().map_or(&mut q.last, |next| &mut next.prev) = (*me).prev;
                *(*me).prev.as_mut().map_or(&mut q.first, |prev| &mut prev.next) = (*me).next;
            }
            (*me).place = Place::Out;
            forget_if_unused((*me).address);
        }
    }

    /// Is first in line again, after a turn that came to nothing.
    unsafe fn enqueue_again(me: *mut Waiter) {
        // SAFETY: the event has been set by somebody who is done with it: by 1.
        unsafe {
            (*me).event = Event::new();
            Waiter::enqueue(me, At::First);
        }
    }

    /// Does not want it any more: by 2 the turn that it may have goes to the next.
    unsafe fn give_up(me: *mut Waiter) {
        // SAFETY: by 1.
        unsafe {
            match (*me).place {
                Place::InLine => Waiter::dequeue(me),
                Place::Turn => {
                    unkeep((*me).address);
                    (*me).place = Place::Out;
                    wake((*me).address);
                }
                Place::Out | Place::TakenBack => {}
            }
        }
    }
}

/// By 4.
unsafe fn forget_if_unused(address: usize) {
    // SAFETY: by 1.
    let queues = unsafe { queues() };
    if queues.get(&address).is_some_and(|q| q.first.is_null() && !q.is_kept) {
        queues.remove(&address);
        count(queues);
    }
}

unsafe fn unkeep(address: usize) {
    // SAFETY: by 1.
    unsafe {
        if let Some(q) = queues().get_mut(&address) {
            q.is_kept = false;
            forget_if_unused(address);
        }
    }
}

/// The first in line for `address` has its turn.
unsafe fn wake(address: usize) {
    // SAFETY: by 1; by 3 the waiter is there until it has the GIL.
    unsafe {
        let Some(q) = queues().get_mut(&address) else { return };
        let first = q.first;
        if first.is_null() {
            return;
        }
        q.is_kept = nanotime() - (*first).since_ns >= PATIENCE_NS;
        Waiter::dequeue(first);
        (*first).place = Place::Turn;
        let _ = guard(|| (*first).event.set());
    }
}

/// The object at `address` may be had: wakes the goroutine that is first in line for it.
///
/// # Safety
/// The GIL is held.
unsafe extern "C" fn wake_first(address: *const c_void) {
    // SAFETY: C calls it with the GIL, and no reference to the table is in use.
    unsafe { wake(address as usize) }
}

/// 1: the object at `address` is kept for a goroutine that has waited for long; others line up.
///
/// # Safety
/// The GIL is held.
unsafe extern "C" fn is_kept(address: *const c_void) -> c_int {
    // SAFETY: C calls it with the GIL; the reference ends with this function.
    let queues = unsafe { queues() };
    c_int::from(queues.get(&(address as usize)).is_some_and(|q| q.is_kept))
}

fn reason_of(how: &Waiting) -> WaitReason {
    match how.reason {
        0 => WaitReason::MutexLock,
        1 => WaitReason::SemAcquire,
        _ => WaitReason::ChanReceive,
    }
}

/// Waits for the object at `address`, which a goroutine could not have right now. What the attempt returned that was not 0;
/// 0 after `until_ns`; -1 with an exception set; 2 if the patch was taken back meanwhile.
///
/// # Safety
/// Called in a goroutine with the GIL held, `record` is that of its entry.
unsafe extern "C-unwind" fn wait(
    address: *const c_void,
    how: *const Waiting,
    record: Record,
) -> c_int {
    // SAFETY: the GIL is held; `how` and the record are the caller's, and outlive the wait.
    unsafe {
        let mut waiter = Waiter::new(address as usize);
        let mut was_interrupted = false;
        Waiter::enqueue(&raw mut waiter, At::Last);
        let result = stand(&raw mut waiter, &*how, &mut was_interrupted, record);
        if was_interrupted && result != FAILED {
            // It is for the next wait.
            embedder::current_or_thread().interrupt();
        }
        result
    }
}

/// See [`wait`]. `was_interrupted` tells of an interrupt that this wait has swallowed.
unsafe fn stand(
    me: *mut Waiter,
    how: &Waiting,
    was_interrupted: &mut bool,
    record: Record,
) -> c_int {
    let until = deadline(how.until_ns).map_or(Wait::Block, Wait::Until);
    loop {
        // SAFETY: by 1 and 3.
        unsafe {
            let outcome = guard_wait(record, || (*me).event.wait(until, reason_of(how)));
            *was_interrupted |= matches!(outcome, Some(Err(WaitError::Interrupted)));
            if (*me).place == Place::TakenBack {
                return TAKEN_BACK;
            }
            if (*me).place == Place::Turn {
                unkeep((*me).address);
                (*me).place = Place::Out;
                // By 2, whatever else has happened.
                let got = (how.attempt)(how.argument);
                if got != 0 {
                    return got;
                }
            }
            if let Some(result) = go_on(me, how, outcome, was_interrupted) {
                Waiter::give_up(me);
                return result;
            }
            if (*me).place == Place::Out {
                Waiter::enqueue_again(me);
            }
        }
    }
}

/// After a wait that did not get the object: what to return, None to wait again.
unsafe fn go_on(
    me: *mut Waiter,
    how: &Waiting,
    outcome: Option<Result<(), WaitError>>,
    was_interrupted: &mut bool,
) -> Option<c_int> {
    // SAFETY: by 1 and 3.
    unsafe {
        match outcome {
            Some(Ok(())) => None,
            Some(Err(WaitError::Interrupted)) if how.takes_back != 0 => {
                embedder::take_interrupt();
                None
            }
            Some(Err(WaitError::Interrupted)) => {
                // Keeps its place while signal handlers run, which may give it its turn.
                if (*me).place == Place::Out {
                    Waiter::enqueue_again(me);
                }
                *was_interrupted = false;
                waits::interrupted(Gil::assume()).err().map(|_| FAILED)
            }
            Some(Err(WaitError::Timeout | WaitError::WouldBlock)) => Some(TIMED_OUT),
            Some(Err(WaitError::Deadlock)) => {
                Waiter::give_up(me);
                let _ = waits::deadlocked(Gil::assume());
                Some(FAILED)
            }
            None => Some(FAILED),
        }
    }
}

/// Nobody waits here any more: those who do finish by the original functions. The patch has been taken back.
///
/// # Safety
/// The GIL is held.
unsafe extern "C" fn empty() {
    // SAFETY: by 1; each waiter is there until it has the GIL.
    unsafe {
        let addresses: Vec<usize> = queues().keys().copied().collect();
        for address in addresses {
            while let Some(first) = queues().get(&address).map(|q| q.first).filter(|w| !w.is_null())
            {
                Waiter::dequeue(first);
                (*first).place = Place::TakenBack;
                let _ = guard(|| (*first).event.set());
            }
        }
    }
}

/// In a forked child: nobody of the parent's waits there.
pub(super) fn after_fork() {
    COUNT.store(0, Ordering::Relaxed);
    // The table may have been in use at the fork: it is forgotten, not freed.
    // SAFETY: the child's only thread has it.
    unsafe { ptr::write(TABLE.0.get(), None) };
}
