//! Waiting for a state: the wait queues of everything in `sync`, and its cores.
//!
//! Go keeps a table of queues keyed by address, since its semaphores are one word; these own their
//! queue, so that a wait takes one lock and a wake looks at no other waiters.
//!
//! # Invariants
//! 1. A primitive's word says whether somebody may wait, so that the common release does not lock.
//! 2. The word's "somebody waits" is set, and the queue read, under the queue's lock.
//!
//! Go: runtime/sema.go

mod cond;
mod event;
mod fdmutex;
mod flag;
mod mutex;
mod rwmutex;
mod semaphore;
mod waitgroup;

pub use cond::CondCore;
pub use event::Event;
pub(crate) use fdmutex::FdMutex;
pub use flag::Flag;
pub use mutex::{MutexCore, UnlockOfUnlocked};
pub use rwmutex::{RwMutexCore, RwUnlockError};
pub use semaphore::{ReleasedTooMany, SemaphoreCore};
pub use waitgroup::{WaitGroupCore, WaitGroupError};

use std::ptr;

use crate::prim::const_new;
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::sudog::{Sudog, WaitQ};
use crate::runtime::object::wait::{Wait, WaitError, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::getg;
use crate::runtime::proc::park::gopark;
use crate::runtime::proc::wakelist::WakeList;

/// The deadline of a wait that cannot proceed now.
fn deadline(wait: Wait) -> Result<Option<i64>, WaitError> {
    match wait {
        Wait::Block => Ok(None),
        Wait::Try => Err(WaitError::WouldBlock),
        Wait::Until(when) if when <= clock::now() => Err(WaitError::Timeout),
        Wait::Until(when) => Ok(Some(when)),
    }
}

/// Waiters and the lock that guards them.
struct SemaQ {
    lock: Mutex,
    q: WaitQ,
}

// SAFETY: q is used under the lock only.
unsafe impl Sync for SemaQ {}
// SAFETY: while somebody waits the queue is borrowed and does not move.
unsafe impl Send for SemaQ {}

/// Where a waiter queues up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Front,
    Back,
}

impl SemaQ {
    const_new! {
        fn new() -> Self {
            SemaQ { lock: Mutex::new(), q: WaitQ::new() }
        }
    }

    /// The deadline of a wait that cannot proceed now. The lock is held; an error releases it.
    fn deadline(&self, wait: Wait) -> Result<Option<i64>, WaitError> {
        deadline(wait).inspect_err(|_| self.lock.unlock())
    }

    /// Waits in the queue until claimed; the claimer's `success`. After any other end the waiter
    /// is out of the queue, and `left` was called under the lock with whether that emptied it.
    ///
    /// # Safety
    /// The lock is held; it is released here.
    #[inline(never)]
    unsafe fn park(
        &self,
        at: At,
        tag: usize,
        reason: WaitReason,
        deadline: Option<i64>,
        left: impl FnOnce(bool),
    ) -> Result<bool, WaitError> {
        // SAFETY: the caller's duty.
        unsafe { self.park_in(&self.q, at, tag, reason, deadline, left) }
    }

    /// As [`SemaQ::park`], in another queue under the same lock.
    ///
    /// # Safety
    /// The lock is held; it is released here.
    #[inline]
    unsafe fn park_in(
        &self,
        q: &WaitQ,
        at: At,
        tag: usize,
        reason: WaitReason,
        deadline: Option<i64>,
        left: impl FnOnce(bool),
    ) -> Result<bool, WaitError> {
        let mut sudog = Sudog::new(getg(), ptr::null_mut(), tag);
        let sg = &raw mut sudog;
        // SAFETY: the lock is held; the sudog is out of the queue when park_queued returns.
        unsafe {
            match at {
                At::Front => q.enqueue_front(sg),
                At::Back => q.enqueue(sg),
            }
            self.park_queued(q, sg, reason, deadline, left)
        }
    }

    /// As [`SemaQ::park`], for a waiter that is in the queue already.
    ///
    /// # Safety
    /// The lock is held, `sg` is the caller's and in `q`; the lock is released here.
    #[inline]
    unsafe fn park_queued(
        &self,
        q: &WaitQ,
        sg: *mut Sudog,
        reason: WaitReason,
        deadline: Option<i64>,
        left: impl FnOnce(bool),
    ) -> Result<bool, WaitError> {
        // SAFETY: the lock is held until unlock_sema; the sudog is out of the queue when this
        // returns: the claimer dequeued it, otherwise this does.
        unsafe {
            let arg = ptr::from_ref(self).cast_mut().cast();
            let wake = gopark(unlock_sema, arg, reason, deadline);
            if wake == Wake::Peer {
                return Ok((*sg).success.get());
            }
            self.lock.lock();
            q.remove(sg);
            left(q.is_empty());
            self.lock.unlock();
            Err(match wake {
                Wake::Timeout => WaitError::Timeout,
                Wake::Deadlock => WaitError::Deadlock,
                Wake::Interrupt | Wake::Peer => WaitError::Interrupted,
            })
        }
    }

    /// Claims all waiters, to be readied after unlocking.
    ///
    /// # Safety
    /// The lock is held.
    unsafe fn take_all(&self) -> WakeList {
        let mut woken = WakeList::new();
        loop {
            // SAFETY: the caller's duty; a claimed sudog is ours until its G is readied.
            unsafe {
                let sg = self.q.dequeue_claimed();
                if sg.is_null() {
                    return woken;
                }
                (*sg).success.set(true);
                woken.push(sg);
            }
        }
    }
}

/// `gopark`'s unlockf: publishes the wait by releasing the queue.
///
/// # Safety
/// `arg` is the locked queue. It may be gone once the lock is free.
unsafe fn unlock_sema(_gp: *mut G, arg: *mut ()) {
    // SAFETY: the caller's duty.
    unsafe { (*arg.cast::<SemaQ>()).lock.unlock() };
}
