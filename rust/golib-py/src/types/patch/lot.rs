//! Goroutines that wait for an address: of a lock, a queue, a direction of a descriptor.
//!
//! # Invariants
//! 1. All of it is used with the main interpreter's GIL held, and nothing that may give the GIL up runs while the table is
//!    borrowed.
//! 2. A waiter lies on its goroutine's stack. The waker takes it out of the table first; a waiter that leaves
//!    otherwise takes itself out before its frame ends.
//! 3. A waiter that was woken but leaves for another reason wakes the next one: no wake-up is lost.

use std::cell::UnsafeCell;
use std::collections::{HashMap, VecDeque};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};

use go_lib::runtime::embedder::{self, Event, Wait, WaitError, WaitReason};

use super::waits::{deadline, outcome, RAISED, TIMED_OUT, WOKEN};
use crate::ffi::raw::{guard, guard_wait, Record};

/// How many wait: 0 spares those who would wake a look.
pub(super) static COUNT: AtomicI64 = AtomicI64::new(0);

/// `GOLIB_AT_FRONT`, `GOLIB_NOT_LEFT`.
const AT_FRONT: c_int = 1;
const NOT_LEFT: c_int = 2;

type Queues = HashMap<usize, VecDeque<*const Event>>;

struct Lot(UnsafeCell<Option<Queues>>);
// SAFETY: by 1.
unsafe impl Sync for Lot {}

static LOT: Lot = Lot(UnsafeCell::new(None));

/// Uses the table.
fn with<R>(use_it: impl FnOnce(&mut Queues) -> R) -> R {
    // SAFETY: by 1 nobody else has it.
    use_it(unsafe { (*LOT.0.get()).get_or_insert_with(HashMap::new) })
}

/// Takes a waiter out; false: somebody has woken it.
fn take_out(address: usize, event: *const Event) -> bool {
    with(|queues| {
        let Some(queue) = queues.get_mut(&address) else { return false };
        let Some(at) = queue.iter().position(|&e| ptr::eq(e, event)) else { return false };
        queue.remove(at);
        if queue.is_empty() {
            queues.remove(&address);
        }
        COUNT.fetch_sub(1, Ordering::Relaxed);
        true
    })
}

/// The first waiter, taken out.
fn first(address: usize) -> Option<*const Event> {
    with(|queues| {
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

/// Waits until `event` is set. An interrupt of a wait that is not left is pending again afterwards.
unsafe fn sit(event: &Event, wait: Wait, reason: WaitReason, ways: c_int, record: Record) -> c_int {
    let mut postponed = false;
    let result = loop {
        match guard_wait(record, || event.wait(wait, reason)) {
            Some(Ok(())) => break WOKEN,
            Some(Err(WaitError::Interrupted)) if ways & NOT_LEFT != 0 => {
                embedder::take_interrupt();
                postponed = true;
            }
            Some(Err(error)) => {
                // SAFETY: the GIL is held; that wait is over.
                if let Some(outcome) = unsafe { outcome(error) } {
                    break outcome;
                }
            }
            None => break RAISED,
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
    let key = address as usize;
    let event = Event::new();
    with(|queues| {
        let queue = queues.entry(key).or_default();
        if ways & AT_FRONT != 0 {
            queue.push_front(&event);
        } else {
            queue.push_back(&event);
        }
    });
    COUNT.fetch_add(1, Ordering::Relaxed);
    let until = deadline(until_ns).map_or(Wait::Block, Wait::Until);
    // SAFETY: the GIL is held.
    let result = unsafe { sit(&event, until, reason_of(reason), ways, record) };
    if result == WOKEN || take_out(key, &event) {
        return result;
    }
    // Woken at the same time.
    if result == TIMED_OUT {
        return WOKEN;
    }
    // SAFETY: by 3; the GIL is held.
    unsafe { wake(address, 1) };
    result
}

pub(super) unsafe extern "C" fn wake(address: *const c_void, n: c_int) {
    for _ in 0..n {
        let Some(event) = first(address as usize) else { return };
        // SAFETY: by 2 its frame stands until its goroutine has the GIL.
        guard(|| unsafe { (*event).set() });
    }
}

/// In a forked child: nobody of the parent's waits there.
pub(super) fn after_fork() {
    COUNT.store(0, Ordering::Relaxed);
    // The child's only thread has the table. It may have been in use at the fork: it is forgotten, not freed.
    // SAFETY: no other thread is there.
    unsafe { ptr::write(LOT.0.get(), None) };
}
