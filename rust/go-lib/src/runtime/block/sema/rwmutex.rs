//! The reader/writer lock.
//!
//! # Invariants
//! 1. `readers` and `writing` are used under the writers' queue's lock, which guards the readers'
//!    queue too. A writer excludes all others.
//! 2. While a writer waits, new readers queue up. A writer that ends lets in all readers that wait
//!    then, before the next writer; the last of them lets in the first writer. So a writer waits
//!    for the writers before it and the readers between them, a reader for one writer.
//! 3. A lock is handed over: a woken waiter holds it.
//! 4. A writer that stops waiting lets in the readers that waited only because of it.
//!
//! Go: sync/rwmutex.go

use std::cell::Cell;
use std::fmt;

use crate::prim::const_new;
use crate::runtime::block::sema::{At, SemaQ};
use crate::runtime::object::sudog::WaitQ;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::park::yield_if_asked;
use crate::runtime::proc::wakelist::WakeList;

/// The lock was not held in that way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RwUnlockError {
    /// No reader holds it.
    NotReading,
    /// No writer holds it.
    NotWriting,
}

impl fmt::Display for RwUnlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RwUnlockError::NotReading => "sync: RUnlock of unlocked RWMutex",
            RwUnlockError::NotWriting => "sync: Unlock of unlocked RWMutex",
        })
    }
}

impl std::error::Error for RwUnlockError {}

/// A reader/writer lock without data.
pub struct RwMutexCore {
    /// Its lock guards everything here; its queue holds the writers.
    writers: SemaQ,
    readers_q: WaitQ,
    /// By 1.
    readers: Cell<usize>,
    /// By 1.
    writing: Cell<bool>,
}

// SAFETY: by 1 the plain fields are guarded by a lock.
unsafe impl Sync for RwMutexCore {}
// SAFETY: while somebody waits the queues are borrowed and do not move.
unsafe impl Send for RwMutexCore {}

impl Default for RwMutexCore {
    fn default() -> Self {
        Self::new()
    }
}

impl RwMutexCore {
    const_new! {
        /// An unlocked one.
        pub fn new() -> Self {
            RwMutexCore {
                writers: SemaQ::new(),
                readers_q: WaitQ::new(),
                readers: Cell::new(0),
                writing: Cell::new(false),
            }
        }
    }

    /// (how many readers hold it, whether a writer does).
    pub fn held(&self) -> (usize, bool) {
        self.writers.lock.lock();
        let held = (self.readers.get(), self.writing.get());
        self.writers.lock.unlock();
        held
    }

    /// Locks it for reading.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`]; then it is not held.
    pub fn rlock(&self, wait: Wait) -> Result<(), WaitError> {
        yield_if_asked();
        self.writers.lock.lock();
        if !self.writing.get() && self.writers.q.is_empty() {
            self.readers.set(self.readers.get() + 1);
            self.writers.lock.unlock();
            return Ok(());
        }
        let deadline = self.writers.deadline(wait)?;
        let reason = WaitReason::RwMutexRLock;
        // SAFETY: the lock is held. A reader that leaves keeps nobody waiting.
        unsafe { self.writers.park_in(&self.readers_q, At::Back, 0, reason, deadline, |_| ()) }
            .map(|_| ())
    }

    /// Locks it for writing.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`]; then it is not held.
    pub fn lock(&self, wait: Wait) -> Result<(), WaitError> {
        yield_if_asked();
        self.writers.lock.lock();
        // Nobody waits for a lock that nobody holds, except a waiter that has just timed out.
        if !self.writing.get() && self.readers.get() == 0 {
            self.writing.set(true);
            self.writers.lock.unlock();
            return Ok(());
        }
        let deadline = self.writers.deadline(wait)?;
        // SAFETY: the lock is held.
        let taken = unsafe {
            self.writers.park(At::Back, 0, WaitReason::RwMutexLock, deadline, |_| ()).map(|_| ())
        };
        if taken.is_err() {
            self.writer_left();
        }
        taken
    }

    /// By 4.
    #[cold]
    fn writer_left(&self) {
        let mut woken = WakeList::new();
        self.writers.lock.lock();
        if !self.writing.get() && self.writers.q.is_empty() {
            self.let_readers_in(&mut woken);
        }
        self.writers.lock.unlock();
        woken.ready();
    }

    /// Ends reading.
    ///
    /// # Errors
    /// No reader holds it.
    pub fn runlock(&self) -> Result<(), RwUnlockError> {
        let mut woken = WakeList::new();
        self.writers.lock.lock();
        let readers = self.readers.get();
        if readers == 0 {
            self.writers.lock.unlock();
            return Err(RwUnlockError::NotReading);
        }
        self.readers.set(readers - 1);
        if readers == 1 && !self.let_writer_in(&mut woken) {
            self.let_readers_in(&mut woken);
        }
        self.writers.lock.unlock();
        woken.ready();
        Ok(())
    }

    /// Ends writing.
    ///
    /// # Errors
    /// No writer holds it.
    pub fn unlock(&self) -> Result<(), RwUnlockError> {
        let mut woken = WakeList::new();
        self.writers.lock.lock();
        if !self.writing.get() {
            self.writers.lock.unlock();
            return Err(RwUnlockError::NotWriting);
        }
        self.writing.set(false);
        self.let_readers_in(&mut woken);
        if self.readers.get() == 0 {
            self.let_writer_in(&mut woken);
        }
        self.writers.lock.unlock();
        woken.ready();
        Ok(())
    }

    /// Hands the free lock to the first writer, if one waits; the lock of the queues is held.
    fn let_writer_in(&self, woken: &mut WakeList) -> bool {
        // SAFETY: the lock is held; a claimed sudog is ours until its G is readied.
        unsafe {
            let sg = self.writers.q.dequeue_claimed();
            if sg.is_null() {
                return false;
            }
            (*sg).success.set(true);
            self.writing.set(true);
            woken.push(sg);
        }
        true
    }

    /// Hands the lock to all readers that wait; the lock of the queues is held, no writer holds it.
    fn let_readers_in(&self, woken: &mut WakeList) {
        loop {
            // SAFETY: as in let_writer_in.
            unsafe {
                let sg = self.readers_q.dequeue_claimed();
                if sg.is_null() {
                    return;
                }
                (*sg).success.set(true);
                self.readers.set(self.readers.get() + 1);
                woken.push(sg);
            }
        }
    }
}
