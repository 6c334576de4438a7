//! The untyped select: one wait over many channels.
//!
//! # The passes
//! 1. *Look*: a random one of the cases that seem ready is tried under its own channel's lock
//!    alone; if it can proceed, that was the select. A busy select takes one lock so, not all.
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
//!    but perhaps the winner's (whose lock was free when it won), so `unlockf` has unlocked all of
//!    them and reads nothing of this frame any more.
//!
//! Go: runtime/select.go (selectgo)

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use crate::runtime::block::chan::core::{Dir, HchanHeader, Step};
use crate::runtime::block::select::SelectError;
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::sudog::Sudog;
use crate::runtime::object::wait::{Wait, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::park::gopark;
use crate::runtime::proc::ready::goready;
use crate::runtime::proc::{getg, getm};

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

/// A case as the passes see it: a channel, a direction, and the place of the element.
///
/// # Safety
/// The answers do not change during a select. `elem` is where an element of the channel's type is
/// (send; it is moved out if the outcome is `Passed`) or fits (receive; it is moved in then), and
/// stays until the select is over.
pub(crate) unsafe trait Arm {
    /// The channel; None: the nil channel, never ready.
    fn channel(&self) -> Option<&HchanHeader>;

    /// The operation.
    fn dir(&self) -> Dir;

    /// The element's place, which may be the `place` that the select was given for all receives.
    fn elem(&self, place: *mut ()) -> *mut ();
}

/// True if `arm` on `c` seems to proceed without waiting.
#[inline(always)]
fn seems_ready(arm: &impl Arm, c: &HchanHeader) -> bool {
    match arm.dir() {
        Dir::Send => !c.send_must_wait(),
        Dir::Recv => !c.recv_must_wait() || c.is_closed(),
    }
}

/// A case that keeps the address of its element, whatever type it has.
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
    /// For `'a`, `elem` is what [`Arm`] asks for.
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
}

// SAFETY: the duty of `new`.
unsafe impl Arm for Scase<'_> {
    #[inline(always)]
    fn channel(&self) -> Option<&HchanHeader> {
        // SAFETY: null, or borrowed for 'a.
        unsafe { self.c.as_ref() }
    }

    #[inline(always)]
    fn dir(&self) -> Dir {
        self.dir
    }

    #[inline(always)]
    fn elem(&self, _place: *mut ()) -> *mut () {
        self.elem
    }
}

/// The case that won.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    /// Never `Lost`.
    pub(crate) outcome: Outcome,
}

/// [`selectgo`], which tells the case that won how.
#[inline]
pub(crate) fn selectgo_and_tell(
    cases: &[Scase<'_>],
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    let chosen = selectgo(cases, ptr::null_mut(), wait, biased)?;
    if let Some(outcome) = cases[chosen.index].outcome {
        outcome.set(chosen.outcome);
    }
    Ok(chosen)
}

/// Waits as `wait` says until one case can proceed, and does it. Among several that can, a random
/// one, or (`biased`) the first.
#[inline(always)]
pub(crate) fn selectgo<A: Arm>(
    cases: &[A],
    place: *mut (),
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    // Pass 1.
    if let Some((i, c)) = look(cases, biased) {
        c.lock.lock();
        // SAFETY: locked here.
        let step = unsafe { step(&cases[i], c, place) };
        c.lock.unlock();
        if let Some(chosen) = finish(i, step) {
            return Ok(chosen);
        }
    }
    if wait == Wait::Try && cases.iter().filter_map(Arm::channel).count() <= 1 {
        return Err(SelectError::WouldBlock);
    }
    wait_for_one(cases, place, wait, biased)
}

/// The second pass with its scratch space, a slot for each case: in its caller's frame, for the sake of
/// the returns behind a switch (see `proc::direct`).
#[inline(always)]
fn wait_for_one<A: Arm>(
    cases: &[A],
    place: *mut (),
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    if cases.len() > INLINE {
        return wait_for_one_of_many(cases, place, wait, biased);
    }
    let mut locks = [ptr::null(); INLINE];
    let mut sudogs = [const { MaybeUninit::uninit() }; INLINE];
    look_locked(cases, place, &mut locks, &mut sudogs, wait, biased)
}

/// The same for more cases than the frame has slots for.
#[cold]
#[inline(never)]
fn wait_for_one_of_many<A: Arm>(
    cases: &[A],
    place: *mut (),
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    let mut locks = vec![ptr::null(); cases.len()];
    let mut sudogs = Vec::new();
    sudogs.resize_with(cases.len(), MaybeUninit::uninit);
    look_locked(cases, place, &mut locks, &mut sudogs, wait, biased)
}

/// The second pass up to the wait.
#[inline(always)]
fn look_locked<A: Arm>(
    cases: &[A],
    place: *mut (),
    locks: &mut [*const HchanHeader],
    sudogs: &mut [MaybeUninit<Sudog>],
    wait: Wait,
    biased: bool,
) -> Result<Chosen, SelectError> {
    let locks = sort_locks(cases, locks);
    for &c in locks.iter() {
        // SAFETY: the cases borrow their channels.
        unsafe { (*c).lock.lock() };
    }
    while let Some((i, c)) = look(cases, biased) {
        // SAFETY: all channels are locked.
        let step = unsafe { step(&cases[i], c, place) };
        if matches!(step, Step::Blocked) {
            // Its waiters had been claimed by others. They are out of the queue now: it does not
            // seem ready again.
            continue;
        }
        unlock_all(locks);
        // Never an error: the step was done.
        return finish(i, step).ok_or(SelectError::WouldBlock);
    }
    let deadline = match wait {
        Wait::Block => None,
        Wait::Try => {
            unlock_all(locks);
            return Err(SelectError::WouldBlock);
        }
        Wait::Until(when) if when <= clock::now() => {
            unlock_all(locks);
            return Err(SelectError::Timeout);
        }
        Wait::Until(when) => Some(when),
    };
    // SAFETY: all channels are locked.
    unsafe { block(cases, place, locks, sudogs, deadline) }
}

/// The end of the second pass, and the third.
///
/// # Safety
/// All channels, `locks`, are locked, and no case can proceed. The locks are released.
#[inline(always)]
unsafe fn block<A: Arm>(
    cases: &[A],
    place: *mut (),
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
            sg.write(Sudog::new(gp, case.elem(place), i));
            c.queue(case.dir()).enqueue(sg);
        }
    }
    let reason = if locks.is_empty() { WaitReason::SelectNoCases } else { WaitReason::Select };
    let mut held = Held { first: locks.as_ptr(), n: locks.len() };
    // SAFETY: the locks are held; by 3 `held` and `locks` outlive unlock_held.
    let wake = unsafe { gopark(unlock_held, (&raw mut held).cast(), reason, deadline) };

    // Pass 3.
    let mut won = None;
    if wake == Wake::Peer {
        // SAFETY: the claimer left the sudog that it claimed, one of this select's; it is in no
        // queue.
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
        unsafe { c.queue(case.dir()).remove(sudogs.add(i)) };
        c.lock.unlock();
    }
    match (won, wake) {
        (Some(chosen), _) => Ok(chosen),
        (None, Wake::Timeout) => Err(SelectError::Timeout),
        (None, Wake::Deadlock) => Err(SelectError::Deadlock),
        (None, Wake::Interrupt | Wake::Peer) => Err(SelectError::Interrupted),
    }
}

/// One of the cases that seem ready, and its channel: each with the same probability, or (`biased`)
/// the first.
#[inline(always)]
fn look<A: Arm>(cases: &[A], biased: bool) -> Option<(usize, &HchanHeader)> {
    let mut found = None;
    let mut ready = 0;
    for (i, case) in cases.iter().enumerate() {
        let Some(c) = case.channel().filter(|c| seems_ready(case, c)) else { continue };
        ready += 1;
        // The newest of them takes the place with the probability 1 / ready.
        if ready == 1 || (u64::from(getm().cheaprand()) * ready) >> 32 == 0 {
            found = Some((i, c));
        }
        if biased {
            break;
        }
    }
    found
}

/// Proceeds if that needs no waiting.
///
/// # Safety
/// `c` is the channel of `arm` and locked.
#[inline(always)]
unsafe fn step(arm: &impl Arm, c: &HchanHeader, place: *mut ()) -> Step {
    // SAFETY: the caller's duty, and that of an Arm.
    unsafe {
        match arm.dir() {
            Dir::Send => c.send_step(c.elem(), arm.elem(place)),
            Dir::Recv => c.recv_step(c.elem(), arm.elem(place)),
        }
    }
}

/// Turns a step (its locks released) into the select's result; None: it cannot proceed.
#[inline]
fn finish(index: usize, step: Step) -> Option<Chosen> {
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
    Some(Chosen { index, outcome })
}

/// Fills `locks` by 1; the part that was filled.
fn sort_locks<'s>(
    cases: &[impl Arm],
    locks: &'s mut [*const HchanHeader],
) -> &'s [*const HchanHeader] {
    let mut n = 0;
    for c in cases.iter().filter_map(Arm::channel) {
        locks[n] = c;
        n += 1;
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

/// The locks that `unlock_held` releases.
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
