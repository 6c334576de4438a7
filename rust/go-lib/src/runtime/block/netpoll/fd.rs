//! A descriptor for those who read and write: the operation is tried first, and waits for the
//! poller only if it would block.
//!
//! # Invariants
//! 1. `io` is there while the lock counts a reference; dropping the last one takes it out and closes it. So no
//!    operation meets a descriptor that has been closed, or is somebody else's by now.
//! 2. The descriptor leaves the poller before it is closed: a copy of it in another process would keep
//!    it there.
//! 3. `home` is the scheduler whose poller knows it. In a forked child that is another one: the first use there makes
//!    a new lock, since the holder of the old one is gone, and tells the child's poller.
//!
//! Go: internal/poll/fd_unix.go

use std::cell::UnsafeCell;
use std::io::{self, ErrorKind};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::Duration;

use crate::prim::{AtomicPtr, AtomicU64, Ordering};
use crate::runtime::block::netpoll::NetError;
use crate::runtime::block::sema::FdMutex;
use crate::runtime::clock;
use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::desc::{Mode, PollDesc};
use crate::runtime::poller::error::FdError;
use crate::runtime::proc::procs;
use crate::runtime::sched::{sched, Sched};
use crate::sys::fd::{raw, AsRawFd};
use crate::sys::poll::Poller;

/// A descriptor that the poller knows.
pub(crate) struct NetFd<T: AsRawFd> {
    /// By 1.
    io: UnsafeCell<Option<T>>,
    /// Replaced by 3, under `Netpoll::reviving`.
    lock: UnsafeCell<FdMutex>,
    pd: AtomicPtr<PollDesc>,
    /// By 3.
    home: AtomicPtr<Sched>,
    /// How long one operation may wait, by mode, in ns; 0: forever.
    timeouts: [AtomicU64; 2],
}

// SAFETY: by 1 `io` is shared, or taken out by the only one left; by 3 the lock is replaced before
// anybody uses it.
unsafe impl<T: AsRawFd + Sync> Sync for NetFd<T> {}
// SAFETY: nobody has it when it moves.
unsafe impl<T: AsRawFd + Send> Send for NetFd<T> {}

// As std's sockets: a panic in the middle of an operation gives its lock up, and leaves nothing behind.
impl<T: AsRawFd> UnwindSafe for NetFd<T> {}
impl<T: AsRawFd> RefUnwindSafe for NetFd<T> {}

/// A use of the descriptor, perhaps of one of its modes too.
struct Use<'a, T: AsRawFd> {
    fd: &'a NetFd<T>,
    mode: Option<Mode>,
}

impl<T: AsRawFd> Use<'_, T> {
    fn io(&self) -> Result<&T, NetError> {
        // SAFETY: by 1: we hold a reference.
        unsafe { (*self.fd.io.get()).as_ref() }.ok_or(NetError::Closed)
    }
}

impl<T: AsRawFd> Drop for Use<'_, T> {
    fn drop(&mut self) {
        let lock = self.fd.lock();
        let last = match self.mode {
            Some(mode) => lock.unlock(mode as usize),
            None => lock.decref(),
        };
        if last {
            // SAFETY: the last one.
            unsafe { self.fd.destroy() };
        }
    }
}

impl<T: AsRawFd> NetFd<T> {
    /// Makes `io`, which does not block, known to the poller. Starts the runtime if need be.
    ///
    /// # Errors
    /// It cannot be polled, or a limit is reached.
    pub(crate) fn new(io: T) -> io::Result<Self> {
        let s = procs::ensure_started();
        let pd = PollDesc::open(raw(&io))?;
        Ok(NetFd {
            io: UnsafeCell::new(Some(io)),
            lock: UnsafeCell::new(FdMutex::new()),
            pd: AtomicPtr::new(ptr::from_ref(pd).cast_mut()),
            home: AtomicPtr::new(ptr::from_ref(s).cast_mut()),
            timeouts: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    fn lock(&self) -> &FdMutex {
        // SAFETY: by 3.
        unsafe { &*self.lock.get() }
    }

    fn pd(&self) -> &'static PollDesc {
        // SAFETY: never freed. Relaxed: by 3 it changes before anybody uses it.
        unsafe { &*self.pd.load(Ordering::Relaxed) }
    }

    /// By 3.
    fn at_home(&self) -> Result<(), NetError> {
        // Acquire: pairs with the Release in revive.
        if ptr::eq(self.home.load(Ordering::Acquire), sched()) {
            return Ok(());
        }
        self.revive()
    }

    /// By 3, in a forked child.
    #[cold]
    fn revive(&self) -> Result<(), NetError> {
        let s = procs::ensure_started();
        let _one_at_a_time = s.netpoll.reviving.lock();
        if ptr::eq(self.home.load(Ordering::Relaxed), s) {
            return Ok(());
        }
        // SAFETY: nobody else in this process uses it: they come here first.
        let (lock, io) = unsafe { (&mut *self.lock.get(), &mut *self.io.get()) };
        if lock.reset() {
            *io = None;
        }
        if let Some(io) = io {
            let (old, new) = (self.pd(), PollDesc::open(raw(io))?);
            for mode in [Mode::Read, Mode::Write] {
                new.set_deadline(mode, old.deadline_behind_lock(mode))?;
            }
            self.pd.store(ptr::from_ref(new).cast_mut(), Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in at_home.
        self.home.store(ptr::from_ref(s).cast_mut(), Ordering::Release);
        Ok(())
    }

    /// Uses the descriptor for something that does not wait.
    ///
    /// # Errors
    /// It was closed; those of `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> io::Result<R>) -> Result<R, NetError> {
        Ok(f(self.borrow()?.io()?)?)
    }

    /// A use that excludes no other.
    fn borrow(&self) -> Result<Use<'_, T>, NetError> {
        self.at_home()?;
        if !self.lock().incref() {
            return Err(NetError::Closed);
        }
        Ok(Use { fd: self, mode: None })
    }

    /// Performs `op`, which may block; waits for others that use the mode.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// It was closed, a deadline has passed; those of `op`.
    #[inline]
    pub(crate) fn operate<R>(
        &self,
        mode: Mode,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<R, NetError> {
        let used = self.enter(mode)?;
        let io = used.io()?;
        let in_vain = self.pd().prepare(mode)?;
        self.try_and_wait(mode, in_vain, || op(io))
    }

    /// As [`operate`](Self::operate) for a read of a stream of bytes into a room of `room` bytes: one
    /// that leaves room has taken all there was, so that the next one waits first.
    #[inline]
    pub(crate) fn read_stream(
        &self,
        room: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Result<usize, NetError> {
        let used = self.enter(Mode::Read)?;
        let (io, pd) = (used.io()?, self.pd());
        let in_vain = pd.prepare(Mode::Read)? && room > 0;
        let n = self.try_and_wait(Mode::Read, in_vain, || op(io))?;
        if 0 < n && n < room {
            pd.drained();
        }
        Ok(n)
    }

    /// As [`operate`](Self::operate) for what the kernel reports no edge for: looks again every
    /// millisecond.
    #[cfg(unix)]
    pub(crate) fn operate_by_looking<R>(
        &self,
        mode: Mode,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<R, NetError> {
        const LOOK_NS: i64 = 1_000_000;
        let used = self.enter(mode)?;
        let until = self.until(mode).unwrap_or(i64::MAX);
        self.pd().prepare(mode)?;
        loop {
            match op(used.io()?) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let look = clock::now().saturating_add(LOOK_NS);
                    let waited = self.pd().wait(mode, Some(look.min(until)));
                    // A deadline is what `prepare` tells; without one only the look is due.
                    self.pd().prepare(mode)?;
                    match waited {
                        Err(FdError::Wait(WaitError::Timeout)) if look < until => (),
                        other => other?,
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => (),
                done => return Ok(done?),
            }
        }
    }

    #[inline]
    fn enter(&self, mode: Mode) -> Result<Use<'_, T>, NetError> {
        self.at_home()?;
        self.lock().lock(mode as usize)?;
        Ok(Use { fd: self, mode: Some(mode) })
    }

    /// Tries `op`, at first or, `in_vain`, after a wait, until it does not block.
    #[inline]
    fn try_and_wait<R>(
        &self,
        mode: Mode,
        mut in_vain: bool,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Result<R, NetError> {
        let mut until = None;
        loop {
            if in_vain {
                until = until.or_else(|| self.until(mode));
                self.pd().wait(mode, until)?;
            }
            match op() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => in_vain = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => in_vain = false,
                done => return Ok(done?),
            }
        }
    }

    /// When an operation that starts to wait now has to end.
    fn until(&self, mode: Mode) -> Option<i64> {
        // Relaxed: a number of its own.
        match self.timeouts[mode as usize].load(Ordering::Relaxed) {
            0 => None,
            ns => Some(clock::now().saturating_add(ns.min(i64::MAX as u64) as i64)),
        }
    }

    /// Waits until it can be read or written, without an operation, until `until_ns` at most.
    ///
    /// # Errors
    /// As [`operate`](Self::operate).
    pub(crate) fn wait(&self, mode: Mode, until_ns: Option<i64>) -> Result<(), NetError> {
        let _used = self.enter(mode)?;
        Ok(self.pd().wait(mode, until_ns)?)
    }

    /// This end has shut a direction down: whoever waits tries again.
    pub(crate) fn nudge(&self) {
        if Poller::ASKS && self.borrow().is_ok() {
            self.pd().nudge();
        }
    }

    /// See `PollDesc::set_deadline`.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn set_deadline(&self, modes: &[Mode], when_ns: i64) -> Result<(), NetError> {
        let _used = self.borrow()?;
        for &mode in modes {
            self.pd().set_deadline(mode, when_ns)?;
        }
        Ok(())
    }

    /// How long one operation may wait; `None`: forever. Zero, which is no time, counts as one nanosecond.
    pub(crate) fn set_timeout(&self, mode: Mode, timeout: Option<Duration>) {
        let ns = timeout.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.timeouts[mode as usize].store(ns, Ordering::Relaxed);
    }

    /// The timeout set by `set_timeout`.
    pub(crate) fn timeout(&self, mode: Mode) -> Option<Duration> {
        match self.timeouts[mode as usize].load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    /// Closes it: operations that wait end, later ones fail. The descriptor itself is closed when the
    /// last operation under way has ended.
    ///
    /// # Errors
    /// It was closed before.
    pub(crate) fn close(&self) -> Result<(), NetError> {
        self.at_home()?;
        let lock = self.lock();
        if !lock.close() {
            return Err(NetError::Closed);
        }
        self.pd().evict();
        if lock.decref() {
            // SAFETY: the last one.
            unsafe { self.destroy() };
        }
        Ok(())
    }

    /// Takes the descriptor out of the poller and closes it.
    ///
    /// # Safety
    /// By 1 the caller dropped the last reference.
    #[cold]
    unsafe fn destroy(&self) {
        // SAFETY: the caller's duty.
        drop(unsafe { self.take_io() });
    }

    /// Takes the descriptor out of the poller.
    ///
    /// # Safety
    /// By 1 nobody else uses it.
    unsafe fn take_io(&self) -> Option<T> {
        // SAFETY: the caller's duty.
        let io = unsafe { (*self.io.get()).take() }?;
        // By 3 the poller of a parent is not ours to change.
        if ptr::eq(self.home.load(Ordering::Relaxed), sched()) {
            self.pd().release(raw(&io));
        }
        Some(io)
    }

    /// The descriptor, which the poller no longer knows; `None`: it was closed.
    pub(crate) fn into_io(self) -> Option<T> {
        // SAFETY: nobody borrows it.
        unsafe { self.take_io() }
    }
}

#[cfg(unix)]
/// For a host, which takes its turn and makes its steps itself: see `embedder::net`.
impl<T: AsRawFd> NetFd<T> {
    /// Takes `mode`, until [`leave`](Self::leave); waits for others that use it.
    ///
    /// # Errors
    /// It was closed, or the wait ended otherwise.
    #[inline]
    pub(crate) fn hold(&self, mode: Mode) -> Result<(), NetError> {
        std::mem::forget(self.enter(mode)?);
        Ok(())
    }

    /// Gives `mode` up.
    ///
    /// # Safety
    /// The caller holds it.
    #[inline]
    pub(crate) unsafe fn leave(&self, mode: Mode) {
        drop(Use { fd: self, mode: Some(mode) });
    }

    /// Tries `op`, waits once if it would block, and tries it again; `None`: it is to be called again. `until`: how
    /// long it may wait, `None` not at all. `in_vain`: where a read took all there was, it waits first.
    ///
    /// # Safety
    /// The caller holds `mode`.
    ///
    /// # Errors
    /// It was closed, the deadline or `until` has passed, an interrupt; those of `op`.
    #[inline]
    pub(crate) unsafe fn step<R>(
        &self,
        mode: Mode,
        in_vain: bool,
        until: Option<Option<i64>>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<Option<R>, NetError> {
        // SAFETY: by 1: the caller's use counts a reference.
        let io = unsafe { (*self.io.get()).as_ref() }.ok_or(NetError::Closed)?;
        let in_vain = self.pd().prepare(mode)? && in_vain && until.is_some();
        if !in_vain {
            match op(io) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(None),
                done => return Ok(Some(done?)),
            }
        }
        let until = until.ok_or(NetError::Wait(WaitError::WouldBlock))?;
        self.pd().wait(mode, until)?;
        match op(io) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(None)
            }
            done => Ok(Some(done?)),
        }
    }

    /// Waits for an edge, until `until_ns` at most.
    ///
    /// # Safety
    /// The caller holds `mode`.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub(crate) unsafe fn wait_in_turn(
        &self,
        mode: Mode,
        until_ns: Option<i64>,
    ) -> Result<(), NetError> {
        Ok(self.pd().wait(mode, until_ns)?)
    }

    /// A read of a stream left room: see `PollDesc::drained`.
    ///
    /// # Safety
    /// The caller holds the reading mode.
    #[inline]
    pub(crate) unsafe fn took_all(&self) {
        self.pd().drained();
    }
}

impl<T: AsRawFd> Drop for NetFd<T> {
    fn drop(&mut self) {
        // SAFETY: nobody borrows it.
        unsafe { self.destroy() };
    }
}
