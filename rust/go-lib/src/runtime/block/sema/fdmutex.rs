//! The lock of a descriptor: one reader and one writer at a time, and a count of all who use it, so
//! that it is closed when the last has gone.
//!
//! # Invariants
//! 1. `state` counts a reference for the owner, until the close, and one for each operation under way. After `CLOSED`
//!    none begins; dropping the last reference then closes the descriptor.
//! 2. `WAITED` of a mode is set, and its queue read, under the queue's lock: an operation that releases the mode
//!    without the bit has nobody to wake.
//!
//! # Memory ordering
//! Giving a mode up is a Release and pairs with the Acquire that takes it: the next reader sees what the
//! last one did. A reference is dropped with AcqRel, which pairs with the other drops: the close comes
//! after every use.
//!
//! Go: internal/poll/fd_mutex.go

use crate::prim::{AtomicU64, Ordering};
use crate::runtime::block::sema::{At, SemaQ};
use crate::runtime::object::sudog::WaitQ;
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::poller::error::FdError;
use crate::runtime::proc::wakelist::WakeList;

const CLOSED: u64 = 1;
/// By mode: in use, and waited for.
const LOCKED: [u64; 2] = [2, 4];
const WAITED: [u64; 2] = [8, 16];
/// One reference.
const REF: u64 = 32;

/// The lock. Mode 0 reads, 1 writes.
pub(crate) struct FdMutex {
    state: AtomicU64,
    q: SemaQ,
    /// The waiters to write; `q` has the waiters to read, and the lock of both.
    writers: WaitQ,
}

// SAFETY: the queue of writers is used under the lock of `q`.
unsafe impl Sync for FdMutex {}
// SAFETY: while somebody waits it is borrowed and does not move.
unsafe impl Send for FdMutex {}

impl FdMutex {
    pub(crate) fn new() -> Self {
        FdMutex { state: AtomicU64::new(REF), q: SemaQ::new(), writers: WaitQ::new() }
    }

    fn queue(&self, mode: usize) -> &WaitQ {
        if mode == 0 {
            &self.q.q
        } else {
            &self.writers
        }
    }

    /// One more use; false: it was closed.
    pub(crate) fn incref(&self) -> bool {
        // Relaxed: a use orders nothing but its end.
        let more = |now: u64| (now & CLOSED == 0).then_some(now + REF);
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One use less. True: it was the last one after the close, the caller closes the descriptor.
    pub(crate) fn decref(&self) -> bool {
        // AcqRel: see the header.
        let now = self.state.fetch_sub(REF, Ordering::AcqRel) - REF;
        now & CLOSED != 0 && now < REF
    }

    /// Takes `mode` and a reference.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`FdError`].
    #[inline]
    pub(crate) fn lock(&self, mode: usize) -> Result<(), FdError> {
        let mut now = self.state.load(Ordering::Relaxed);
        loop {
            if now & CLOSED != 0 {
                return Err(FdError::Closed);
            }
            if now & LOCKED[mode] != 0 {
                self.wait(mode)?;
                now = self.state.load(Ordering::Relaxed);
                continue;
            }
            let taken = (now | LOCKED[mode]) + REF;
            // Acquire: pairs with the Release in unlock.
            match self.state.compare_exchange_weak(now, taken, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(newer) => now = newer,
            }
        }
    }

    /// Waits until `mode` was given up, or the close.
    #[cold]
    #[inline(never)]
    fn wait(&self, mode: usize) -> Result<(), FdError> {
        self.q.lock.lock();
        let waits =
            |now: u64| (now & CLOSED == 0 && now & LOCKED[mode] != 0).then_some(now | WAITED[mode]);
        // By 2. Relaxed: the lock orders the queue.
        if self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, waits).is_err() {
            self.q.lock.unlock();
            return Ok(());
        }
        // SAFETY: the lock is held.
        let waited = unsafe {
            self.q.park_in(self.queue(mode), At::Back, 0, WaitReason::IoWait, None, |_| ())
        };
        waited.map(|_| ()).map_err(FdError::Wait)
    }

    /// Gives `mode` and its reference up. True: as `decref`.
    #[inline]
    pub(crate) fn unlock(&self, mode: usize) -> bool {
        let given_up = LOCKED[mode] + REF;
        // AcqRel: see the header.
        let now = self.state.fetch_sub(given_up, Ordering::AcqRel) - given_up;
        if now & WAITED[mode] != 0 {
            self.wake_one(mode);
        }
        now & CLOSED != 0 && now < REF
    }

    #[cold]
    #[inline(never)]
    fn wake_one(&self, mode: usize) {
        let mut woken = WakeList::new();
        self.q.lock.lock();
        let q = self.queue(mode);
        // SAFETY: the lock is held; a claimed sudog is ours until its G is readied.
        unsafe {
            let sg = q.dequeue_claimed();
            if !sg.is_null() {
                woken.push(sg);
            }
        }
        if q.is_empty() {
            // By 2.
            self.state.fetch_and(!WAITED[mode], Ordering::Relaxed);
        }
        self.q.lock.unlock();
        woken.ready();
    }

    /// Closes it for new uses and wakes those that wait for a mode. The owner's reference becomes the caller's, which
    /// drops it by `decref`. False: it was closed before.
    pub(crate) fn close(&self) -> bool {
        // Relaxed: decref orders the close.
        if self.state.fetch_or(CLOSED, Ordering::Relaxed) & CLOSED != 0 {
            return false;
        }
        let mut woken = WakeList::new();
        self.q.lock.lock();
        for q in [&self.q.q, &self.writers] {
            loop {
                // SAFETY: as in wake_one.
                unsafe {
                    let sg = q.dequeue_claimed();
                    if sg.is_null() {
                        break;
                    }
                    woken.push(sg);
                }
            }
        }
        self.q.lock.unlock();
        woken.ready();
        true
    }

    /// In a forked child: its users and waiters are gone. True: it was closed.
    pub(crate) fn reset(&mut self) -> bool {
        let closed = self.state.load(Ordering::Relaxed) & CLOSED != 0;
        *self = FdMutex::new();
        if closed {
            self.state.store(CLOSED, Ordering::Relaxed);
        }
        closed
    }
}
