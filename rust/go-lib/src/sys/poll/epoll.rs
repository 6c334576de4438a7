//! The readiness queue of Linux: epoll, edge-triggered, with an eventfd for `wake`.
//!
//! # Invariants
//! 1. The eventfd is level-triggered, and only a `poll` with a wait reads it: a `poll` without one, on
//!    another thread, sees the event and leaves it. So no wake-up goes to a thread that does not sleep.
//! 2. `waking` is 1 from a `wake` until the eventfd has been read: more wakes in between cost no
//!    system call.
//!
//! Go: runtime/netpoll_epoll.go

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Event, Events, Until, BATCH, HANGUP, READ, WRITE};
use crate::prim::{AtomicBool, AtomicU32, Ordering};
use crate::sys::clock::{self, nanotime};
use crate::sys::errno;

/// The tag of the eventfd, which no user has.
const WAKE: u64 = u64::MAX;
/// The events for which every descriptor is registered.
const EDGES: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
/// Longer waits are cut: epoll_wait counts milliseconds in an int.
const LONGEST_MS: i64 = 1_000_000_000;

/// An epoll instance.
pub(crate) struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// See 2.
    waking: AtomicU32,
    /// Whether the kernel lacks epoll_pwait2 (before 5.11).
    coarse: AtomicBool,
}

fn check(r: i32) -> io::Result<i32> {
    if r < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(r)
    }
}

impl Poller {
    /// See `mod.rs`.
    pub(crate) const ASKS: bool = false;

    /// Does nothing: edges are reported without being asked for.
    #[inline(always)]
    pub(crate) fn ask(&self, _tag: u64, _bits: u8) {}

    /// A queue of its own.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new() -> io::Result<Poller> {
        // SAFETY: no pointers; the caller owns the result.
        let epoll =
            unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        // SAFETY: as above.
        let wake = unsafe {
            OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?)
        };
        let poller =
            Poller { epoll, wake, waking: AtomicU32::new(0), coarse: AtomicBool::new(false) };
        // Without EPOLLET, by 1.
        poller.add(poller.wake.as_raw_fd(), libc::EPOLLIN as u32, WAKE)?;
        Ok(poller)
    }

    fn add(&self, fd: RawFd, events: u32, tag: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, tag)
    }

    fn control(&self, what: i32, fd: RawFd, events: u32, tag: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: tag };
        // SAFETY: event is valid for the call.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &mut event) })?;
        Ok(())
    }

    /// See the contract.
    ///
    /// # Errors
    /// `fd` cannot be polled (a regular file), or the kernel's limit of watches is reached.
    pub(crate) fn open(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        self.add(fd, EDGES, tag)
    }

    /// See the contract.
    ///
    /// # Errors
    /// It is not in the queue.
    pub(crate) fn reopen(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, EDGES, tag)
    }

    /// See the contract.
    pub(crate) fn close(&self, fd: RawFd, _tag: u64) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: event is valid for the call, which fails only for a descriptor that is not in the queue.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, &mut event) };
    }

    /// See the contract.
    pub(crate) fn poll(&self, until: Until, events: &mut Events) {
        events.len = 0;
        let mut list = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // After a signal or a failure the caller looks again.
        let n = usize::try_from(self.wait(&mut list, until)).unwrap_or(0);
        for event in &list[..n] {
            let (bits, tag) = (event.events as i32, event.u64);
            if tag != WAKE {
                events.push(Event { tag, ready: ready(bits) });
            } else if until != Until::Now {
                self.woken();
            }
        }
    }

    /// One system call; the number of events, or -1.
    fn wait(&self, list: &mut [libc::epoll_event; BATCH], until: Until) -> i32 {
        let epoll = self.epoll.as_raw_fd();
        let left = match until {
            Until::Now => 0,
            Until::Woken => -1,
            Until::At(at) => at.saturating_sub(nanotime()).max(0),
        };
        // Relaxed: written once, and a second try costs nothing.
        if left > 0 && !self.coarse.load(Ordering::Relaxed) {
            let ts = clock::timespec(left);
            // SAFETY: list and ts are valid for the call; there is no signal mask.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    list.as_mut_ptr(),
                    BATCH as i32,
                    &raw const ts,
                    ptr::null::<libc::sigset_t>(),
                    0,
                )
            };
            if n >= 0 || errno::last() != libc::ENOSYS {
                return n as i32;
            }
            self.coarse.store(true, Ordering::Relaxed);
        }
        // Rounded up: a thread that wakes too early would find nothing and sleep again.
        let ms = if left <= 0 { left } else { (left / 1_000_000 + 1).min(LONGEST_MS) };
        // SAFETY: list is valid for the call.
        unsafe { libc::epoll_wait(epoll, list.as_mut_ptr(), BATCH as i32, ms as i32) }
    }

    /// Takes a wake-up.
    fn woken(&self) {
        let mut count = 0u64;
        // SAFETY: count holds the 8 bytes that an eventfd gives. It does not matter if the eventfd is already empty.
        unsafe { libc::read(self.wake.as_raw_fd(), (&raw mut count).cast(), 8) };
        // Release: the read comes before; a `wake` that sees 0 writes anew. A woken thread looks at
        // its wakers' data after this: an RMW, Acquire, pairs with the Release in `wake`.
        self.waking.swap(0, Ordering::AcqRel);
    }

    /// See the contract.
    pub(crate) fn wake(&self) {
        // AcqRel: pairs with itself in `woken`: a later `woken` sees what the caller did before; an
        // earlier one has read the eventfd.
        if self.waking.swap(1, Ordering::AcqRel) != 0 {
            return;
        }
        let one = 1u64;
        // SAFETY: one is 8 readable bytes. It cannot fail: the counter is far from full.
        unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// See the contract.
    pub(crate) fn forget(&self) {
        for fd in [&self.epoll, &self.wake] {
            // SAFETY: in a forked child nobody uses the poller any more, and it is never dropped.
            // The queue itself is the parent's too: nothing is taken out of it.
            unsafe { libc::close(fd.as_raw_fd()) };
        }
    }
}

/// Translates the kernel's bits into ours.
fn ready(bits: i32) -> u8 {
    let any = |of: i32, is: u8| if bits & of != 0 { is } else { 0 };
    let broken = libc::EPOLLHUP | libc::EPOLLERR;
    any(libc::EPOLLIN | libc::EPOLLRDHUP | broken, READ)
        | any(libc::EPOLLOUT | broken, WRITE)
        | any(libc::EPOLLRDHUP | broken, HANGUP)
}
