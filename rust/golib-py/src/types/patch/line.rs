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

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use go_lib::runtime::embedder::{self, nanotime, Event, Wait, WaitError, WaitReason};

use super::waits::deadline;
use crate::core::waits;
use crate::cpython::patch::{Lines, Waiting};
use crate::ffi::gil::{guard, Entry, Exclusive, Gil, Record};
use crate::ffi::refs::{Field, InPlace, Outcome};

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

/// A waiter, or null.
type Link = *const Waiter;

struct Waiter {
    event: Event,
    address: usize,
    since_ns: i64,
    place: Field<Place>,
    prev: Field<Link>,
    next: Field<Link>,
}

struct Queue {
    first: Link,
    last: Link,
    /// The object is kept for one that has been woken.
    is_kept: bool,
}

// SAFETY: by 3 the waiters are there for whoever has the GIL.
unsafe impl Send for Queue {}

impl Queue {
    const EMPTY: Queue = Queue { first: ptr::null(), last: ptr::null(), is_kept: false };
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

static TABLE: InPlace<Option<Queues>> = InPlace::new(None);

/// How many addresses have an entry: 0 in the common case, in which nobody need be woken. Written under the GIL.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What C calls `golib_lines`.
pub(super) static LINES: Lines =
    Lines { wait, wake: wake_first, is_kept, empty, count: COUNT.as_ptr() };

/// Has the queues changed, and counts them.
fn change<R>(x: Exclusive<'_>, using: impl FnOnce(&mut Queues) -> R) -> R {
    TABLE.with(x, |table| {
        let queues = table.get_or_insert_with(Queues::default);
        let result = using(queues);
        COUNT.store(queues.len(), Ordering::Relaxed);
        result
    })
}

/// Looks at the queue for `address`, if there is one.
fn look<R>(x: Exclusive<'_>, address: usize, using: impl FnOnce(&mut Queue) -> R) -> Option<R> {
    TABLE.with(x, |table| table.as_mut()?.get_mut(&address).map(using))
}

/// The waiter behind a link of a queue's.
fn waiter(_x: Exclusive<'_>, link: Link) -> Option<&Waiter> {
    // SAFETY: by 3 it is there as long as it is in the queue, which nobody else changes.
    unsafe { link.as_ref() }
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
            place: Field::new(Place::Out),
            prev: Field::new(ptr::null()),
            next: Field::new(ptr::null()),
        }
    }

    /// Lines up. Its event is not set.
    fn enqueue(&self, x: Exclusive<'_>, at: At) {
        self.place.set(x, Place::InLine);
        change(x, |queues| {
            let q = queues.entry(self.address).or_insert(Queue::EMPTY);
            let (prev, next) = match at {
                At::First => (ptr::null(), q.first),
                At::Last => (q.last, ptr::null()),
            };
            self.prev.set(x, prev);
            self.next.set(x, next);
            link(x, q, prev, self, next, self);
        });
    }

    /// Leaves the line, in which it is.
    fn dequeue(&self, x: Exclusive<'_>) {
        let (prev, next) = (self.prev.get(x), self.next.get(x));
        look(x, self.address, |q| link(x, q, prev, next, next, prev));
        self.place.set(x, Place::Out);
        forget_if_unused(x, self.address);
    }

    /// Is first in line again, after a turn that came to nothing.
    fn enqueue_again(&self, x: Exclusive<'_>) {
        // By 1 whoever has set it is done with it.
        self.event.reset();
        self.enqueue(x, At::First);
    }

    /// Does not want it any more: by 2 the turn that it may have goes to the next.
    fn give_up(&self, gil: Gil<'_>) {
        let x = gil.exclusive();
        match self.place.get(x) {
            Place::InLine => self.dequeue(x),
            Place::Turn => {
                unkeep(x, self.address);
                self.place.set(x, Place::Out);
                wake(gil, self.address);
            }
            Place::Out | Place::TakenBack => {}
        }
    }

    /// It was dequeued: has it look at its `place`.
    fn set(&self, gil: Gil<'_>, place: Place) {
        self.place.set(gil.exclusive(), place);
        let _ = guard(gil, || self.event.set());
    }
}

/// Has `after` follow `prev`, and `before` go before `next`; where there is none, they are the queue's ends.
fn link(x: Exclusive<'_>, q: &mut Queue, prev: Link, after: Link, next: Link, before: Link) {
    match waiter(x, prev) {
        Some(prev) => prev.next.set(x, after),
        None => q.first = after,
    }
    match waiter(x, next) {
        Some(next) => next.prev.set(x, before),
        None => q.last = before,
    }
}

/// By 4.
fn forget_if_unused(x: Exclusive<'_>, address: usize) {
    if look(x, address, |q| q.first.is_null() && !q.is_kept) == Some(true) {
        change(x, |queues| queues.remove(&address));
    }
}

fn unkeep(x: Exclusive<'_>, address: usize) {
    look(x, address, |q| q.is_kept = false);
    forget_if_unused(x, address);
}

/// The first in line for `address` has its turn.
fn wake(gil: Gil<'_>, address: usize) {
    let x = gil.exclusive();
    let Some(first) = look(x, address, |q| waiter(x, q.first)).flatten() else { return };
    let is_kept = nanotime() - first.since_ns >= PATIENCE_NS;
    look(x, address, |q| q.is_kept = is_kept);
    first.dequeue(x);
    first.set(gil, Place::Turn);
}

/// The object at `address` may be had: wakes the goroutine that is first in line for it.
unsafe extern "C" fn wake_first(address: *const c_void) {
    // SAFETY: C calls it with the GIL.
    wake(unsafe { Gil::assume() }, address as usize);
}

/// 1: the object at `address` is kept for a goroutine that has waited for long; others line up.
unsafe extern "C" fn is_kept(address: *const c_void) -> c_int {
    // SAFETY: C calls it with the GIL.
    let x = unsafe { Gil::assume() }.exclusive();
    c_int::from(look(x, address as usize, |q| q.is_kept) == Some(true))
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
unsafe extern "C-unwind" fn wait(
    address: *const c_void,
    how: *const Waiting,
    record: Record,
) -> c_int {
    // SAFETY: C calls it in a goroutine with the GIL, and with what its own entry pushed; `how` outlives the wait.
    let (mut entry, how) = unsafe { (Entry::new(record), &*how) };
    let waiter = Waiter::new(address as usize);
    let mut was_interrupted = false;
    waiter.enqueue(entry.gil().exclusive(), At::Last);
    let result = stand(&mut entry, &waiter, how, &mut was_interrupted);
    if was_interrupted && result != FAILED {
        // It is for the next wait.
        embedder::current_or_thread().interrupt();
    }
    result
}

/// See [`wait`]. `was_interrupted` tells of an interrupt that this wait has swallowed.
fn stand(entry: &mut Entry, me: &Waiter, how: &Waiting, was_interrupted: &mut bool) -> c_int {
    let until = deadline(how.until_ns).map_or(Wait::Block, Wait::Until);
    loop {
        let outcome = entry.wait(|| me.event.wait(until, reason_of(how)));
        *was_interrupted |= matches!(outcome, Ok(Err(WaitError::Interrupted)));
        let gil = entry.gil();
        let x = gil.exclusive();
        if me.place.get(x) == Place::TakenBack {
            return TAKEN_BACK;
        }
        if me.place.get(x) == Place::Turn {
            unkeep(x, me.address);
            me.place.set(x, Place::Out);
            // By 2, whatever else has happened. SAFETY: the function takes this argument, with the GIL.
            let got = unsafe { (how.attempt)(how.argument) };
            if got != 0 {
                return got;
            }
        }
        if let Some(result) = go_on(gil, me, how, outcome, was_interrupted) {
            me.give_up(gil);
            return result;
        }
        if me.place.get(x) == Place::Out {
            me.enqueue_again(x);
        }
    }
}

/// After a wait that did not get the object: what to return, None to wait again.
fn go_on(
    gil: Gil<'_>,
    me: &Waiter,
    how: &Waiting,
    outcome: Outcome<Result<(), WaitError>>,
    was_interrupted: &mut bool,
) -> Option<c_int> {
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(WaitError::Interrupted)) if how.takes_back != 0 => {
            embedder::take_interrupt();
            None
        }
        Ok(Err(WaitError::Interrupted)) => {
            // Keeps its place while signal handlers run, which may give it its turn.
            if me.place.get(gil.exclusive()) == Place::Out {
                me.enqueue_again(gil.exclusive());
            }
            *was_interrupted = false;
            waits::interrupted(gil).err().map(|_| FAILED)
        }
        Ok(Err(WaitError::Timeout | WaitError::WouldBlock)) => Some(TIMED_OUT),
        Ok(Err(WaitError::Deadlock)) => {
            me.give_up(gil);
            let _ = waits::deadlocked(gil);
            Some(FAILED)
        }
        Err(_) => Some(FAILED),
    }
}

/// Nobody waits here any more: those who do finish by the original functions. The patch has been taken back.
unsafe extern "C" fn empty() {
    // SAFETY: C calls it with the GIL.
    let gil = unsafe { Gil::assume() };
    let x = gil.exclusive();
    let addresses: Vec<usize> = change(x, |queues| queues.keys().copied().collect());
    for address in addresses {
        while let Some(first) = look(x, address, |q| waiter(x, q.first)).flatten() {
            first.dequeue(x);
            first.set(gil, Place::TakenBack);
        }
    }
}

/// In a forked child: nobody of the parent's waits there.
///
/// # Safety
/// Called by the child's only thread.
pub(super) unsafe fn after_fork() {
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: no other thread is there.
    unsafe { TABLE.renew(None) };
}
