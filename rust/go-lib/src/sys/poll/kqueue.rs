//! The readiness queue of macOS and the BSDs: kqueue, with EV_CLEAR for edges and EVFILT_USER for
//! `wake`.
//!
//! On Linux, tests build it under `--cfg golib_kqueue` with a library that provides kqueue's calls
//! (`make test-kqueue`). Where such a library differs from a kernel, a comment says so.
//!
//! # Invariants
//! 1. The event of `wake` belongs to the queue: any `poll` may take it, and a `poll` that does not sleep
//!    gives it back by triggering it again.
//! 2. `waking` is 1 from a `wake` until a `poll` with a wait has taken the event: more wakes in
//!    between cost no system call.
//! 3. Each direction is a filter of its own with its own event, so one `fd` may take two places of a
//!    list. If the list is full, the rest is left for the next `poll`.
//!
//! Go: runtime/netpoll_kqueue.go, runtime/netpoll_kqueue_event.go

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

#[cfg(not(target_os = "linux"))]
use libc::{
    kevent, kqueue, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF,
    NOTE_TRIGGER,
};

#[cfg(target_os = "linux")]
use self::library::{
    kevent, kqueue, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF,
    NOTE_TRIGGER,
};
use super::{Event, Events, Until, BATCH, HANGUP, READ, WRITE};
use crate::prim::{AtomicU32, Ordering};
use crate::sys::clock::{self, nanotime};

/// Longer waits are cut: macOS refuses them, and a library may count milliseconds in an int.
const LONGEST_NS: i64 = 1_000_000_000_000_000;

// A tag is carried as a pointer.
const _: () = assert!(size_of::<*mut libc::c_void>() == size_of::<u64>());

// The types of two fields.
#[cfg(not(target_os = "netbsd"))]
type Filter = i16;
#[cfg(not(target_os = "netbsd"))]
type Flags = u16;
#[cfg(target_os = "netbsd")]
type Filter = u32;
#[cfg(target_os = "netbsd")]
type Flags = u32;

/// A kqueue.
pub(crate) struct Poller {
    kqueue: OwnedFd,
    /// See 2.
    waking: AtomicU32,
}

/// An empty event: a place for a result, or the base of a change.
fn blank() -> kevent {
    // SAFETY: numbers and a pointer, all of which may be 0.
    unsafe { std::mem::zeroed() }
}

fn change(fd: RawFd, filter: Filter, flags: Flags, tag: u64) -> kevent {
    let mut change = blank();
    change.ident = fd as usize;
    change.filter = filter;
    change.flags = flags;
    change.udata = ptr::without_provenance_mut(tag as usize);
    change
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
        // SAFETY: no pointers.
        let fd = unsafe { kqueue() };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: this owns the descriptor that kqueue returned; the second call has no pointers.
        // It does not fail.
        let kqueue = unsafe {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            OwnedFd::from_raw_fd(fd)
        };
        let poller = Poller { kqueue, waking: AtomicU32::new(0) };
        poller.apply(&[change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 0)])?;
        Ok(poller)
    }

    /// Changes what the queue watches; stops at the first change that fails.
    fn apply(&self, changes: &[kevent]) -> io::Result<()> {
        let (kqueue, n) = (self.kqueue.as_raw_fd(), changes.len());
        // SAFETY: changes is valid for the call, and there is no list to fill.
        let r =
            unsafe { kevent(kqueue, changes.as_ptr(), n as _, ptr::null_mut(), 0, ptr::null()) };
        if r < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// See the contract.
    ///
    /// # Errors
    /// `fd` cannot be polled, or the kernel has no memory.
    pub(crate) fn open(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        let add = |filter| change(fd, filter, EV_ADD | EV_CLEAR, tag);
        // The order does not matter to a kernel. If libkqueue gets the write filter after the read filter, it
        // forgets to watch for the peer's end.
        self.apply(&[add(EVFILT_WRITE), add(EVFILT_READ)]).inspect_err(|_| self.close(fd, tag))
    }

    /// See the contract. A filter that is added again is changed.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn reopen(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        self.open(fd, tag)
    }

    /// See the contract. A kernel would see the descriptor closed; a library does not, and keeps
    /// reporting it under its old tag.
    pub(crate) fn close(&self, fd: RawFd, _tag: u64) {
        for filter in [EVFILT_READ, EVFILT_WRITE] {
            // One at a time: removal fails for a filter that is not in the queue, as after half an `open`.
            let _ = self.apply(&[change(fd, filter, EV_DELETE, 0)]);
        }
    }

    /// See the contract.
    pub(crate) fn poll(&self, until: Until, events: &mut Events) {
        events.len = 0;
        let mut list = [blank(); BATCH];
        // After a signal or a failure the caller looks again.
        let n = usize::try_from(self.wait(&mut list, until)).unwrap_or(0);
        for event in &list[..n] {
            if event.filter != EVFILT_USER {
                let tag = event.udata.addr() as u64;
                events.push(Event { tag, ready: ready(event.filter, event.flags) });
            } else if until == Until::Now {
                // By 1.
                self.trigger();
            } else {
                // By 2. A woken thread looks at its wakers' data after this: an RMW, Acquire, pairs
                // with the Release in `wake`. Release: a `wake` that sees 0 triggers anew.
                self.waking.swap(0, Ordering::AcqRel);
            }
        }
    }

    /// One system call; the number of events, or -1.
    fn wait(&self, list: &mut [kevent; BATCH], until: Until) -> i32 {
        let left = match until {
            Until::Now => Some(0),
            Until::Woken => None,
            Until::At(at) => Some(at.saturating_sub(nanotime()).min(LONGEST_NS)),
        };
        let left = left.map(clock::timespec);
        let timeout = left.as_ref().map_or(ptr::null(), ptr::from_ref);
        let kqueue = self.kqueue.as_raw_fd();
        // SAFETY: list and left are valid for the call; there are no changes.
        unsafe { kevent(kqueue, ptr::null(), 0, list.as_mut_ptr(), BATCH as _, timeout) }
    }

    /// See the contract.
    pub(crate) fn wake(&self) {
        // AcqRel: the thread that takes the event after this sees what the caller did before; pairs
        // with the swap that clears it.
        if self.waking.swap(1, Ordering::AcqRel) == 0 {
            self.trigger();
        }
    }

    fn trigger(&self) {
        let mut trigger = change(0, EVFILT_USER, 0, 0);
        trigger.fflags = NOTE_TRIGGER;
        // It cannot fail: the filter lives as long as the queue.
        let _ = self.apply(&[trigger]);
    }

    /// See the contract. A forked child does not inherit a kqueue (a library closes it there), so its
    /// number may already be another descriptor's.
    pub(crate) fn forget(&self) {}
}

/// Translates an event into our bits. Only the read filter tells the end of the stream: the write filter
/// also reports that this side was shut down.
fn ready(filter: Filter, flags: Flags) -> u8 {
    match filter {
        EVFILT_READ if flags & EV_EOF != 0 => READ | HANGUP,
        EVFILT_READ => READ,
        _ => WRITE,
    }
}

/// kqueue's calls and numbers as libkqueue has them on Linux, which are those of FreeBSD 11.
#[cfg(target_os = "linux")]
mod library {
    use libc::{c_int, c_void, timespec};

    pub(super) const EVFILT_READ: i16 = -1;
    pub(super) const EVFILT_WRITE: i16 = -2;
    pub(super) const EVFILT_USER: i16 = -11;
    pub(super) const EV_ADD: u16 = 0x1;
    pub(super) const EV_DELETE: u16 = 0x2;
    pub(super) const EV_CLEAR: u16 = 0x20;
    pub(super) const EV_EOF: u16 = 0x8000;
    pub(super) const NOTE_TRIGGER: u32 = 0x0100_0000;

    #[repr(C)]
    #[derive(Clone, Copy)]
    #[allow(non_camel_case_types, reason = "the C name")]
    pub(super) struct kevent {
        pub(super) ident: usize,
        pub(super) filter: i16,
        pub(super) flags: u16,
        pub(super) fflags: u32,
        pub(super) data: isize,
        pub(super) udata: *mut c_void,
    }

    #[link(name = "kqueue")]
    unsafe extern "C" {
        pub(super) fn kqueue() -> c_int;
        pub(super) fn kevent(
            kq: c_int,
            changelist: *const kevent,
            nchanges: c_int,
            eventlist: *mut kevent,
            nevents: c_int,
            timeout: *const timespec,
        ) -> c_int;
    }
}
