//! Lines: goroutines that wait for an object of CPython's, by its address. Patched locks and queues park in them.
//!
//! Such an object knows nothing of goroutines, and an ordinary thread that waits for it sleeps as CPython has it sleep. So only
//! the object itself can say whether it is available: a goroutine whose turn comes *attempts* to take it, and waits again,
//! first in line, if another was quicker. Whatever makes the object available wakes one waiter of each kind: a thread through
//! the original function, and a goroutine through [`wake_first`].
//!
//! ```text
//!  goroutine                        releaser
//!  attempt fails                    original release
//!  enqueue          ┐ one step      first in line: dequeue, set its event
//!  park             ┘ under the GIL
//!  attempt again: it has it, or is first in line again
//! ```
//!
//! # Invariants
//! 1. Everything here happens with the GIL held, and nothing gives the GIL up between a failed attempt and the enqueueing. So
//!    no wake-up falls between the two.
//! 2. A waiter that a wake-up has dequeued makes an attempt before it leaves, whatever its reason for leaving; or it wakes the
//!    next one, if it must no longer take the object. So a waiter that leaves loses no wake-up.
//! 3. A waiter lies on its goroutine's stack, which stays while it is in a queue.
//! 4. An address has an entry while a goroutine waits for it, or while it is kept for one that has been woken.
//!
//! # Fairness
//! A goroutine that releases a lock and takes it again at once is always quicker than the one it has woken. So once the first
//! in line has waited for [`PATIENCE_NS`], the object is *kept* for it: every other goroutine lines up until that one has made
//! its attempt. Threads, and calls that do not wait, are not held up.
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

/// How long others may overtake the first in line.
const PATIENCE_NS: i64 = 1_000_000;

/// What [`wait`] returns if it is not the attempt's own result: `GOLIB_LINE_…` of `cpython/patch_line.h`.
const TIMED_OUT: c_int = 0;
const FAILED: c_int = -1;
/// The patch was taken back: the caller continues with the original function.
const TAKEN_BACK: c_int = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In no queue: its turn gave it nothing, or it has not lined up yet.
    Out,
    InLine,
    /// A wake-up has dequeued it, and it has not made its attempt yet.
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
    /// Whether the object is kept for a waiter that has been woken.
    is_kept: bool,
}

// SAFETY: by 3 the waiters are alive for whatever holds the GIL.
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
        // Fibonacci hashing, because the table looks at the highest bits and addresses differ in the lower ones.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Queues = HashMap<usize, Queue, BuildHasherDefault<AddressHasher>>;

static TABLE: InPlace<Option<Queues>> = InPlace::new(None);

/// How many addresses have an entry: 0 in the common case, when no goroutine has to be woken. Written under the GIL.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// C knows it as `golib_lines`.
pub(super) static LINES: Lines =
    Lines { wait, wake: wake_first, is_kept, empty, count: COUNT.as_ptr() };

/// Changes the queues and updates their count.
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

/// The waiter behind a queue's link.
fn waiter(_x: Exclusive<'_>, link: Link) -> Option<&Waiter> {
    // SAFETY: by 3 it is alive as long as it is in the queue, which only the GIL's holder changes.
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

    /// Lines up again as the first, after a turn that gave it nothing.
    fn enqueue_again(&self, x: Exclusive<'_>) {
        // By 1 the one that has set it is done with it.
        self.event.reset();
        self.enqueue(x, At::First);
    }

    /// Leaves without the object: by 2 the next waiter gets the turn that this one may have.
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

    /// Notes why the waiter was dequeued, and wakes it.
    fn set(&self, gil: Gil<'_>, place: Place) {
        self.place.set(gil.exclusive(), place);
        let _ = guard(gil, || self.event.set());
    }
}

/// Makes `after` follow `prev`, and `before` precede `next`. Where one is missing, they become the queue's ends.
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

/// Removes an entry that is no longer needed, by 4.
fn forget_if_unused(x: Exclusive<'_>, address: usize) {
    if look(x, address, |q| q.first.is_null() && !q.is_kept) == Some(true) {
        change(x, |queues| queues.remove(&address));
    }
}

fn unkeep(x: Exclusive<'_>, address: usize) {
    look(x, address, |q| q.is_kept = false);
    forget_if_unused(x, address);
}

/// Gives the first in line for `address` its turn.
fn wake(gil: Gil<'_>, address: usize) {
    let x = gil.exclusive();
    let Some(first) = look(x, address, |q| waiter(x, q.first)).flatten() else { return };
    let is_kept = nanotime() - first.since_ns >= PATIENCE_NS;
    look(x, address, |q| q.is_kept = is_kept);
    first.dequeue(x);
    first.set(gil, Place::Turn);
}

/// The object at `address` may be available: wakes the goroutine that is first in line for it.
unsafe extern "C" fn wake_first(address: *const c_void) {
    // SAFETY: C calls it with the GIL.
    wake(unsafe { Gil::assume() }, address as usize);
}

/// 1 if the object at `address` is kept for a goroutine that has waited for long, so that others must line up.
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

/// Waits for the object at `address`, which was not available. Returns the attempt's result if that is not 0; 0 after
/// `until_ns`; -1 with an exception set; 2 if the patch was taken back meanwhile.
unsafe extern "C-unwind" fn wait(
    address: *const c_void,
    how: *const Waiting,
    record: Record,
) -> c_int {
    // SAFETY: C calls it in a goroutine with the GIL, and with the record that its entry pushed; `how` outlives the wait.
    let (mut entry, how) = unsafe { (Entry::new(record), &*how) };
    let waiter = Waiter::new(address as usize);
    let mut was_interrupted = false;
    waiter.enqueue(entry.gil().exclusive(), At::Last);
    let result = stand(&mut entry, &waiter, how, &mut was_interrupted);
    if was_interrupted && result != FAILED {
        // The interrupt is for the next wait.
        embedder::current_or_thread().interrupt();
    }
    result
}

/// See [`wait`]. `was_interrupted` is set if this wait has swallowed an interrupt.
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
            // By 2, whatever else has happened. SAFETY: the function takes this argument and is called with the GIL.
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
            // It keeps its place while signal handlers run, which may give it its turn.
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

/// Empties all lines, after the patch has been taken back: the waiters finish with the original functions.
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

/// In a forked child: drops the parent's waiters, none of which is here.
///
/// # Safety
/// Called by the child's only thread.
pub(super) unsafe fn after_fork() {
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: there is no other thread.
    unsafe { TABLE.renew(None) };
}
