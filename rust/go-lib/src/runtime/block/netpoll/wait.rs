//! How a G waits at a PollDesc, and what ends the wait.
//!
//! Go: runtime/netpoll.go (netpollblock, poll_runtime_pollSetDeadline, poll_runtime_pollUnblock)

use std::io;
use std::ptr;

use crate::runtime::block::time::arm_and_go_on;
use crate::runtime::object::g::G;
use crate::runtime::object::readylist::ReadyList;
use crate::runtime::object::timers::Action;
use crate::runtime::object::wait::{WaitError, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::poller::desc::{Begun, Mode, PollDesc};
use crate::runtime::poller::error::FdError;
use crate::runtime::proc::park::gopark;
use crate::runtime::proc::ready::goready;
use crate::runtime::proc::wake::attend;
use crate::runtime::proc::{getg, getm, throw};
use crate::runtime::sched::sched;
use crate::sys::errno;
use crate::sys::fd::RawFd;
use crate::sys::poll::{Poller, READ, WRITE};

impl PollDesc {
    /// A PollDesc for `fd`, which the poller knows from now on.
    ///
    /// # Errors
    /// `fd` cannot be polled, or a limit is reached.
    pub(crate) fn open(fd: RawFd) -> io::Result<&'static PollDesc> {
        let np = &sched().netpoll;
        let poller = np.open()?;
        let pd = np.pool.take().ok_or_else(|| io::Error::from_raw_os_error(errno::ENFILE))?;
        poller.open(fd, pd.begin()).inspect_err(|_| np.pool.put(pd))?;
        Ok(pd)
    }

    #[cfg(unix)]
    /// As `open`, but takes over what the poller knows of the same file under the same number.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn open_anyhow(fd: RawFd) -> io::Result<&'static PollDesc> {
        let np = &sched().netpoll;
        let poller = np.open()?;
        let pd = np.pool.take().ok_or_else(|| io::Error::from_raw_os_error(errno::ENFILE))?;
        let tag = pd.begin();
        let opened = match poller.open(fd, tag) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => poller.reopen(fd, tag),
            other => other,
        };
        opened.inspect_err(|_| np.pool.put(pd))?;
        Ok(pd)
    }

    #[cfg(unix)]
    /// Asks the poller again: false if it does not know `fd` as this one's. Else an edge comes if it is ready.
    pub(crate) fn rearm(&self, fd: RawFd) -> bool {
        sched().netpoll.open().is_ok_and(|poller| poller.reopen(fd, self.tag()).is_ok())
    }

    #[cfg(unix)]
    /// As `release`, of what somebody has closed already: the number may be another file's.
    pub(crate) fn abandon(&self) {
        self.evict();
        self.end();
        sched().netpoll.pool.put(self);
    }

    /// Gives it back; nobody uses `fd` any more, which the caller closes next.
    pub(crate) fn release(&self, fd: RawFd) {
        let np = &sched().netpoll;
        self.evict();
        if let Ok(poller) = np.open() {
            poller.close(fd, self.tag());
        }
        self.end();
        np.pool.put(self);
    }

    /// Waits for an edge, which may have come already; at most until `until_ns`. Afterwards the
    /// caller tries again.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// It was closed, the direction's deadline or `until_ns` has passed, or an interrupt.
    pub(crate) fn wait(&self, mode: Mode, until_ns: Option<i64>) -> Result<(), FdError> {
        let gp = getg();
        if Poller::ASKS {
            self.ask(mode);
        }
        match self.begin_wait(mode, gp, until_ns)? {
            Begun::Ready => return Ok(()),
            Begun::Taken => throw("netpoll: two wait in one direction"),
            Begun::Waits => {}
        }
        let np = &sched().netpoll;
        np.add_waiter();
        let arg = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the lock is held until unlock_desc; a PollDesc is never freed.
        let error = match unsafe { gopark(unlock_desc, arg, WaitReason::IoWait, until_ns) } {
            Wake::Peer => return self.check(mode),
            Wake::Timeout => WaitError::Timeout,
            Wake::Interrupt => WaitError::Interrupted,
            Wake::Deadlock => WaitError::Deadlock,
        };
        self.leave(mode, gp);
        np.remove_waiters(1);
        Err(FdError::Wait(error))
    }

    /// Has the poller report the next edge, unless one is there. It may come before the wait has begun.
    fn ask(&self, mode: Mode) {
        let bit = match mode {
            Mode::Read => READ,
            Mode::Write => WRITE,
        };
        if let (false, Ok(poller)) = (self.is_ready(mode), sched().netpoll.open()) {
            poller.ask(self.tag(), bit);
        }
    }

    /// Wakes who waits, to try again: a poller that is asked for edges knows of what the peer does, not of what this end does.
    pub(crate) fn nudge(&self) {
        let mut ready = ReadyList::new();
        self.report((self.tag() >> 32) as u32, READ | WRITE, &mut ready);
        loop {
            let gp = ready.pop();
            if gp.is_null() {
                break;
            }
            wake_claimed(gp);
        }
    }

    /// When operations in `mode` end without having completed;
    /// [`NEVER`](crate::runtime::object::timers::NEVER): not by themselves. Also ends those that wait now.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn set_deadline(&self, mode: Mode, when_ns: i64) -> Result<(), FdError> {
        let fire = match mode {
            Mode::Read => expire_read,
            Mode::Write => expire_write,
        };
        let arg = ptr::from_ref(self).cast_mut().cast();
        wake_claimed(self.put_deadline(mode, when_ns, |timer, seq| {
            // SAFETY: not armed; PollDescs are never freed.
            unsafe { arm_and_go_on(timer, when_ns, Action { fire, arg, seq }) };
        })?);
        Ok(())
    }

    /// Closed: ends the waits of both directions, now and later ones.
    pub(crate) fn evict(&self) {
        self.close().into_iter().for_each(wake_claimed);
    }
}

/// Readies a G whose wait was claimed at a PollDesc; no lock is held.
fn wake_claimed(gp: *mut G) {
    if !gp.is_null() {
        sched().netpoll.remove_waiters(1);
        // SAFETY: claimed.
        unsafe { goready(gp) };
    }
}

/// `gopark`'s unlockf: the G is in its word and may be claimed.
///
/// # Safety
/// `arg` is the locked PollDesc.
unsafe fn unlock_desc(_gp: *mut G, arg: *mut ()) {
    // SAFETY: the caller's duty.
    unsafe { (*arg.cast::<PollDesc>()).unlock() };
    if getm().pp().is_null() {
        attend(sched());
    }
}

/// The deadline that was set as number `seq` has passed.
///
/// # Safety
/// `pd` is a PollDesc.
unsafe fn expire(pd: *mut (), mode: Mode, seq: u64) -> *mut G {
    // SAFETY: `set_deadline` passed a PollDesc, which is never freed.
    let woken = unsafe { (*pd.cast::<PollDesc>()).expire(mode, seq) };
    if !woken.is_null() {
        sched().netpoll.remove_waiters(1);
    }
    woken
}

/// A timer's action.
unsafe fn expire_read(pd: *mut (), seq: u64) -> *mut G {
    // SAFETY: as in `expire`.
    unsafe { expire(pd, Mode::Read, seq) }
}

/// A timer's action.
unsafe fn expire_write(pd: *mut (), seq: u64) -> *mut G {
    // SAFETY: as in `expire`.
    unsafe { expire(pd, Mode::Write, seq) }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use crate::runtime::clock;
    use crate::runtime::object::timers::NEVER;
    use crate::runtime::object::wait::WaitError;
    use crate::runtime::poller::desc::{Mode, PollDesc};
    use crate::runtime::poller::error::FdError;

    #[test]
    fn a_deadline_ends_its_direction_until_another_is_set_and_one_that_fires_late_nothing() {
        const EXPIRED: Result<bool, FdError> = Err(FdError::Wait(WaitError::Timeout));
        // Its timer may be in a P's heap: never freed, as in the pool.
        let pd: &PollDesc = Box::leak(Box::new(PollDesc::new(0)));
        crate::run(|| ());
        pd.set_deadline(Mode::Read, clock::now() - 1).unwrap();
        assert_eq!((pd.prepare(Mode::Read), pd.prepare(Mode::Write)), (EXPIRED, Ok(false)));
        assert_eq!(pd.wait(Mode::Read, None), Err(FdError::Wait(WaitError::Timeout)));
        const HOUR_NS: i64 = 3_600_000_000_000;
        pd.set_deadline(Mode::Read, clock::now() + HOUR_NS).unwrap();
        let late = pd.deadline_seq(Mode::Read);
        assert_eq!(pd.prepare(Mode::Read), Ok(false));
        pd.set_deadline(Mode::Read, NEVER).unwrap();
        assert!(pd.expire(Mode::Read, late).is_null());
        assert_eq!(pd.prepare(Mode::Read), Ok(false), "a deadline that was taken back came");
        assert!(pd.expire(Mode::Read, pd.deadline_seq(Mode::Read)).is_null());
        assert_eq!(pd.prepare(Mode::Read), EXPIRED);
        pd.evict();
        for mode in [Mode::Read, Mode::Write] {
            assert_eq!(pd.prepare(mode), Err(FdError::Closed));
            assert_eq!(pd.wait(mode, None), Err(FdError::Closed));
            assert_eq!(pd.set_deadline(mode, NEVER), Err(FdError::Closed));
        }
    }
}
