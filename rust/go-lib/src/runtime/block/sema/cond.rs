//! A condition variable: waiters give a lock up and resume when notified, in order.
//!
//! # Invariants
//! 1. A waiter is in the queue before it gives the lock up: a notification made under that lock
//!    cannot come too early for it.
//! 2. A queued waiter that has not parked yet cannot be claimed: its `elem` is null, and a
//!    notification only sets its `success`, which it reads under the queue's lock before it parks.
//! 3. A notification goes to exactly one waiter: one whose claim fails was ended by its deadline or
//!    an interrupt, and the next in line gets it.
//!
//! Go: sync/cond.go, runtime/sema.go (notifyList)

use std::ptr;

use crate::prim::const_new;
use crate::runtime::block::sema::SemaQ;
use crate::runtime::object::sudog::Sudog;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::getg;
use crate::runtime::proc::wakelist::WakeList;

/// A condition variable without a lock.
pub struct CondCore {
    q: SemaQ,
}

impl Default for CondCore {
    fn default() -> Self {
        Self::new()
    }
}

impl CondCore {
    const_new! {
        /// One that nobody waits on.
        pub fn new() -> Self {
            CondCore { q: SemaQ::new() }
        }
    }

    /// Queues up, calls `unlock`, and waits to be notified.
    ///
    /// Blocks: the goroutine or the OS thread. The caller takes its lock again afterwards, whatever
    /// the result.
    ///
    /// # Errors
    /// See [`WaitError`]; then no notification was taken. `unlock` was called.
    pub fn wait(&self, wait: Wait, unlock: impl FnOnce()) -> Result<(), WaitError> {
        let mut sudog = Sudog::new(getg(), ptr::null_mut(), 0);
        let sg = &raw mut sudog;
        let leave = Leave { cond: self, sg };
        self.q.lock.lock();
        // SAFETY: the lock is held; `leave` takes the sudog out before it is gone.
        unsafe { self.q.q.enqueue(sg) };
        self.q.lock.unlock();
        unlock();
        // SAFETY: just queued.
        unsafe { self.wait_queued(sg, wait) }?;
        std::mem::forget(leave);
        Ok(())
    }

    /// Waits as `sg`, which may have been notified already.
    ///
    /// # Safety
    /// `sg` is the caller's and was put into the queue.
    unsafe fn wait_queued(&self, sg: *mut Sudog, wait: Wait) -> Result<(), WaitError> {
        self.q.lock.lock();
        // SAFETY: our own sudog, under the lock.
        if unsafe { (*sg).success.get() } {
            self.q.lock.unlock();
            return Ok(());
        }
        let deadline = self.q.deadline(wait)?;
        // SAFETY: the lock is held, the sudog is queued; by 2 it may be claimed from now on.
        unsafe {
            (*sg).elem.set(sg.cast());
            self.q.park_queued(&self.q.q, sg, WaitReason::CondWait, deadline, |_| ()).map(|_| ())
        }
    }

    /// Wakes up to `n` waiters, those that have waited longest.
    pub fn notify(&self, n: usize) {
        let mut woken = WakeList::new();
        let mut left = n;
        self.q.lock.lock();
        while left > 0 {
            let sg = self.q.q.first();
            if sg.is_null() {
                break;
            }
            // SAFETY: a queued sudog is valid under the lock.
            unsafe {
                self.q.q.remove(sg);
                if (*sg).elem.get().is_null() {
                    // By 2.
                    (*sg).success.set(true);
                    left -= 1;
                } else if (*(*sg).g).wait.claim_peer() {
                    (*sg).success.set(true);
                    woken.push(sg);
                    left -= 1;
                }
            }
        }
        self.q.lock.unlock();
        woken.ready();
    }

    /// Wakes all current waiters.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }
}

/// The end of a wait that was not notified, including one whose `unlock` panics.
struct Leave<'a> {
    cond: &'a CondCore,
    sg: *mut Sudog,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.cond.q.lock.lock();
        // SAFETY: our own sudog, in this queue or in none.
        let notified = unsafe {
            self.cond.q.q.remove(self.sg);
            (*self.sg).success.get()
        };
        self.cond.q.lock.unlock();
        if notified {
            // It came when we had given up: by 3 it is the next one's.
            self.cond.notify(1);
        }
    }
}
