//! Goroutines that wait for an address: that of a lock, a queue, or one direction of a descriptor.
//!
//! # Invariants
//! 1. Everything here runs with the main interpreter's GIL held.
//! 2. A waiter lies on its goroutine's stack. A waker takes it out of the table first; a waiter that leaves for another reason
//!    takes itself out before its frame ends.
//! 3. A waiter that was woken but leaves for another reason wakes the next one: no wake-up is lost.

use std::collections::{HashMap, VecDeque};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};

use go_lib::runtime::embedder::{self, Event, Wait, WaitError, WaitReason};

use super::waits::{deadline, outcome, RAISED, TIMED_OUT, WOKEN};
use crate::ffi::gil::{guard, Entry, Exclusive, Gil, Record};
use crate::ffi::refs::InPlace;

/// How many goroutines wait. 0 spares wakers a look at the table.
pub(super) static COUNT: AtomicI64 = AtomicI64::new(0);

/// `GOLIB_AT_FRONT`, `GOLIB_NOT_LEFT`.
const AT_FRONT: c_int = 1;
const NOT_LEFT: c_int = 2;

type Queues = HashMap<usize, VecDeque<Waiting>>;

/// The event of a waiter.
#[derive(Clone, Copy)]
struct Waiting(*const Event);
// SAFETY: any thread may set the event, and by 2 it is alive.
unsafe impl Send for Waiting {}

static LOT: InPlace<Option<Queues>> = InPlace::new(None);

/// Uses the table.
fn with<R>(x: Exclusive<'_>, using: impl FnOnce(&mut Queues) -> R) -> R {
    LOT.with(x, |lot| using(lot.get_or_insert_with(HashMap::new)))
}

/// Takes a waiter out; false if it has been woken already.
fn take_out(x: Exclusive<'_>, address: usize, event: *const Event) -> bool {
    with(x, |queues| {
        let Some(queue) = queues.get_mut(&address) else { return false };
        let Some(at) = queue.iter().position(|e| ptr::eq(e.0, event)) else { return false };
        queue.remove(at);
        if queue.is_empty() {
            queues.remove(&address);
        }
        COUNT.fetch_sub(1, Ordering::Relaxed);
        true
    })
}

/// The first waiter, taken out.
fn first(x: Exclusive<'_>, address: usize) -> Option<Waiting> {
    with(x, |queues| {
        let queue = queues.get_mut(&address)?;
        let event = queue.pop_front();
        if queue.is_empty() {
            queues.remove(&address);
        }
        COUNT.fetch_sub(i64::from(event.is_some()), Ordering::Relaxed);
        event
    })
}

fn reason_of(number: c_int) -> WaitReason {
    match number {
        0 => WaitReason::MutexLock,
        1 => WaitReason::SemAcquire,
        2 => WaitReason::ChanReceive,
        _ => WaitReason::IoWait,
    }
}

/// Waits until `event` is set. An interrupt that must not end this wait is pending again afterwards.
fn sit(entry: &mut Entry, event: &Event, wait: Wait, reason: WaitReason, ways: c_int) -> c_int {
    let mut postponed = false;
    let result = loop {
        match entry.wait(|| event.wait(wait, reason)) {
            Ok(Ok(())) => break WOKEN,
            Ok(Err(WaitError::Interrupted)) if ways & NOT_LEFT != 0 => {
                embedder::take_interrupt();
                postponed = true;
            }
            Ok(Err(error)) => {
                if let Some(outcome) = outcome(entry.gil(), error) {
                    break outcome;
                }
            }
            Err(_) => break RAISED,
        }
    };
    if postponed {
        embedder::current_or_thread().interrupt();
    }
    result
}

pub(super) unsafe extern "C-unwind" fn wait(
    address: *const c_void,
    until_ns: i64,
    reason: c_int,
    ways: c_int,
    record: Record,
) -> c_int {
    // SAFETY: C calls it with the GIL, and with the record that its entry pushed.
    let mut entry = unsafe { Entry::new(record) };
    let key = address as usize;
    let event = Event::new();
    with(entry.gil().exclusive(), |queues| {
        let queue = queues.entry(key).or_default();
        if ways & AT_FRONT != 0 {
            queue.push_front(Waiting(&event));
        } else {
            queue.push_back(Waiting(&event));
        }
    });
    COUNT.fetch_add(1, Ordering::Relaxed);
    let until = deadline(until_ns).map_or(Wait::Block, Wait::Until);
    let result = sit(&mut entry, &event, until, reason_of(reason), ways);
    if result == WOKEN || take_out(entry.gil().exclusive(), key, &event) {
        return result;
    }
    // It was woken at the same time.
    if result == TIMED_OUT {
        return WOKEN;
    }
    // By 3.
    wake_one(entry.gil(), key);
    result
}

/// Wakes one waiter; false if none waits there.
fn wake_one(gil: Gil<'_>, address: usize) -> bool {
    let Some(waiting) = first(gil.exclusive(), address) else { return false };
    // SAFETY: by 2 its frame is alive until its goroutine has the GIL.
    let event = unsafe { &*waiting.0 };
    let _ = guard(gil, || event.set());
    true
}

pub(super) unsafe extern "C" fn wake(address: *const c_void, n: c_int) {
    // SAFETY: C calls it with the GIL.
    let gil = unsafe { Gil::assume() };
    for _ in 0..n {
        if !wake_one(gil, address as usize) {
            return;
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
    unsafe { LOT.renew(None) };
}
