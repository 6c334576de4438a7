//! A PollDesc: the meeting place of those who wait for one descriptor with the poller, the
//! deadlines and the close. It claims waits and wakes nobody; how a G waits here is in `block::netpoll`.
//!
//! # The hand-shake
//! Each direction has a word:
//!
//! | word | means |
//! |---|---|
//! | `NIL` | nothing is known: try |
//! | `READY` | an edge came since somebody last tried |
//! | `DRAINED` | a read took all there was, and no edge came since: trying is pointless |
//! | a G | it waits for the edge |
//!
//! ```text
//!        ┌── try again ── READY ◄── edge ── NIL, DRAINED
//!        ▼                                     │ wait
//!       NIL ◄── edge, deadline, close ─── a G ◄┘
//! ```
//! Go has a state more, for a waiter that has announced itself and is not parked yet. Ours holds
//! the lock from its look at the word until it is parked, as every wait does, so there is no such
//! time. The lock is needed: a thread that finds a G in the word claims its wait before it unlocks,
//! so that a G which left by an interrupt cannot be claimed in a later wait of another kind.
//!
//! # Invariants
//! 1. One G at most uses a direction: the descriptor's lock sees to it (`block::netpoll`).
//! 2. A G is put into a word, and taken out, under the lock. `READY` is set under it. Only the user
//!    of the direction makes a `READY` a `NIL`, and a `NIL` a `DRAINED`, which needs no lock.
//! 3. `seq` of the PollDesc is part of the tag of its events, and grows when it is given back:
//!    events of its earlier descriptor are ignored.
//! 4. `seq` of a deadline grows with each setting: one that fires late does nothing.
//!
//! # Memory ordering
//! The Release that puts `READY` pairs with the Acquire that takes it: a G that saw an edge tries
//! after it, and sees `HANGUP` if that came with it. Everything else is ordered by the lock and the
//! claim.
//!
//! Go: runtime/netpoll.go (pollDesc, netpollunblock)

use std::cell::Cell;
use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::readylist::ReadyList;
use crate::runtime::object::timers::{Timer, Timers, NEVER};
use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::error::FdError;
use crate::sys::poll::{HANGUP, READ, WRITE};

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Towards us: reads and accepts.
    Read,
    /// Away from us.
    Write,
}

/// The finding of the look before a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    /// An edge has come: try.
    Ready,
    /// The G is in its word, and the lock is held.
    Waits,
    /// Against 1: another G is there.
    Taken,
}

/// The states of a word, and a G. Never used as pointers.
const NIL: *mut G = ptr::null_mut();
const READY: *mut G = ptr::without_provenance_mut(1);
const DRAINED: *mut G = ptr::without_provenance_mut(2);

/// Bits of `flags`.
const CLOSED: u32 = 1;
/// Reads will tell about the end without an edge: never `DRAINED`.
const HUNG_UP: u32 = 2;
const EXPIRED: [u32; 2] = [4, 8];

/// One direction.
struct Half {
    /// See the header.
    word: AtomicPtr<G>,
    timer: Timer,
    /// By 4. Guarded by the lock.
    seq: Cell<u64>,
    /// The time for which the timer is armed; [`NEVER`] for none. Guarded by the lock.
    deadline: Cell<i64>,
}

/// See the header.
pub(crate) struct PollDesc {
    /// Its place in the pool.
    pub(crate) number: u32,
    /// By 3. Written under the lock.
    seq: AtomicU32,
    lock: Mutex,
    /// Written under the lock.
    flags: AtomicU32,
    halves: [Half; 2],
}

// SAFETY: the plain cells are guarded by the lock.
unsafe impl Sync for PollDesc {}

impl PollDesc {
    pub(crate) fn new(number: u32) -> Self {
        let half = || Half {
            word: AtomicPtr::new(NIL),
            timer: Timer::new(),
            seq: Cell::new(0),
            deadline: Cell::new(NEVER),
        };
        PollDesc {
            number,
            seq: AtomicU32::new(0),
            lock: Mutex::new(),
            flags: AtomicU32::new(0),
            halves: [half(), half()],
        }
    }

    /// Why an operation in `mode` fails before it begins.
    pub(crate) fn check(&self, mode: Mode) -> Result<(), FdError> {
        // Relaxed: a change that is not seen yet comes with a wake-up.
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & (CLOSED | EXPIRED[mode as usize]) == 0 {
            return Ok(());
        }
        Err(if flags & CLOSED != 0 { FdError::Closed } else { FdError::Wait(WaitError::Timeout) })
    }

    /// An operation in `mode` begins. True: trying is pointless, `wait` first.
    ///
    /// # Errors
    /// It was closed, or the deadline has passed.
    #[inline]
    pub(crate) fn prepare(&self, mode: Mode) -> Result<bool, FdError> {
        self.check(mode)?;
        let word = &self.halves[mode as usize].word;
        let now = word.load(Ordering::Relaxed);
        if now == READY {
            // By 2 it stays READY. Acquire: see the header.
            word.swap(NIL, Ordering::Acquire);
        }
        Ok(now == DRAINED)
    }

    /// A read has taken less than it had room for, so all there was.
    #[inline]
    pub(crate) fn drained(&self) {
        // Relaxed: it came with an edge that `prepare` or `wait` has taken by Acquire, or else it
        // will come with one.
        if self.flags.load(Ordering::Relaxed) & HUNG_UP == 0 {
            let word = &self.halves[Mode::Read as usize].word;
            // Fails if an edge came meanwhile. Relaxed: it tells nobody anything but its user.
            let _ = word.compare_exchange(NIL, DRAINED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Ends the wait in `mode`, if there is one: the G that was claimed, or null. The lock is held.
    fn unblock(&self, mode: Mode, edge: bool) -> *mut G {
        let word = &self.halves[mode as usize].word;
        let now = word.load(Ordering::Relaxed);
        if now != NIL && now != READY && now != DRAINED {
            word.store(NIL, Ordering::Relaxed);
            // SAFETY: a G is never freed; by the lock this is the wait in which it put itself here.
            if unsafe { (*now).wait.claim_peer() } {
                return now;
            }
        }
        if edge {
            // Release: pairs with the Acquire in `prepare`. An RMW: comes before or after `drained`.
            word.swap(READY, Ordering::Release);
        }
        ptr::null_mut()
    }

    /// The poller reports `ready` for the descriptor of `seq`.
    pub(crate) fn report(&self, seq: u32, ready: u8, list: &mut ReadyList) {
        self.lock.lock();
        // By 3.
        if self.seq.load(Ordering::Relaxed) == seq {
            if ready & HANGUP != 0 {
                self.set_flags(HUNG_UP);
            }
            for (bit, mode) in [(READ, Mode::Read), (WRITE, Mode::Write)] {
                if ready & bit != 0 {
                    // SAFETY: claimed.
                    unsafe { list.push(self.unblock(mode, true)) };
                }
            }
        }
        self.lock.unlock();
    }

    /// The lock is held.
    fn set_flags(&self, flags: u32) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | flags, Ordering::Relaxed);
    }

    /// The deadline set by `set_deadline`, in a forked child: a thread that is gone may hold the
    /// lock.
    pub(crate) fn deadline_behind_lock(&self, mode: Mode) -> i64 {
        self.halves[mode as usize].deadline.get()
    }

    /// The number of the last setting, by 4.
    #[cfg(test)]
    pub(crate) fn deadline_seq(&self, mode: Mode) -> u64 {
        self.halves[mode as usize].seq.get()
    }

    /// By 4 a timer under way does nothing after this. The lock is held.
    fn disarm(&self, half: &Half) {
        half.seq.set(half.seq.get() + 1);
        if half.deadline.get() != NEVER {
            // SAFETY: Ps live as long as the scheduler, which is this PollDesc's.
            unsafe { Timers::disarm(&half.timer) };
        }
    }

    /// A new descriptor's: nothing is known, and no deadline is set. The tag of its events.
    pub(crate) fn begin(&self) -> u64 {
        self.lock.lock();
        self.flags.store(0, Ordering::Relaxed);
        for half in &self.halves {
            half.word.store(NIL, Ordering::Relaxed);
            half.deadline.set(NEVER);
        }
        let tag = self.tag();
        self.lock.unlock();
        tag
    }

    /// By 3. Relaxed: it changes when nobody uses it any more.
    pub(crate) fn tag(&self) -> u64 {
        u64::from(self.number) | u64::from(self.seq.load(Ordering::Relaxed)) << 32
    }

    /// An edge has come that nobody has taken.
    pub(crate) fn is_ready(&self, mode: Mode) -> bool {
        self.halves[mode as usize].word.load(Ordering::Relaxed) == READY
    }

    /// Somebody waits in `mode`. Only an answer to who alone begins to wait there.
    pub(crate) fn is_waited(&self, mode: Mode) -> bool {
        let now = self.halves[mode as usize].word.load(Ordering::Relaxed);
        now != NIL && now != READY && now != DRAINED
    }

    /// By 3, nobody's any more.
    pub(crate) fn end(&self) {
        self.lock.lock();
        self.seq.store(self.seq.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.lock.unlock();
    }

    /// `gp` is about to wait in `mode` until `until_ns`. With [`Begun::Waits`] it is in its word, and the lock is held: see
    /// [`unlock`](Self::unlock).
    ///
    /// # Errors
    /// It was closed, or a deadline has passed.
    pub(crate) fn begin_wait(
        &self,
        mode: Mode,
        gp: *mut G,
        until_ns: Option<i64>,
    ) -> Result<Begun, FdError> {
        let word = &self.halves[mode as usize].word;
        self.lock.lock();
        let checked = self.check(mode);
        let now = word.load(Ordering::Relaxed);
        if checked.is_err() || now == READY {
            word.store(NIL, Ordering::Relaxed);
            self.lock.unlock();
            return checked.map(|()| Begun::Ready);
        }
        if now != NIL && now != DRAINED {
            self.lock.unlock();
            return Ok(Begun::Taken);
        }
        if until_ns.is_some_and(|until| until <= clock::now()) {
            self.lock.unlock();
            return Err(FdError::Wait(WaitError::Timeout));
        }
        word.store(gp, Ordering::Relaxed);
        Ok(Begun::Waits)
    }

    /// Lets wakers at the G that `begin_wait` has put into its word.
    pub(crate) fn unlock(&self) {
        self.lock.unlock();
    }

    /// `gp` waits in `mode` no more, and was not claimed by a waker: whoever found it and could not claim it has taken it
    /// out already.
    pub(crate) fn leave(&self, mode: Mode, gp: *mut G) {
        let word = &self.halves[mode as usize].word;
        self.lock.lock();
        if word.load(Ordering::Relaxed) == gp {
            word.store(NIL, Ordering::Relaxed);
        }
        self.lock.unlock();
    }

    /// Sets the deadline of `mode`, for which `arm(timer, seq)` arms the timer, under the lock. The G whose wait a past one
    /// ended, or null.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn put_deadline(
        &self,
        mode: Mode,
        when_ns: i64,
        arm: impl FnOnce(&Timer, u64),
    ) -> Result<*mut G, FdError> {
        let expired = EXPIRED[mode as usize];
        let half = &self.halves[mode as usize];
        let mut woken = ptr::null_mut();
        self.lock.lock();
        if self.flags.load(Ordering::Relaxed) & CLOSED != 0 {
            self.lock.unlock();
            return Err(FdError::Closed);
        }
        self.disarm(half);
        half.deadline.set(when_ns);
        self.flags.store(self.flags.load(Ordering::Relaxed) & !expired, Ordering::Relaxed);
        if when_ns <= clock::now() {
            self.set_flags(expired);
            woken = self.unblock(mode, false);
        } else if when_ns != NEVER {
            arm(&half.timer, half.seq.get());
        }
        self.lock.unlock();
        Ok(woken)
    }

    /// The deadline of `mode` that was set as number `seq` has passed: the G whose wait that ends, or null.
    pub(crate) fn expire(&self, mode: Mode, seq: u64) -> *mut G {
        self.lock.lock();
        let mut woken = ptr::null_mut();
        // By 4.
        if self.halves[mode as usize].seq.get() == seq {
            self.set_flags(EXPIRED[mode as usize]);
            woken = self.unblock(mode, false);
        }
        self.lock.unlock();
        woken
    }

    /// Closed: ends the waits of both directions, now and later ones. The Gs that waited, or null.
    pub(crate) fn close(&self) -> [*mut G; 2] {
        self.lock.lock();
        self.set_flags(CLOSED);
        for half in &self.halves {
            self.disarm(half);
            half.deadline.set(NEVER);
        }
        let woken = [self.unblock(Mode::Read, false), self.unblock(Mode::Write, false)];
        self.lock.unlock();
        woken
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::*;
    use crate::runtime::object::g::Kind;

    /// A goroutine that waits in `mode`.
    fn waits(pd: &PollDesc, g: &G, mode: Mode) {
        assert!(g.wait.begin());
        pd.halves[mode as usize].word.store((&raw const *g).cast_mut(), Ordering::Relaxed);
    }

    /// The waiters that a report of `ready` wakes.
    fn report(pd: &PollDesc, seq: u32, ready: u8) -> Vec<*const G> {
        let mut list = ReadyList::new();
        pd.report(seq, ready, &mut list);
        let pop = || Some(list.pop().cast_const()).filter(|gp| !gp.is_null());
        std::iter::from_fn(pop).collect()
    }

    #[test]
    fn an_event_of_the_descriptor_before_wakes_nobody_and_leaves_no_edge() {
        let (pd, g) = (PollDesc::new(3), G::new(Kind::Go));
        waits(&pd, &g, Mode::Read);
        pd.seq.store(u32::MAX, Ordering::Relaxed);
        for stale in [0, 1, u32::MAX - 1] {
            assert_eq!(report(&pd, stale, READ | WRITE | HANGUP), [] as [*const G; 0]);
        }
        assert!(g.wait.is_waiting());
        pd.drained();
        assert_eq!(pd.prepare(Mode::Write), Ok(false));
        assert_eq!(pd.flags.load(Ordering::Relaxed), 0);
        assert_eq!(report(&pd, u32::MAX, READ), [&raw const g]);
        assert!(!g.wait.is_waiting());
    }

    #[test]
    fn an_edge_wakes_who_waits_for_it_and_is_kept_where_nobody_does() {
        let (pd, gs) = (PollDesc::new(0), [G::new(Kind::Go), G::new(Kind::Go)]);
        waits(&pd, &gs[0], Mode::Read);
        waits(&pd, &gs[1], Mode::Write);
        assert_eq!(report(&pd, 0, WRITE), [&raw const gs[1]]);
        assert!(gs[0].wait.is_waiting());
        // One that left by an interrupt, and has not taken itself out: the edge is the next one's.
        assert!(gs[0].wait.interrupt());
        assert_eq!(report(&pd, 0, READ), [] as [*const G; 0]);
        assert_eq!(pd.halves[0].word.load(Ordering::Relaxed), READY);
        assert_eq!(pd.prepare(Mode::Read), Ok(false));
        assert_eq!(pd.halves[0].word.load(Ordering::Relaxed), NIL, "prepare takes the edge");
    }

    #[test]
    fn after_a_read_that_took_all_the_next_one_waits_first_but_not_after_an_edge_or_the_end() {
        let pd = PollDesc::new(0);
        pd.drained();
        assert_eq!(pd.prepare(Mode::Read), Ok(true));
        assert_eq!(pd.prepare(Mode::Read), Ok(true), "it stays so");
        assert_eq!(pd.prepare(Mode::Write), Ok(false));
        report(&pd, 0, READ);
        pd.drained();
        assert_eq!(pd.prepare(Mode::Read), Ok(false), "an edge came before the read's end");
        report(&pd, 0, READ | HANGUP);
        assert_eq!(pd.prepare(Mode::Read), Ok(false));
        pd.drained();
        assert_eq!(pd.prepare(Mode::Read), Ok(false), "no edge will tell of the end again");
    }
}
