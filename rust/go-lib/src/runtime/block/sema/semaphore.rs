//! A weighted semaphore: a number of permits, handed out first come, first served.
//!
//! # Invariants
//! 1. `free` is used under the queue's lock; permits held and free are `size` together.
//! 2. Nobody overtakes: while somebody waits, newcomers queue up, so a large wish is not starved by
//!    small ones. A waiter that gives up looks whether those behind it can continue.
//! 3. A waiter's `tag` is how many permits it wants.
//!
//! Go: golang.org/x/sync/semaphore

use std::cell::Cell;
use std::fmt;

use crate::prim::const_new;
use crate::runtime::block::sema::{At, SemaQ};
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::wakelist::WakeList;

/// More permits were given back than are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReleasedTooMany;

impl fmt::Display for ReleasedTooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("semaphore: released more than held")
    }
}

impl std::error::Error for ReleasedTooMany {}

/// The permits and their waiters.
pub struct SemaphoreCore {
    size: usize,
    /// By 1.
    free: Cell<usize>,
    q: SemaQ,
}

// SAFETY: by 1 `free` is guarded by a lock.
unsafe impl Sync for SemaphoreCore {}

impl SemaphoreCore {
    const_new! {
        /// A semaphore of `size` permits, all of them free.
        pub fn new(size: usize) -> Self {
            SemaphoreCore { size, free: Cell::new(size), q: SemaQ::new() }
        }
    }

    /// How many permits there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        self.q.lock.lock();
        let free = self.free.get();
        self.q.lock.unlock();
        free
    }

    /// Takes `n` permits; more than there are come never.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// See [`WaitError`]; then none is held.
    pub fn acquire(&self, n: usize, wait: Wait) -> Result<(), WaitError> {
        self.q.lock.lock();
        if self.q.q.is_empty() && n <= self.free.get() {
            self.free.set(self.free.get() - n);
            self.q.lock.unlock();
            return Ok(());
        }
        let deadline = self.q.deadline(wait)?;
        // SAFETY: the lock is held.
        let taken = unsafe {
            self.q.park(At::Back, n, WaitReason::SemAcquire, deadline, |_| ()).map(|_| ())
        };
        if taken.is_err() {
            // By 2.
            self.q.lock.lock();
            let woken = self.grant();
            self.q.lock.unlock();
            woken.ready();
        }
        taken
    }

    /// Gives `n` permits back.
    ///
    /// # Errors
    /// Fewer are held; then nothing has changed.
    pub fn release(&self, n: usize) -> Result<(), ReleasedTooMany> {
        self.q.lock.lock();
        if n > self.size - self.free.get() {
            self.q.lock.unlock();
            return Err(ReleasedTooMany);
        }
        self.free.set(self.free.get() + n);
        let woken = self.grant();
        self.q.lock.unlock();
        woken.ready();
        Ok(())
    }

    /// Gives permits to the first waiters as long as there are enough; the lock is held.
    fn grant(&self) -> WakeList {
        let mut woken = WakeList::new();
        loop {
            let sg = self.q.q.first();
            // SAFETY: a queued sudog is valid under the lock.
            if sg.is_null() || unsafe { (*sg).tag } > self.free.get() {
                return woken;
            }
            // SAFETY: the lock is held; a claimed sudog is ours until its G is readied.
            unsafe {
                self.q.q.remove(sg);
                if (*(*sg).g).wait.claim_peer() {
                    (*(*sg).g).param.set(sg.cast());
                    (*sg).success.set(true);
                    self.free.set(self.free.get() - (*sg).tag);
                    woken.push(sg);
                }
            }
        }
    }
}
