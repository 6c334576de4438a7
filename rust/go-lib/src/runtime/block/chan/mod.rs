//! Channels: a bounded FIFO of values on which goroutines and OS threads wait.
//!
//! [`core`] is the untyped channel, which `select` works on; [`Hchan`] is its typed face: the
//! elements of `T` are moved, never cloned, at most twice (into the buffer and out of it), once if
//! a waiter is there already.
//!
//! Every operation that does not happen gives its value back and leaves nothing in the channel.
//!
//! Go: runtime/chan.go

pub(crate) mod core;

use std::alloc::{alloc, dealloc, Layout};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use self::core::{Blocked, Dir, HchanHeader, Step, Typed};
pub use crate::runtime::object::doorbell::Doorbell;
use crate::runtime::object::g::G;
use crate::runtime::object::lock::ChanLock;
use crate::runtime::object::wait::Wait;
use crate::runtime::proc::ready::goready;

/// Why a send did not happen; holds the value.
///
/// # Examples
/// ```
/// use go_lib::chan::{chan, SendError};
/// let (tx, _rx) = chan(0);
/// match tx.try_send_ok("later") {
///     Err(SendError::Full(text)) => assert_eq!(text, "later"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendError<T> {
    /// The channel is closed.
    Closed(T),
    /// It would have to wait ([`Wait::Try`]).
    Full(T),
    /// The deadline passed.
    Timeout(T),
    /// The host interrupted the goroutine.
    Interrupted(T),
    /// All goroutines are asleep.
    Deadlock(T),
}

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Closed(v)
            | SendError::Full(v)
            | SendError::Timeout(v)
            | SendError::Interrupted(v)
            | SendError::Deadlock(v) => v,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            SendError::Closed(_) => "send on closed channel",
            SendError::Full(_) => "channel is full",
            SendError::Timeout(_) => "send timed out",
            SendError::Interrupted(_) => "send was interrupted",
            SendError::Deadlock(_) => "all goroutines are asleep - deadlock!",
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<T> std::error::Error for SendError<T> {}

/// Why a receive did not happen. A closed channel is no error: it yields `Ok(None)`.
///
/// # Examples
/// ```
/// use go_lib::chan::{chan, RecvError};
/// let (_tx, rx) = chan::<u8>(1);
/// assert_eq!(rx.try_recv_ok().unwrap_err(), RecvError::Empty);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvError {
    /// It would have to wait ([`Wait::Try`]).
    Empty,
    /// The deadline passed.
    Timeout,
    /// The host interrupted the goroutine.
    Interrupted,
    /// All goroutines are asleep.
    Deadlock,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Empty => "channel is empty",
            RecvError::Timeout => "receive timed out",
            RecvError::Interrupted => "receive was interrupted",
            RecvError::Deadlock => "all goroutines are asleep - deadlock!",
        })
    }
}

impl std::error::Error for RecvError {}

/// The channel was closed before.
///
/// # Examples
/// ```
/// use go_lib::chan::{chan, CloseOfClosed};
/// let (tx, _rx) = chan::<u8>(1);
/// tx.close();
/// assert_eq!(tx.close_ok(), Err(CloseOfClosed));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseOfClosed;

impl fmt::Display for CloseOfClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("close of closed channel")
    }
}

impl std::error::Error for CloseOfClosed {}

/// No buffer of the wished capacity can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapacityError;

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("makechan: size out of range")
    }
}

impl std::error::Error for CapacityError {}

/// A channel of `T`s.
pub struct Hchan<T> {
    pub(crate) header: HchanHeader,
    /// Owns what is in the buffer.
    elements: PhantomData<T>,
}

// SAFETY: a channel passes each value from one thread to one other; everything shared is in the
// header, guarded by its lock.
unsafe impl<T: Send> Sync for Hchan<T> {}
// SAFETY: as Sync.
unsafe impl<T: Send> Send for Hchan<T> {}

impl<T> Hchan<T> {
    /// A channel that buffers `cap` values; 0 makes every send meet a receive.
    ///
    /// # Errors
    /// The buffer does not fit the address space or memory.
    pub fn try_new(cap: usize) -> Result<Self, CapacityError> {
        Self::with_lock(cap, ChanLock::new(false))
    }

    /// A channel for holders of the host's interpreter, who lock it without an atomic operation.
    ///
    /// # Safety
    /// It is used and dropped with the interpreter held.
    ///
    /// # Errors
    /// As [`Hchan::try_new`].
    pub unsafe fn try_new_in_host(cap: usize) -> Result<Self, CapacityError> {
        Self::with_lock(cap, ChanLock::new(true))
    }

    fn with_lock(cap: usize, lock: ChanLock) -> Result<Self, CapacityError> {
        let layout = Layout::array::<T>(cap).map_err(|_| CapacityError)?;
        let buf = if layout.size() == 0 {
            ptr::without_provenance_mut(layout.align())
        } else {
            // SAFETY: the layout's size is not zero.
            unsafe { alloc(layout) }
        };
        if buf.is_null() {
            return Err(CapacityError);
        }
        let header = HchanHeader::new(buf, cap, size_of::<T>(), lock);
        Ok(Hchan { header, elements: PhantomData })
    }

    /// Sends `v`.
    ///
    /// Blocks: the goroutine or the OS thread, as `wait` says.
    ///
    /// # Errors
    /// See [`SendError`]; it holds `v`.
    #[inline(always)]
    pub fn send(&self, v: T, wait: Wait) -> Result<(), SendError<T>> {
        let mut v = ManuallyDrop::new(v);
        // Until the channel has taken it, v stays ours.
        let back = |v: ManuallyDrop<T>| ManuallyDrop::into_inner(v);
        let h = &self.header;
        if wait == Wait::Try && h.send_must_wait() {
            return Err(SendError::Full(back(v)));
        }
        let elem: *mut () = (&raw mut v).cast();
        h.lock.lock();
        // SAFETY: the lock is held and elem is a T.
        match unsafe { h.send_step(Typed::<T>::new(), elem) } {
            Step::Done(gp) => {
                h.lock.unlock();
                if !gp.is_null() {
                    // SAFETY: send_step claimed its wait.
                    unsafe { goready(gp) };
                }
                Ok(())
            }
            Step::Closed => {
                h.lock.unlock();
                Err(SendError::Closed(back(v)))
            }
            // SAFETY: the lock is held, block releases it; v stays until the wait is over.
            Step::Blocked => match unsafe { h.block(Dir::Send, elem, wait) } {
                Blocked::Passed => Ok(()),
                Blocked::Closed => Err(SendError::Closed(back(v))),
                Blocked::WouldBlock => Err(SendError::Full(back(v))),
                Blocked::Timeout => Err(SendError::Timeout(back(v))),
                Blocked::Interrupted => Err(SendError::Interrupted(back(v))),
                Blocked::Deadlock => Err(SendError::Deadlock(back(v))),
            },
        }
    }

    /// Sends `v` if that needs no waiting; a short cut for those who call [`Hchan::send`] if it fails.
    ///
    /// # Errors
    /// The value: the channel is full, or closed.
    #[inline(always)]
    pub fn send_at_once(&self, v: T) -> Result<(), T> {
        if self.header.send_must_wait() {
            return Err(v);
        }
        let gp = self.offer(v)?;
        if !gp.is_null() {
            // SAFETY: send_step claimed its wait; no lock is held.
            unsafe { goready(gp) };
        }
        Ok(())
    }

    /// Sends `v` if that needs no waiting, and leaves it to the caller to ready the receiver that
    /// got it, if there was one: `goready`, with no lock held.
    ///
    /// # Errors
    /// The value: the channel is full, or closed.
    #[inline(always)]
    pub(crate) fn offer(&self, v: T) -> Result<*mut G, T> {
        let mut v = ManuallyDrop::new(v);
        let elem: *mut () = (&raw mut v).cast();
        let h = &self.header;
        h.lock.lock();
        // SAFETY: the lock is held and elem is a T.
        let step = unsafe { h.send_step(Typed::<T>::new(), elem) };
        h.lock.unlock();
        match step {
            Step::Done(gp) => Ok(gp),
            // It was not moved out: still ours.
            Step::Closed | Step::Blocked => Err(ManuallyDrop::into_inner(v)),
        }
    }

    /// As [`offer`](Self::offer); if the channel, which has room for one value, is full, `bell` rings when it is not.
    ///
    /// # Safety
    /// The bell is not freed before [`take_bell_back`](Self::take_bell_back), or it has rung.
    pub(crate) unsafe fn offer_or_leave(&self, v: T, bell: &Doorbell) -> Result<*mut G, T> {
        let mut v = ManuallyDrop::new(v);
        let elem: *mut () = (&raw mut v).cast();
        let h = &self.header;
        h.lock.lock();
        // SAFETY: the lock is held and elem is a T; the caller's duty.
        let step = unsafe {
            let step = h.send_step(Typed::<T>::new(), elem);
            if matches!(step, Step::Blocked) {
                h.set_bell(bell.g());
            }
            step
        };
        h.lock.unlock();
        match step {
            Step::Done(gp) => Ok(gp),
            // It was not moved out: still ours.
            Step::Closed | Step::Blocked => Err(ManuallyDrop::into_inner(v)),
        }
    }

    /// Sends `v` if that needs no waiting. If the channel, which has room for one value, is full, `bell` rings when it is not.
    ///
    /// # Errors
    /// The value.
    ///
    /// # Safety
    /// The bell is not freed before [`take_bell_back`](Self::take_bell_back), or it has rung.
    pub unsafe fn send_or_leave(&self, v: T, bell: &Doorbell) -> Result<(), T> {
        // SAFETY: the caller's duty.
        let gp = unsafe { self.offer_or_leave(v, bell)? };
        if !gp.is_null() {
            // SAFETY: send_step claimed its wait; no lock is held.
            unsafe { goready(gp) };
        }
        Ok(())
    }

    /// No bell that was left here rings any more, except one that a receive has just taken.
    pub fn take_bell_back(&self) {
        let h = &self.header;
        h.lock.lock();
        // SAFETY: locked.
        unsafe { h.set_bell(ptr::null_mut()) };
        h.lock.unlock();
    }

    /// Receives a value if that needs no waiting; a short cut before a call of [`Hchan::recv`].
    #[inline(always)]
    pub fn recv_at_once(&self) -> Option<T> {
        let h = &self.header;
        if h.recv_must_wait() {
            return None;
        }
        let mut slot = MaybeUninit::<T>::uninit();
        h.lock.lock();
        // SAFETY: the lock is held and slot has room for a T.
        let step = unsafe { h.recv_step(Typed::<T>::new(), slot.as_mut_ptr().cast()) };
        h.lock.unlock();
        let Step::Done(gp) = step else { return None };
        if !gp.is_null() {
            // SAFETY: recv_step claimed its wait; no lock is held.
            unsafe { goready(gp) };
        }
        // SAFETY: the step moved a value into it.
        Some(unsafe { slot.assume_init() })
    }

    /// Receives a value; `None`: the channel is closed and drained.
    ///
    /// Blocks: the goroutine or the OS thread, as `wait` says.
    ///
    /// # Errors
    /// See [`RecvError`].
    #[inline(always)]
    pub fn recv(&self, wait: Wait) -> Result<Option<T>, RecvError> {
        let h = &self.header;
        if wait == Wait::Try && h.recv_must_wait() {
            if !h.is_closed() {
                return Err(RecvError::Empty);
            }
            // Closed meanwhile: everything sent before the close is visible now.
            if h.recv_must_wait() {
                return Ok(None);
            }
        }
        let mut slot = MaybeUninit::<T>::uninit();
        let elem: *mut () = slot.as_mut_ptr().cast();
        h.lock.lock();
        // SAFETY: the lock is held and elem has room for a T.
        match unsafe { h.recv_step(Typed::<T>::new(), elem) } {
            Step::Done(gp) => {
                h.lock.unlock();
                if !gp.is_null() {
                    // SAFETY: recv_step claimed its wait.
                    unsafe { goready(gp) };
                }
            }
            Step::Closed => {
                h.lock.unlock();
                return Ok(None);
            }
            // SAFETY: the lock is held, block releases it; slot stays until the wait is over.
            Step::Blocked => match unsafe { h.block(Dir::Recv, elem, wait) } {
                Blocked::Passed => {}
                Blocked::Closed => return Ok(None),
                Blocked::WouldBlock => return Err(RecvError::Empty),
                Blocked::Timeout => return Err(RecvError::Timeout),
                Blocked::Interrupted => return Err(RecvError::Interrupted),
                Blocked::Deadlock => return Err(RecvError::Deadlock),
            },
        }
        // SAFETY: a value was moved into the slot, by the step or by the sender that woke us.
        Ok(Some(unsafe { slot.assume_init() }))
    }

    /// Closes the channel: receivers get what is buffered and then `None`, senders get an error.
    ///
    /// # Errors
    /// It is closed already.
    pub fn close(&self) -> Result<(), CloseOfClosed> {
        if self.header.close() {
            Ok(())
        } else {
            Err(CloseOfClosed)
        }
    }

    /// How many values are buffered.
    pub fn len(&self) -> usize {
        self.header.len()
    }

    /// True if nothing is buffered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values can be buffered.
    pub fn cap(&self) -> usize {
        self.header.cap()
    }

    /// True once the channel was closed.
    pub fn is_closed(&self) -> bool {
        self.header.is_closed()
    }

    /// True while it is as it was made: open and empty, and nobody waits.
    ///
    /// # Safety
    /// Nobody else uses the channel meanwhile, as while the interpreter is held of one that was made by
    /// [`Hchan::try_new_in_host`].
    pub unsafe fn is_idle(&self) -> bool {
        self.header.is_idle()
    }

    /// Shows `f` every value that the channel reaches: those in the buffer and those of the
    /// senders that wait. For a host's garbage collector.
    ///
    /// # Safety
    /// `f` runs under the channel's lock: it must not use a channel, park, or wait for anything.
    pub unsafe fn visit(&self, f: &mut dyn FnMut(&T)) {
        // SAFETY: the caller's duty; the elements are Ts.
        unsafe { self.header.visit(size_of::<T>(), &mut |elem| f(&*elem.cast::<T>())) };
    }

    /// Receives all that can be had without waiting. For a host's garbage collector.
    pub fn drain(&self) -> Vec<T> {
        std::iter::from_fn(|| self.recv(Wait::Try).ok().flatten()).collect()
    }
}

impl<T> Drop for Hchan<T> {
    fn drop(&mut self) {
        // Nobody waits: a waiter borrows the channel.
        let h = &self.header;
        if std::mem::needs_drop::<T>() {
            let mut slot = MaybeUninit::<T>::uninit();
            let place = slot.as_mut_ptr();
            // SAFETY: we are alone, so the lock is not needed.
            let next = || unsafe { h.recv_step(Typed::<T>::new(), place.cast()) };
            while let Step::Done(_) = next() {
                // SAFETY: Done moved a T out of the buffer into the slot.
                unsafe { std::ptr::drop_in_place(place) };
            }
        }
        if let Ok(layout) = Layout::array::<T>(h.cap()) {
            if layout.size() != 0 {
                // SAFETY: allocated in try_new with this layout.
                unsafe { dealloc(h.buf(), layout) };
            }
        }
    }
}
