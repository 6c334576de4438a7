//! A PollDesc: the meeting place of those who wait for one descriptor with the poller, the
//! deadlines and the close.
//!
//! # The hand-shake
//! Each direction has a word:
//!
//! | word | means |
//! |---|---|
//! | `NIL` | nothing is known: try |
//! | `READY` | an edge came since somebody last tried |
//! | `DRAINED` | a read took all there was, and no edge came since: to try would be in vain |
//! | a G | it waits for the edge |
//!
//! ```text
//!        ┌── try again ── READY ◄── edge ── NIL, DRAINED
//!        ▼                                     │ wait
//!       NIL ◄── edge, deadline, close ─── a G ◄┘
//! ```
//! Go has a state more, for a waiter that has announced itself and is not parked yet. Ours holds the
//! lock from its look at the word until it is parked, as every wait does, so there is no such time.
//! The lock has to be there: who finds a G in the word claims its wait before it lets go, so that a
//! G which left by an interrupt cannot be claimed in a later wait of another kind.
//!
//! # Invariants
//! 1. One G at most uses a direction: the descriptor's lock sees to it (`fd`).
//! 2. A G is put into a word, and taken out, under the lock. `READY` is set under it. Only the user
//!    of the direction makes a `READY` a `NIL`, and a `NIL` a `DRAINED`, which needs no lock.
//! 3. `seq` of the PollDesc is part of the tag of its events, and grows when it is given back: an
//!    event of the descriptor that had it before is nobody's.
//! 4. `seq` of a deadline grows with each setting: one that fires late does nothing.
//!
//! # Memory ordering
//! The Release that puts `READY` pairs with the Acquire that takes it: whoever saw an edge tries after
//! it, and sees `HANGUP` if that came with it. Everything else is ordered by the lock and the claim.
//!
//! Go: runtime/netpoll.go (pollDesc, netpollblock, netpollunblock, poll_runtime_pollSetDeadline)

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

use crate::prim::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::block::sema::{FdError, WaitError};
use crate::runtime::block::time::arm_and_go_on;
use crate::runtime::object::g::{Wake, G};
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::m::NEVER;
use crate::runtime::object::timers::{Action, Timer, Timers};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::poller::attend;
use crate::runtime::proc::inject::ReadyList;
use crate::runtime::proc::park::{gopark, goready};
use crate::runtime::proc::{getg, getm, throw};
use crate::runtime::sched::sched;
use crate::sys::clock::nanotime;
use crate::sys::errno;
use crate::sys::poll::{HANGUP, READ, WRITE};

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Read,
    Write,
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
    /// What the timer is armed for; [`NEVER`] for none. Guarded by the lock.
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

    /// A PollDesc for `fd`, which the poller knows from now on.
    ///
    /// # Errors
    /// `fd` cannot be polled, or a limit is reached.
    pub(crate) fn open(fd: RawFd) -> io::Result<&'static PollDesc> {
        let np = &sched().netpoll;
        let poller = np.open()?;
        let pd = np.pool.take().ok_or_else(|| io::Error::from_raw_os_error(errno::ENFILE))?;
        pd.lock.lock();
        pd.flags.store(0, Ordering::Relaxed);
        for half in &pd.halves {
            half.word.store(NIL, Ordering::Relaxed);
            half.deadline.set(NEVER);
        }
        let tag = u64::from(pd.number) | u64::from(pd.seq.load(Ordering::Relaxed)) << 32;
        pd.lock.unlock();
        poller.open(fd, tag).inspect_err(|_| np.pool.put(pd))?;
        Ok(pd)
    }

    /// Gives it back; nobody uses `fd` any more, which the caller closes next.
    pub(crate) fn release(&self, fd: RawFd) {
        let np = &sched().netpoll;
        self.evict();
        if let Ok(poller) = np.open() {
            poller.close(fd);
        }
        self.lock.lock();
        // By 3.
        self.seq.store(self.seq.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.lock.unlock();
        np.pool.put(self);
    }

    /// Why an operation in `mode` fails before it begins.
    fn check(&self, mode: Mode) -> Result<(), FdError> {
        // Relaxed: a change that is not seen yet comes with a wake-up.
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & (CLOSED | EXPIRED[mode as usize]) == 0 {
            return Ok(());
        }
        Err(if flags & CLOSED != 0 { FdError::Closed } else { FdError::Wait(WaitError::Timeout) })
    }

    /// An operation in `mode` begins. True: to try would be in vain, `wait` first.
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

    /// Waits for an edge, which may have come already; at most until `until_ns`. Afterwards the
    /// caller tries again.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// It was closed, the direction's deadline or `until_ns` has passed, or an interrupt.
    pub(crate) fn wait(&self, mode: Mode, until_ns: Option<i64>) -> Result<(), FdError> {
        let word = &self.halves[mode as usize].word;
        let gp = getg();
        self.lock.lock();
        let checked = self.check(mode);
        let now = word.load(Ordering::Relaxed);
        if checked.is_err() || now == READY {
            word.store(NIL, Ordering::Relaxed);
            self.lock.unlock();
            return checked;
        }
        if now != NIL && now != DRAINED {
            throw("netpoll: two wait in one direction");
        }
        if until_ns.is_some_and(|until| until <= nanotime()) {
            self.lock.unlock();
            return Err(FdError::Wait(WaitError::Timeout));
        }
        word.store(gp, Ordering::Relaxed);
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
        self.lock.lock();
        // Who found us here and could not claim us has taken us out.
        if word.load(Ordering::Relaxed) == gp {
            word.store(NIL, Ordering::Relaxed);
        }
        self.lock.unlock();
        np.remove_waiters(1);
        Err(FdError::Wait(error))
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

    /// The poller reports `ready` of the descriptor that `seq` stands for.
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

    /// When operations in `mode` end without having completed; [`NEVER`]: not by themselves. Also
    /// ends those that wait now.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn set_deadline(&self, mode: Mode, when_ns: i64) -> Result<(), FdError> {
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
        if when_ns <= nanotime() {
            self.set_flags(expired);
            woken = self.unblock(mode, false);
        } else if when_ns != NEVER {
            self.arm(half, mode, when_ns);
        }
        self.lock.unlock();
        wake_claimed(woken);
        Ok(())
    }

    /// What `set_deadline` set, in a forked child: the lock may be held by a thread that is gone.
    pub(crate) fn deadline_behind_lock(&self, mode: Mode) -> i64 {
        self.halves[mode as usize].deadline.get()
    }

    /// By 4 a timer under way does nothing after this. The lock is held.
    fn disarm(&self, half: &Half) {
        half.seq.set(half.seq.get() + 1);
        if half.deadline.get() != NEVER {
            // SAFETY: Ps live as long as the scheduler, which is this PollDesc's.
            unsafe { Timers::disarm(&half.timer) };
        }
    }

    /// The lock is held.
    fn arm(&self, half: &Half, mode: Mode, when_ns: i64) {
        let fire = match mode {
            Mode::Read => expire_read,
            Mode::Write => expire_write,
        };
        let arg = ptr::from_ref(self).cast_mut().cast();
        let action = Action { fire, arg, seq: half.seq.get() };
        // SAFETY: not armed; PollDescs are never freed.
        unsafe { arm_and_go_on(&half.timer, when_ns, action) };
    }

    /// The deadline of `mode` that was set as number `seq` has passed.
    fn expire(&self, mode: Mode, seq: u64) -> *mut G {
        self.lock.lock();
        let mut woken = ptr::null_mut();
        // By 4.
        if self.halves[mode as usize].seq.get() == seq {
            self.set_flags(EXPIRED[mode as usize]);
            woken = self.unblock(mode, false);
        }
        self.lock.unlock();
        if !woken.is_null() {
            sched().netpoll.remove_waiters(1);
        }
        woken
    }

    /// Closed: ends the waits of both directions, now and later ones.
    pub(crate) fn evict(&self) {
        self.lock.lock();
        self.set_flags(CLOSED);
        for half in &self.halves {
            self.disarm(half);
            half.deadline.set(NEVER);
        }
        let woken = [self.unblock(Mode::Read, false), self.unblock(Mode::Write, false)];
        self.lock.unlock();
        woken.into_iter().for_each(wake_claimed);
    }
}

/// Readies a G that `unblock` returned; no lock is held.
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
    unsafe { (*arg.cast::<PollDesc>()).lock.unlock() };
    if getm().pp().is_null() {
        attend(sched());
    }
}

/// A timer's action.
unsafe fn expire_read(pd: *mut (), seq: u64) -> *mut G {
    // SAFETY: `arm` passed a PollDesc, which is never freed.
    unsafe { (*pd.cast::<PollDesc>()).expire(Mode::Read, seq) }
}

/// A timer's action.
unsafe fn expire_write(pd: *mut (), seq: u64) -> *mut G {
    // SAFETY: as above.
    unsafe { (*pd.cast::<PollDesc>()).expire(Mode::Write, seq) }
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

    /// Whom a report of `ready` wakes.
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

    #[test]
    fn a_deadline_ends_its_direction_until_another_is_set_and_one_that_fires_late_nothing() {
        const EXPIRED: Result<bool, FdError> = Err(FdError::Wait(WaitError::Timeout));
        // Its timer may be in a P's heap: never freed, as in the pool.
        let pd: &PollDesc = Box::leak(Box::new(PollDesc::new(0)));
        crate::run(|| ());
        pd.set_deadline(Mode::Read, nanotime() - 1).unwrap();
        assert_eq!((pd.prepare(Mode::Read), pd.prepare(Mode::Write)), (EXPIRED, Ok(false)));
        assert_eq!(pd.wait(Mode::Read, None), Err(FdError::Wait(WaitError::Timeout)));
        const HOUR_NS: i64 = 3_600_000_000_000;
        pd.set_deadline(Mode::Read, nanotime() + HOUR_NS).unwrap();
        let late = pd.halves[0].seq.get();
        assert_eq!(pd.prepare(Mode::Read), Ok(false));
        pd.set_deadline(Mode::Read, NEVER).unwrap();
        assert!(pd.expire(Mode::Read, late).is_null());
        assert_eq!(pd.prepare(Mode::Read), Ok(false), "a deadline that was taken back came");
        assert!(pd.expire(Mode::Read, pd.halves[0].seq.get()).is_null());
        assert_eq!(pd.prepare(Mode::Read), EXPIRED);
        pd.evict();
        for mode in [Mode::Read, Mode::Write] {
            assert_eq!(pd.prepare(mode), Err(FdError::Closed));
            assert_eq!(pd.wait(mode, None), Err(FdError::Closed));
            assert_eq!(pd.set_deadline(mode, NEVER), Err(FdError::Closed));
        }
    }
}
