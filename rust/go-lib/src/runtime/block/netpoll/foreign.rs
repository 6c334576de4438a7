//! Descriptors of the embedder's that the poller knows: the embedder opens, uses and closes them itself, and only waits
//! here.
//!
//! # Invariants
//! 1. A waiter in a direction is alone there: the embedder holds its interpreter from the look (`Busy`) until the wait
//!    has begun, and only its holder waits. Others only take a waiter out.
//! 2. A number is no identity: the kernel's queue has a *file* under a number. [`PollFd::rearm`] asks it whether the number
//!    still stands for that file.

use std::io;
use std::os::fd::RawFd;

use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::desc::{Mode, PollDesc};
use crate::runtime::poller::error::FdError;
use crate::runtime::proc::procs;

/// A descriptor that the poller knows.
#[derive(Clone, Copy)]
pub struct PollFd(&'static PollDesc);

/// Why a wait ended without an edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollError {
    /// It was released.
    Closed,
    /// Another goroutine waits in that direction.
    Busy,
    /// See [`WaitError`].
    Wait(WaitError),
}

impl From<FdError> for PollError {
    fn from(error: FdError) -> Self {
        match error {
            FdError::Closed => PollError::Closed,
            FdError::Wait(error) => PollError::Wait(error),
        }
    }
}

fn mode_of(write: bool) -> Mode {
    if write {
        Mode::Write
    } else {
        Mode::Read
    }
}

impl PollFd {
    /// Makes `fd` known; what was known of the same file under the same number is taken over. Starts the runtime if need
    /// be.
    ///
    /// # Errors
    /// It cannot be polled, or a limit is reached.
    pub fn open(fd: RawFd) -> io::Result<PollFd> {
        procs::ensure_started();
        PollDesc::open_anyhow(fd).map(PollFd)
    }

    /// As a word.
    pub fn into_ptr(self) -> *mut () {
        std::ptr::from_ref(self.0).cast_mut().cast()
    }

    /// And back.
    ///
    /// # Safety
    /// `into_ptr` gave it.
    pub unsafe fn from_ptr(ptr: *mut ()) -> PollFd {
        // SAFETY: the caller's duty; a PollDesc is never freed.
        PollFd(unsafe { &*ptr.cast() })
    }

    /// An operation begins. True: trying is pointless, `wait` first.
    #[inline]
    pub fn prepare(self, write: bool) -> bool {
        // If it was closed meanwhile, the operation itself reports that.
        self.0.prepare(mode_of(write)).unwrap_or(false)
    }

    /// A read has taken all there was.
    #[inline]
    pub fn drained(self) {
        self.0.drained();
    }

    /// Waits for an edge, which may have come already. Afterwards the caller tries again.
    ///
    /// # Errors
    /// See [`PollError`].
    pub fn wait(self, write: bool, until_ns: Option<i64>) -> Result<(), PollError> {
        let mode = mode_of(write);
        // By 1.
        if self.0.is_waited(mode) {
            return Err(PollError::Busy);
        }
        Ok(self.0.wait(mode, until_ns)?)
    }

    /// By 2: false if the kernel does not know `fd`, or no longer as this one's. Otherwise an edge comes if it is ready.
    pub fn rearm(self, fd: RawFd) -> bool {
        self.0.rearm(fd)
    }

    /// Wakes the waiters and gives it back, before `fd` is closed.
    pub fn release(self, fd: RawFd) {
        self.0.release(fd);
    }

    /// As `release`, when the file is gone already: the number may be another file's by now.
    pub fn abandon(self) {
        self.0.abandon();
    }
}
