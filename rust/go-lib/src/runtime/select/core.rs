//! The untyped select: one wait over many channels.
//!
//! # The passes
//! 1. *Look*: the cases in random order. A case that seems ready is tried under its own channel's
//!    lock alone; if it can proceed, that was the select. A busy select takes one lock so, not all.
//! 2. *Wait*: all locks, in the order of their addresses. Look again (nothing can change now),
//!    else enqueue a sudog on every channel and park; `unlockf` lets go of the locks.
//! 3. *Leave*: the sudogs that did not win are taken out, one lock at a time.
//!
//! A select that may not wait and has several cases does pass 2 up to the second look: it sees all
//! channels at one moment. With one case the look without a lock suffices.
//!
//! # Invariants
//! 1. `locks` holds each channel once, sorted by address: no two selects wait for one another.
//! 2. The claim word lets one case win; a sudog found by a peer after that is skipped.
//! 3. Before `selectgo` returns, each of its sudogs is out of its queue: the winner's was dequeued
//!    by the claimer, the others are removed in pass 3. That pass takes the lock of every channel
//!    but perhaps the winner's (whose lock was free when it won), so `unlockf` has let go of all of
//!    them and reads nothing of this frame any more.
//!
//! Go: runtime/select.go (selectgo)

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use crate::runtime::chan::core::{Dir, HchanHeader, Step};
use crate::runtime::chan::Wait;
use crate::runtime::g::{Wake, G};
use crate::runtime::proc::park::{gopark, goready};
use crate::runtime::proc::{getg, getm};
use crate::runtime::select::SelectError;
use crate::runtime::sudog::Sudog;
use crate::runtime::waitreason::WaitReason;
use crate::sys::clock::nanotime;

/// Cases that need no allocation.
const INLINE: usize = 8;

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Another case won, or none.
    Lost,
    /// A value was passed.
    Passed,
    /// It won since its channel is closed: a receive yields nothing, a send is an error.
    Closed,
}

/// One case: a channel, a direction, and the place of the value (to send, or to receive into).
pub struct Scase<'a> {
    /// Null: the nil channel, never ready.
    c: *const HchanHeader,
    elem: *mut (),
    dir: Dir,
    outcome: Option<&'a Cell<Outcome>>,
    /// The channel and the place stay borrowed as long as the case may run.
    borrows: PhantomData<&'a mut ()>,
}

impl<'a> Scase<'a> {
    /// A case on `c`.
    ///
    /// # Safety
    /// For `'a`, `elem` is where an element of the channel's type is (send; it is moved out if the
    /// outcome is `Passed`) or fits (receive; it is moved in then).
    #[inline]
    pub(crate) unsafe fn new(
        c: &'a HchanHeader,
        dir: Dir,
        elem: *mut (),
        outcome: Option<&'a Cell<Outcome>>,
    ) -> Self {
        Scase { c, elem, dir, outcome, borrows: PhantomData }
    }

    /// A case that is never ready.
    pub(crate) fn disabled() -> Self {
        Scase {
            c: ptr::null(),
            elem: ptr::null_mut(),
            dir: Dir::Recv,
            outcome: None,
            borrows: PhantomData,
        }
    }

    /// The channel.
    #[inline]
    fn channel(&self) -> Option<&HchanHeader> {
        // SAFETY: null, or borrowed for 'a.
        unsafe { self.c.as_ref() }
    }

    /// True if it seems to proceed without waiting.
    #[inline]
    fn seems_ready(&self) -> bool {
        self.channel().is_some_and(|c| match self.dir {
            Dir::Send => !c.send_must_wait(),
            Dir::Recv => !c.recv_must_wait() || c.is_closed(),
        })
    }

    /// Proceeds if that needs no waiting.
    ///
    /// # Safety
    /// `c` is the case's channel and locked.
    #[inline]
    unsafe fn step(&self, c: &HchanHeader) -> Step {
        // SAFETY: the caller's duty, and that of `new`.
        unsafe {
            match self.dir {
                Dir::Send => c.send_step(c.elem(), self.elem),
                Dir::Recv => c.recv_step(c.elem(), self.elem),
            }
        }
    }
}

/// The case that won.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    /// Never `Lost`.
    pub(crate) outcome: Outcome,
}

/// Waits as `wait` says until one case can proceed, and does it. Among several that can, a random
/// one, or (`biased`) the first.
#[inline]
pub(crate) fn selectgo(
    cases: &[Scase<'_>],
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    let n = cases.len();
    let chosen = if n <= INLINE {
        let mut poll = [0_u32; INLINE];
        let mut locks = [ptr::null(); INLINE];
        let mut sudogs = [const { MaybeUninit::uninit() }; INLINE];
        select(cases, &mut poll[..n], &mut locks, &mut sudogs, wait, biased)
    } else {
        let mut sudogs = Vec::new();
        sudogs.resize_with(n, MaybeUninit::uninit);
        select(cases, &mut vec![0; n], &mut vec![ptr::null(); n], &mut sudogs, wait, biased)
    }?;
    if let Some(outcome) = cases[chosen.index].outcome {
        outcome.set(chosen.outcome);
    }
    Ok(chosen)
}

/// `selectgo` with its scratch space: `n` slots each.
fn select(
    cases: &[Scase<'_>],
    poll: &mut [u32],
    locks: &mut [*const HchanHeader],
    sudogs: &mut [MaybeUninit<Sudog>],
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    fill_pollorder(poll, biased);

    // Pass 1.
    let mut channels = 0;
    for &i in poll.iter() {
        let case = &cases[i as usize];
        let Some(c) = case.channel() else { continue };
        channels += 1;
        if case.seems_ready() {
            c.lock.lock();
            // SAFETY: locked here.
            let step = unsafe { case.step(c) };
            c.lock.unlock();
            if let Some(chosen) = finish(i, step) {
                return Ok(chosen);
            }
        }
    }
    if wait == Wait::Try && channels <= 1 {
        return Err(SelectError::WouldBlock);
    }

    // Pass 2.
    let locks = sort_locks(cases, locks);
    for &c in locks.iter() {
        // SAFETY: the cases borrow their channels.
        unsafe { (*c).lock.lock() };
    }
    for &i in poll.iter() {
        let case = &cases[i as usize];
        let Some(c) = case.channel() else { continue };
        if !case.seems_ready() {
            continue; // under the lock it is as it seems
        }
        // SAFETY: all channels are locked.
        match unsafe { case.step(c) } {
            Step::Blocked => {}
            step => {
                unlock_all(locks);
                if let Some(chosen) = finish(i, step) {
                    return Ok(chosen);
                }
            }
        }
    }
    let deadline = match wait {
        Wait::Block => None,
        Wait::Try => {
            unlock_all(locks);
            return Err(SelectError::WouldBlock);
        }
        Wait::Until(when) if when <= nanotime() => {
            unlock_all(locks);
            return Err(SelectError::Timeout);
        }
        Wait::Until(when) => Some(when),
    };
    // SAFETY: all channels are locked.
    unsafe { block(cases, locks, sudogs, deadline) }
}

/// The end of the second pass, and the third.
///
/// # Safety
/// All channels, `locks`, are locked, and no case can proceed. The locks are released.
#[inline(never)]
unsafe fn block(
    cases: &[Scase<'_>],
    locks: &[*const HchanHeader],
    sudogs: &mut [MaybeUninit<Sudog>],
    deadline: Option<i64>,
) -> Result<Chosen, SelectError> {
    let gp = getg();
    debug_assert!(sudogs.len() >= cases.len());
    // One base for all: peers keep pointers into the slots until pass 3.
    let sudogs = sudogs.as_mut_ptr().cast::<Sudog>();
    for (i, case) in cases.iter().enumerate() {
        let Some(c) = case.channel() else { continue };
        // SAFETY: slot i is ours and stays until pass 3; the channel is locked.
        unsafe {
            let sg = sudogs.add(i);
            sg.write(Sudog::new(gp, case.elem, i));
            c.queue(case.dir).enqueue(sg);
        }
    }
    let reason = if locks.is_empty() { WaitReason::SelectNoCases } else { WaitReason::Select };
    let mut held = Held { first: locks.as_ptr(), n: locks.len() };
    // SAFETY: the locks are held; by 3 `held` and `locks` outlive unlock_held.
    let wake = unsafe { gopark(unlock_held, (&raw mut held).cast(), reason, deadline) };

    // Pass 3.
    let mut won = None;
    if wake == Wake::Peer {
        // SAFETY: the claimer left the sudog that it claimed, one of ours; it is in no queue.
        unsafe {
            let sg = (*gp).param.replace(ptr::null_mut()).cast::<Sudog>();
            let outcome = if (*sg).success.get() { Outcome::Passed } else { Outcome::Closed };
            won = Some(Chosen { index: (*sg).tag, outcome });
        }
    }
    for (i, case) in cases.iter().enumerate() {
        let Some(c) = case.channel() else { continue };
        if won.is_some_and(|w| w.index == i) {
            continue;
        }
        c.lock.lock();
        // SAFETY: locked; the sudog was written above and is in this queue or in none.
        unsafe { c.queue(case.dir).remove(sudogs.add(i)) };
        c.lock.unlock();
    }
    match (won, wake) {
        (Some(chosen), _) => Ok(chosen),
        (None, Wake::Timeout) => Err(SelectError::Timeout),
        (None, Wake::Deadlock) => Err(SelectError::Deadlock),
        (None, Wake::Interrupt | Wake::Peer) => Err(SelectError::Interrupted),
    }
}

/// Turns a step (its locks released) into the select's result; None: it cannot proceed.
#[inline]
fn finish(i: u32, step: Step) -> Option<Chosen> {
    let outcome = match step {
        Step::Blocked => return None,
        Step::Closed => Outcome::Closed,
        Step::Done(gp) => {
            if !gp.is_null() {
                // SAFETY: the step claimed its wait.
                unsafe { goready(gp) };
            }
            Outcome::Passed
        }
    };
    Some(Chosen { index: i as usize, outcome })
}

/// A random permutation of the cases, or the identity.
fn fill_pollorder(poll: &mut [u32], biased: bool) {
    let mut n = 0;
    if biased || poll.len() < 2 {
        for slot in poll {
            *slot = n;
            n += 1;
        }
        return;
    }
    let m = getm();
    for i in 0..poll.len() {
        // j is uniform in 0..=i: slot i gets what was at j, j gets i.
        let j = ((u64::from(m.cheaprand()) * (i as u64 + 1)) >> 32) as usize;
        poll[i] = poll[j];
        poll[j] = n;
        n += 1;
    }
}

/// Fills `locks` by 1; the part that was filled.
fn sort_locks<'s>(
    cases: &[Scase<'_>],
    locks: &'s mut [*const HchanHeader],
) -> &'s [*const HchanHeader] {
    let mut n = 0;
    for case in cases {
        if !case.c.is_null() {
            locks[n] = case.c;
            n += 1;
        }
    }
    locks[..n].sort_unstable();
    let mut unique = 0;
    for i in 0..n {
        if i == 0 || locks[i] != locks[unique - 1] {
            locks[unique] = locks[i];
            unique += 1;
        }
    }
    &locks[..unique]
}

fn unlock_all(locks: &[*const HchanHeader]) {
    for &c in locks {
        // SAFETY: the callers hold these locks; the cases borrow their channels.
        unsafe { (*c).lock.unlock() };
    }
}

/// What `unlock_held` is to release.
struct Held {
    first: *const *const HchanHeader,
    n: usize,
}

/// `gopark`'s unlockf: publishes the wait by releasing the channels.
///
/// # Safety
/// `arg` is a [`Held`]. By 3 it may be gone once the last lock is free, a channel once its own is.
unsafe fn unlock_held(_gp: *mut G, arg: *mut ()) {
    // SAFETY: the caller's duty; slot i is read before lock i is released.
    unsafe {
        let Held { first, n } = arg.cast::<Held>().read();
        for i in 0..n {
            let c = *first.add(i);
            (*c).lock.unlock();
        }
    }
}
