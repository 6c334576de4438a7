//! Runnable goroutines of the embedder's interpreter: the queue of the P that has the right.
//!
//! # Invariants
//! 1. `first`, `last`, `next` belong to the P's owner alone: no atomics, no stealing.
//! 2. Everybody else pushes to the `inbox`, a stack that the owner takes whole and reverses, so
//!    that order among one pusher's Gs is kept.
//! 3. `len` counts `first…last` and `next`; others read it as a hint.
//!
//! # Memory ordering
//! A push to the inbox is a Release CAS; the owner's swap is Acquire: it sees the G as the pusher
//! left it.

use std::cell::Cell;
use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::g::G;

/// `next` may overtake the queue this often in a row: two goroutines that wake one another must
/// not starve the rest.
const NEXT_LIMIT: u32 = 64;

/// The queue.
pub(crate) struct HostQ {
    first: Cell<*mut G>,
    last: Cell<*mut G>,
    next: Cell<*mut G>,
    overtakes: Cell<u32>,
    len: AtomicU32,
    inbox: AtomicPtr<G>,
}

/// The G that comes next, still in the queue.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    gp: *mut G,
    overtakes: bool,
}

impl Head {
    /// Null if the queue is empty.
    #[inline(always)]
    pub(crate) fn gp(self) -> *mut G {
        self.gp
    }
}

impl HostQ {
    pub(crate) fn new() -> Self {
        HostQ {
            first: Cell::new(ptr::null_mut()),
            last: Cell::new(ptr::null_mut()),
            next: Cell::new(ptr::null_mut()),
            overtakes: Cell::new(0),
            len: AtomicU32::new(0),
            inbox: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline(always)]
    fn add_len(&self, n: i32) {
        // Relaxed, not an RMW: by 1 and 3 there is one writer, and readers only want a hint.
        self.len.store(self.len.load(Ordering::Relaxed).wrapping_add_signed(n), Ordering::Relaxed);
    }

    /// Puts `gp` at the end, or (`next`) in front, kicking the former `next` to the end.
    ///
    /// # Safety
    /// The caller owns the P; `gp` is runnable and in no queue.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, gp: *mut G, next: bool) {
        self.add_len(1);
        let gp = if next { self.next.replace(gp) } else { gp };
        if !gp.is_null() {
            // SAFETY: the caller's duty.
            unsafe { self.append(gp) };
        }
    }

    /// Links `gp` at the end.
    ///
    /// # Safety
    /// As `put`.
    #[inline(always)]
    unsafe fn append(&self, gp: *mut G) {
        // SAFETY: queued Gs are valid (never freed) and linked only by their queue's owner.
        unsafe {
            (*gp).schedlink.set(ptr::null_mut());
            let last = self.last.replace(gp);
            if last.is_null() {
                self.first.set(gp);
            } else {
                (*last).schedlink.set(gp);
            }
        }
    }

    /// Takes the next G; null if there is none.
    ///
    /// # Safety
    /// The caller owns the P.
    #[inline(always)]
    pub(crate) unsafe fn get(&self) -> *mut G {
        // SAFETY: the caller's duty; nothing is put in between.
        unsafe {
            let head = self.head();
            if !head.gp.is_null() {
                self.take(head);
            }
            head.gp
        }
    }

    /// Which G comes next.
    ///
    /// # Safety
    /// The caller owns the P.
    #[inline(always)]
    pub(crate) unsafe fn head(&self) -> Head {
        // Relaxed: the swap in drain_inbox orders what a push published.
        if !self.inbox.load(Ordering::Relaxed).is_null() {
            // SAFETY: the caller's duty.
            unsafe { self.drain_inbox() };
        }
        let (next, first) = (self.next.get(), self.first.get());
        if !next.is_null() && (self.overtakes.get() < NEXT_LIMIT || first.is_null()) {
            Head { gp: next, overtakes: true }
        } else {
            Head { gp: first, overtakes: false }
        }
    }

    /// Takes the G that comes next.
    ///
    /// # Safety
    /// The caller owns the P; `head`, not null, was given by [`head`](Self::head), and nothing was put
    /// or taken since.
    #[inline(always)]
    pub(crate) unsafe fn take(&self, head: Head) {
        self.add_len(-1);
        if head.overtakes {
            self.overtakes.set(self.overtakes.get().wrapping_add(1));
            self.next.set(ptr::null_mut());
            return;
        }
        self.overtakes.set(0);
        // SAFETY: queued Gs are valid.
        let after = unsafe { (*head.gp).schedlink.get() };
        self.first.set(after);
        if after.is_null() {
            self.last.set(ptr::null_mut());
        }
    }

    /// Puts `gp` where any thread may: the inbox.
    ///
    /// # Safety
    /// `gp` is runnable and in no queue.
    pub(crate) unsafe fn push_inbox(&self, gp: *mut G) {
        let mut top = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: gp is ours until the CAS succeeds.
            unsafe { (*gp).schedlink.set(top) };
            // Release: publishes gp; pairs with the Acquire swap in drain_inbox.
            match self.inbox.compare_exchange_weak(top, gp, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Moves the inbox to the end of the queue, oldest first.
    ///
    /// # Safety
    /// The caller owns the P.
    #[cold]
    #[inline(never)]
    unsafe fn drain_inbox(&self) {
        // Acquire: pairs with push_inbox.
        let mut gp = self.inbox.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest: *mut G = ptr::null_mut();
        // SAFETY: the swapped-out list is ours alone.
        unsafe {
            while !gp.is_null() {
                let below = (*gp).schedlink.replace(oldest);
                oldest = gp;
                gp = below;
            }
            while !oldest.is_null() {
                let after = (*oldest).schedlink.get();
                self.append(oldest);
                self.add_len(1);
                oldest = after;
            }
        }
    }

    /// How many Gs it holds without the inbox: a hint.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// True if nothing waits here; exact for the owner, and for an idle M after its fence.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0 && self.inbox.load(Ordering::Relaxed).is_null()
    }
}
