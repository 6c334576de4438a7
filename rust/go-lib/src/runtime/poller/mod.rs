//! The network poller: goroutines wait for descriptors, one M at a time waits for the kernel.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | the queue's owner: polling, and the goroutines that a poll made ready |
//! | `desc` | PollDesc: the hand-shake of a waiter with the poller, deadlines and close |
//! | `pool` | where PollDescs live |
//! | `naps` | how long the M that sleeps here stays out while it is not needed |
//! | `error` | why a descriptor cannot be used |
//!
//! Descriptors for those who read and write are in `block::netpoll`. The kernel's side is `sys::poll`, whose header is the contract of a backend.
//!
//! # Who polls
//! - An M that looks for work and finds nothing near polls without waiting (`proc::find`).
//! - One M of those that fall asleep does so in the poller, until the earliest timer (`proc::wake`).
//! - sysmon polls if nobody has for 10 ms.
//! - A sleeper whose findings another M has to run naps between two sleeps, and that M polls (`naps`).
//!
//! # Invariants
//! 1. `waiters` counts the Gs that are in a PollDesc: added by the G before it can be found,
//!    subtracted by the claimer of its wait, or by the G if it left otherwise. While it is not 0 no
//!    deadlock is reported: the world outside may wake somebody.
//! 2. `polling` is set under `sched.lock` by the M that goes to sleep in the poller, and taken back
//!    by it after it has left the kernel: two sleepers would take each other's wake-ups.
//! 3. While somebody waits and all Ps are idle, an M is in the poller, or on its way. An M that
//!    falls asleep looks at `waiters` under `sched.lock`; a waiter without a P, after which no M
//!    need fall asleep, looks at `polling` under it (`proc::wake::attend`).
//! 4. The poller is made with the first descriptor: a program without net pays nothing.
//!
//! Go: runtime/netpoll.go

pub(crate) mod desc;
pub(crate) mod error;
mod naps;
pub(crate) mod pool;

use std::io;
use std::ptr;

use crate::prim::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::runtime::object::lock::Locked;
use crate::runtime::object::note::Note;
use crate::runtime::object::readylist::ReadyList;
use crate::runtime::poller::naps::Naps;
use crate::runtime::poller::pool::Pool;
use crate::sys::clock::nanotime;
use crate::sys::poll::{Events, Poller, Until};

/// sysmon polls when nobody has done so for this long.
const OVERDUE_NS: i64 = 10_000_000;

/// The poller of a scheduler.
pub(crate) struct Netpoll {
    /// By 4: null before the first descriptor; never freed.
    poller: AtomicPtr<Poller>,
    /// The maker of the poller.
    making: Locked<()>,
    /// By 1.
    waiters: AtomicUsize,
    /// By 2.
    polling: AtomicBool,
    /// When somebody polled last.
    last_poll: AtomicI64,
    /// How often somebody did.
    polls: AtomicU64,
    pub(crate) naps: Naps,
    pub(crate) pool: Pool,
    /// The thread that brings a descriptor of the parent's into a forked child's poller (`fd`).
    pub(crate) reviving: Locked<()>,
}

impl Netpoll {
    pub(crate) fn new() -> Self {
        Netpoll {
            poller: AtomicPtr::new(ptr::null_mut()),
            making: Locked::new(()),
            waiters: AtomicUsize::new(0),
            polling: AtomicBool::new(false),
            last_poll: AtomicI64::new(0),
            polls: AtomicU64::new(0),
            naps: Naps::new(),
            pool: Pool::new(),
            reviving: Locked::new(()),
        }
    }

    fn poller(&self) -> Option<&Poller> {
        // Acquire: the poller as its maker left it; pairs with the Release in `open`. SAFETY: it is
        // never freed.
        unsafe { self.poller.load(Ordering::Acquire).as_ref() }
    }

    /// The poller, made if need be.
    ///
    /// # Errors
    /// The process has no descriptor to spare.
    pub(crate) fn open(&self) -> io::Result<&Poller> {
        if let Some(poller) = self.poller() {
            return Ok(poller);
        }
        let _one_at_a_time = self.making.lock();
        if let Some(poller) = self.poller() {
            return Ok(poller);
        }
        let poller = Box::leak(Box::new(Poller::new()?));
        // Release: pairs with the Acquire in `poller`.
        self.poller.store(poller, Ordering::Release);
        Ok(poller)
    }

    /// Somebody is about to wait; by 1.
    pub(crate) fn add_waiter(&self) {
        // Relaxed: by 3 the scheduler's lock orders it for those who fall asleep.
        self.waiters.fetch_add(1, Ordering::Relaxed);
    }

    /// Waiters were claimed, or left.
    pub(crate) fn remove_waiters(&self, n: usize) {
        self.waiters.fetch_sub(n, Ordering::Relaxed);
    }

    /// Somebody waits: no deadlock.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }

    /// An M sleeps in the poller, or has just left.
    pub(crate) fn is_polling(&self) -> bool {
        // Acquire: pairs with the Release in sleep.
        self.polling.load(Ordering::Acquire)
    }

    /// Somebody waits and no M sleeps in the poller.
    #[inline]
    pub(crate) fn is_unattended(&self) -> bool {
        self.has_waiters() && !self.is_polling()
    }

    /// Unattended, and nobody has looked for long.
    pub(crate) fn is_overdue(&self, now: i64) -> bool {
        self.is_unattended() && now - self.last_poll.load(Ordering::Relaxed) >= OVERDUE_NS
    }

    /// How often somebody has polled.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// The calling M, which is about to sleep and holds `sched.lock`, will sleep in the poller. By
    /// 2 the caller calls `sleep` next.
    pub(crate) fn begin_sleep(&self) -> bool {
        let begin = self.is_unattended();
        if begin {
            self.polling.store(true, Ordering::Relaxed);
        }
        begin
    }

    /// Sleeps in the poller until something is ready, `park`, the M's note, is woken, or `until`.
    pub(crate) fn sleep(&self, park: &Note, until: Until) -> ReadyList {
        let ready = if park.begin_elsewhere() {
            let ready = self.poll(until);
            park.end_elsewhere();
            ready
        } else {
            ReadyList::new()
        };
        // Release: this poll is over before another M's begins, by 2; pairs with is_polling.
        self.polling.store(false, Ordering::Release);
        ready
    }

    /// Ends the sleep of the M in the poller.
    pub(crate) fn wake(&self) {
        if let Some(poller) = self.poller() {
            poller.wake();
        }
    }

    /// Those whose descriptors have become ready, for the caller to inject.
    pub(crate) fn poll(&self, until: Until) -> ReadyList {
        let mut ready = ReadyList::new();
        let Some(poller) = self.poller() else { return ready };
        self.polls.fetch_add(1, Ordering::Relaxed);
        let mut events = Events::new();
        poller.poll(until, &mut events);
        self.last_poll.store(nanotime(), Ordering::Relaxed);
        for event in events.iter() {
            if let Some(pd) = self.pool.get(event.tag as u32) {
                pd.report((event.tag >> 32) as u32, event.ready, &mut ready);
            }
        }
        if ready.len > 0 {
            self.remove_waiters(ready.len);
        }
        ready
    }

    #[cfg(unix)]
    /// In a forked child: the queue is the parent's. Descriptors that the child still uses come
    /// into a new one (`fd`).
    pub(crate) fn forget(&self) {
        if let Some(poller) = self.poller() {
            poller.forget();
        }
    }
}
