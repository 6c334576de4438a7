//! The untyped channel: buffer, two queues of waiters, one lock.
//!
//! # Invariants
//! Under the lock:
//! 1. A waiter in `sendq` that can still be claimed implies a full buffer, one in `recvq` an empty
//!    buffer; so at least one queue has none (but for a select that both sends and receives).
//! 2. A closed channel has no waiter that can still be claimed: `close` claims them all.
//! 3. `qcount` elements are in the buffer, from `recvx` on; `sendx` is the slot after them.
//! 4. An element is owned by exactly one of: the sender (until claimed), the buffer, the receiver.
//!    Moving it is a copy of bytes after which the source counts as empty.
//!
//! # Memory ordering
//! The lock orders everything. `closed`, `qcount` and the queues' `waiting` are atomics only since
//! the checks before the lock and `len` read them without it. Those checks need this order: read
//! "empty", then "not closed" means that it was empty while open; hence Acquire on both, which
//! pairs with the Release in `close`.
//!
//! Go: runtime/chan.go (hchan, chansend, chanrecv, closechan)

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use crate::prim::{AtomicBool, AtomicUsize, Ordering};
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::lock::ChanLock;
use crate::runtime::object::sudog::{Sudog, WaitQ};
use crate::runtime::object::wait::{Wait, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::getg;
use crate::runtime::proc::park::gopark;
use crate::runtime::proc::wakelist::WakeList;

/// Send or receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dir {
    Send,
    Recv,
}

/// How an element is moved.
pub(crate) trait Elem: Copy {
    fn bytes(self) -> usize;

    /// Moves an element.
    ///
    /// # Safety
    /// `from` holds an element, `to` has room for one, and they do not overlap.
    unsafe fn copy(self, from: *const (), to: *mut ());
}

/// An element of a type known here: the copy is a few instructions.
pub(crate) struct Typed<T>(PhantomData<T>);

impl<T> Typed<T> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Typed(PhantomData)
    }
}

impl<T> Clone for Typed<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<T> {}

impl<T> Elem for Typed<T> {
    #[inline(always)]
    fn bytes(self) -> usize {
        size_of::<T>()
    }

    #[inline(always)]
    unsafe fn copy(self, from: *const (), to: *mut ()) {
        // SAFETY: the caller's duty. A move, so that no drop may follow at `from`.
        unsafe { ptr::copy_nonoverlapping(from.cast::<T>(), to.cast::<T>(), 1) };
    }
}

/// An element of which only the size is known, as in a select over several types.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) usize);

impl Elem for Bytes {
    #[inline(always)]
    fn bytes(self) -> usize {
        self.0
    }

    #[inline(always)]
    unsafe fn copy(self, from: *const (), to: *mut ()) {
        // SAFETY: the caller's duty.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), self.0) };
    }
}

/// The outcome of a step under the lock.
pub(crate) enum Step {
    /// The element was moved. Not null: ready this G after unlocking.
    Done(*mut G),
    /// The channel is closed (and, for a receive, drained).
    Closed,
    /// It must wait.
    Blocked,
}

/// How a wait on one channel ended.
pub(crate) enum Blocked {
    Passed,
    Closed,
    WouldBlock,
    Timeout,
    Interrupted,
    Deadlock,
}

/// A queue of waiters whose emptiness can be asked without the lock.
pub(crate) struct ChanQ {
    q: WaitQ,
    /// `!q.is_empty()` whenever the lock is free.
    waiting: AtomicBool,
}

impl ChanQ {
    fn new() -> Self {
        ChanQ { q: WaitQ::new(), waiting: AtomicBool::new(false) }
    }

    /// Appends `sg`.
    ///
    /// # Safety
    /// As [`WaitQ::enqueue`].
    #[inline]
    pub(crate) unsafe fn enqueue(&self, sg: *mut Sudog) {
        // SAFETY: the caller's duty.
        unsafe { self.q.enqueue(sg) };
        // Relaxed: see must_wait.
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Takes `sg` out if it is queued.
    ///
    /// # Safety
    /// As [`WaitQ::remove`].
    pub(crate) unsafe fn remove(&self, sg: *mut Sudog) {
        // SAFETY: the caller's duty.
        unsafe { self.q.remove(sg) };
        self.waiting.store(!self.q.is_empty(), Ordering::Relaxed);
    }

    /// Takes out the first waiter that can be claimed; null if there is none.
    ///
    /// # Safety
    /// As [`WaitQ::dequeue_claimed`].
    #[inline(always)]
    unsafe fn dequeue_claimed(&self) -> *mut Sudog {
        if self.q.is_empty() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's duty.
        let sg = unsafe { self.q.dequeue_claimed() };
        self.waiting.store(!self.q.is_empty(), Ordering::Relaxed);
        sg
    }
}

/// The channel without its type.
pub(crate) struct HchanHeader {
    pub(crate) lock: ChanLock,
    /// Written under the lock.
    closed: AtomicBool,
    /// Written under the lock. By 3.
    qcount: AtomicUsize,
    /// Slots of the buffer.
    dataqsiz: usize,
    elem_bytes: usize,
    buf: *mut u8,
    /// Under the lock. By 3.
    sendx: Cell<usize>,
    /// Under the lock. By 3.
    recvx: Cell<usize>,
    recvq: ChanQ,
    sendq: ChanQ,
    /// The doorbell to ring when a full buffer gets room; null: none. Under the lock.
    bell: Cell<*mut G>,
}

impl HchanHeader {
    pub(crate) fn new(buf: *mut u8, dataqsiz: usize, elem_bytes: usize, lock: ChanLock) -> Self {
        HchanHeader {
            lock,
            closed: AtomicBool::new(false),
            qcount: AtomicUsize::new(0),
            dataqsiz,
            elem_bytes,
            buf,
            sendx: Cell::new(0),
            recvx: Cell::new(0),
            recvq: ChanQ::new(),
            sendq: ChanQ::new(),
            bell: Cell::new(ptr::null_mut()),
        }
    }

    pub(crate) fn buf(&self) -> *mut u8 {
        self.buf
    }

    pub(crate) fn len(&self) -> usize {
        // Relaxed: a snapshot.
        self.qcount.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.dataqsiz
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // Acquire: everything sent before the close is seen; pairs with the Release in close.
        self.closed.load(Ordering::Acquire)
    }

    /// True while it is as it was made: open and empty, and nobody waits. Under the lock, or when nobody
    /// else can come.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_closed() && self.len() == 0 && self.recvq.q.is_empty() && self.sendq.q.is_empty()
    }

    /// How select moves this channel's elements.
    #[inline]
    pub(crate) fn elem(&self) -> Bytes {
        Bytes(self.elem_bytes)
    }

    /// The queue where waiters of this direction wait.
    #[inline]
    pub(crate) fn queue(&self, dir: Dir) -> &ChanQ {
        match dir {
            Dir::Send => &self.sendq,
            Dir::Recv => &self.recvq,
        }
    }

    /// True if a send would have had to wait at some moment of the call.
    #[inline]
    pub(crate) fn send_must_wait(&self) -> bool {
        // Relaxed: a channel is not reopened and "full" is read once; whichever of the two reads
        // is the older, there was a moment at which it was open and full (Go: chan.go, full).
        !self.closed.load(Ordering::Relaxed)
            && if self.dataqsiz == 0 {
                !self.recvq.waiting.load(Ordering::Relaxed)
            } else {
                self.qcount.load(Ordering::Relaxed) == self.dataqsiz
            }
    }

    /// True if there was nothing to receive at some moment of the call (it may be closed).
    #[inline]
    pub(crate) fn recv_must_wait(&self) -> bool {
        // Acquire: keeps the caller's look at `closed` behind this one. It pairs with no Release: the
        // lock that guards the writes orders them.
        if self.dataqsiz == 0 {
            !self.sendq.waiting.load(Ordering::Acquire)
        } else {
            self.qcount.load(Ordering::Acquire) == 0
        }
    }

    /// Slot `i` of the buffer.
    ///
    /// # Safety
    /// `i < dataqsiz`, and `bytes` is the element's size.
    #[inline(always)]
    unsafe fn slot(&self, i: usize, bytes: usize) -> *mut () {
        // SAFETY: the caller's duty: inside the buffer.
        unsafe { self.buf.add(i * bytes) }.cast()
    }

    #[inline(always)]
    fn after(&self, i: usize) -> usize {
        if i + 1 == self.dataqsiz {
            0
        } else {
            i + 1
        }
    }

    /// Sends the element at `from` if that needs no waiting.
    ///
    /// # Safety
    /// The lock is held; `e` moves this channel's elements; `from` holds one, which is moved out
    /// if the answer is `Done`.
    #[inline(always)]
    pub(crate) unsafe fn send_step<E: Elem>(&self, e: E, from: *const ()) -> Step {
        if self.closed.load(Ordering::Relaxed) {
            return Step::Closed;
        }
        // SAFETY: the lock is held; a claimed receiver's sudog and slot stay until it is readied.
        unsafe {
            let sg = self.recvq.dequeue_claimed();
            if !sg.is_null() {
                e.copy(from, (*sg).elem.get());
                (*sg).success.set(true);
                return Step::Done((*sg).g);
            }
        }
        let n = self.qcount.load(Ordering::Relaxed);
        if n == self.dataqsiz {
            return Step::Blocked;
        }
        let i = self.sendx.get();
        // SAFETY: by 3 slot i is empty.
        unsafe { e.copy(from, self.slot(i, e.bytes())) };
        self.sendx.set(self.after(i));
        self.qcount.store(n + 1, Ordering::Relaxed);
        Step::Done(ptr::null_mut())
    }

    /// Receives an element into `to` if that needs no waiting.
    ///
    /// # Safety
    /// The lock is held; `e` moves this channel's elements; `to` has room for one, which is moved
    /// in if the answer is `Done`.
    #[inline(always)]
    pub(crate) unsafe fn recv_step<E: Elem>(&self, e: E, to: *mut ()) -> Step {
        let n = self.qcount.load(Ordering::Relaxed);
        // SAFETY: the lock is held; a claimed sender's sudog and element stay until it is readied.
        unsafe {
            if n > 0 {
                let i = self.recvx.get();
                let slot = self.slot(i, e.bytes());
                e.copy(slot, to);
                let sg = self.sendq.dequeue_claimed();
                let after = self.after(i);
                self.recvx.set(after);
                if sg.is_null() {
                    self.qcount.store(n - 1, Ordering::Relaxed);
                    // Only channels of one value have a bell; others skip this.
                    let bell = if after == 0 {
                        self.bell.replace(ptr::null_mut())
                    } else {
                        ptr::null_mut()
                    };
                    return Step::Done(bell);
                }
                // By 1 the buffer was full: the slot that we emptied is also the next to fill.
                e.copy((*sg).elem.get(), slot);
                self.sendx.set(self.after(i));
                (*sg).success.set(true);
                return Step::Done((*sg).g);
            }
            let sg = self.sendq.dequeue_claimed();
            if !sg.is_null() {
                e.copy((*sg).elem.get(), to);
                (*sg).success.set(true);
                return Step::Done((*sg).g);
            }
        }
        if self.closed.load(Ordering::Relaxed) {
            Step::Closed
        } else {
            Step::Blocked
        }
    }

    /// Makes the receive that takes the only value of this full channel ready `bell`, once; null revokes that.
    ///
    /// # Safety
    /// The lock is held; the channel has room for one value; `bell` belongs to a [`Doorbell`](super::Doorbell) that is not
    /// freed before this is taken back, or it has rung.
    pub(crate) unsafe fn set_bell(&self, bell: *mut G) {
        debug_assert_eq!(self.dataqsiz, 1);
        self.bell.set(bell);
    }

    /// Waits in the queue of `dir` until a peer, a close, the deadline or an interrupt comes.
    ///
    /// A part of its caller's frame, for the sake of the returns behind a switch: see `proc::direct`.
    ///
    /// # Safety
    /// The lock is held and is released here; a step just answered `Blocked`; `elem` is what the
    /// step had and stays until the return.
    #[inline(always)]
    pub(crate) unsafe fn block(&self, dir: Dir, elem: *mut (), wait: Wait) -> Blocked {
        let deadline = match wait {
            Wait::Block => None,
            Wait::Try => {
                self.lock.unlock();
                return Blocked::WouldBlock;
            }
            Wait::Until(when) if when <= clock::now() => {
                self.lock.unlock();
                return Blocked::Timeout;
            }
            Wait::Until(when) => Some(when),
        };
        let reason = match dir {
            Dir::Send => WaitReason::ChanSend,
            Dir::Recv => WaitReason::ChanReceive,
        };
        let mut sudog = Sudog::new(getg(), elem, 0);
        let sg = &raw mut sudog;
        let q = self.queue(dir);
        let arg = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the lock is held until unlock_chan; the sudog is out of the queue before this
        // returns: the claimer dequeued it, otherwise this does.
        unsafe {
            q.enqueue(sg);
            let wake = gopark(unlock_chan, arg, reason, deadline);
            if wake == Wake::Peer {
                return if (*sg).success.get() { Blocked::Passed } else { Blocked::Closed };
            }
            self.lock.lock();
            q.remove(sg);
            self.lock.unlock();
            match wake {
                Wake::Timeout => Blocked::Timeout,
                Wake::Deadlock => Blocked::Deadlock,
                Wake::Interrupt | Wake::Peer => Blocked::Interrupted,
            }
        }
    }

    /// Closes the channel and wakes all who wait. False: it was closed already.
    pub(crate) fn close(&self) -> bool {
        self.lock.lock();
        if self.closed.load(Ordering::Relaxed) {
            self.lock.unlock();
            return false;
        }
        // Release: pairs with Acquire in is_closed.
        self.closed.store(true, Ordering::Release);
        let mut woken = WakeList::new();
        for q in [&self.recvq, &self.sendq] {
            loop {
                // SAFETY: the lock is held; we ready below what we claim.
                let sg = unsafe { q.dequeue_claimed() };
                if sg.is_null() {
                    break;
                }
                // SAFETY: a claimed sudog is ours until its G is readied.
                unsafe {
                    (*sg).success.set(false);
                    woken.push(sg);
                }
            }
        }
        self.lock.unlock();
        woken.ready();
        true
    }

    /// Shows `f` the elements in the buffer and those of waiting senders.
    ///
    /// # Safety
    /// `bytes` is the element's size; `f` runs under the lock and must not take it.
    pub(crate) unsafe fn visit(&self, bytes: usize, f: &mut dyn FnMut(*const ())) {
        struct Unlock<'a>(&'a ChanLock);
        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                self.0.unlock();
            }
        }
        self.lock.lock();
        let _unlock = Unlock(&self.lock);
        let mut i = self.recvx.get();
        for _ in 0..self.qcount.load(Ordering::Relaxed) {
            // SAFETY: by 3 slot i is full.
            f(unsafe { self.slot(i, bytes) });
            i = self.after(i);
        }
        let mut sg = self.sendq.q.first();
        while !sg.is_null() {
            // SAFETY: a queued sudog is valid and its element is its sender's until both are out.
            unsafe {
                f((*sg).elem.get());
                sg = (*sg).next.get();
            }
        }
    }
}

/// `gopark`'s unlockf: publishes the wait by releasing the channel.
///
/// # Safety
/// `arg` is the locked channel. It may be gone once the lock is free.
unsafe fn unlock_chan(_gp: *mut G, arg: *mut ()) {
    // SAFETY: the caller's duty.
    unsafe { (*arg.cast::<HchanHeader>()).lock.unlock() };
}
