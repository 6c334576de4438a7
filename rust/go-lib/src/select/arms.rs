//! The arms of `select!`, which only its expansion names, and their run.
//!
//! # Invariants
//! 1. An arm lends its value's place to `selectgo` by a [`Scase`], which borrows it mutably.
//! 2. A value moved out of or into the place is told by `outcome`, and by nothing else.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::chan::{Receiver, Sender};
use crate::runtime::block::chan::core::Dir;
use crate::runtime::block::chan::Hchan;
use crate::runtime::block::select::core::{selectgo_and_tell, Outcome, Scase};
use crate::runtime::block::select::SelectError;
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::Wait;

/// The channel of an arm: an end of one, a reference to one, or an `Option` of that. `D` is what is done there.
#[diagnostic::on_unimplemented(
    message = "`recv(…)` takes a `Receiver`, `send(…)` a `Sender`, a reference to one or an `Option`",
    label = "not such an end of a channel"
)]
#[doc(hidden)]
pub trait End<D> {
    type Item;
    fn hchan(&self) -> Option<&Hchan<Self::Item>>;
}

/// To receive there.
#[doc(hidden)]
pub struct Receives;

/// To send there.
#[doc(hidden)]
pub struct Sends;

impl<T> End<Receives> for Receiver<T> {
    type Item = T;
    fn hchan(&self) -> Option<&Hchan<T>> {
        Some(Receiver::hchan(self))
    }
}

impl<T> End<Sends> for Sender<T> {
    type Item = T;
    fn hchan(&self) -> Option<&Hchan<T>> {
        Some(Sender::hchan(self))
    }
}

impl<D, E: End<D> + ?Sized> End<D> for &E {
    type Item = E::Item;
    fn hchan(&self) -> Option<&Hchan<E::Item>> {
        (**self).hchan()
    }
}

impl<D, E: End<D>> End<D> for Option<E> {
    type Item = E::Item;
    fn hchan(&self) -> Option<&Hchan<E::Item>> {
        self.as_ref().and_then(E::hchan)
    }
}

/// How long a `select!` waits, as one of its arms says.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    None,
    Now,
    After(Duration),
}

/// The wait of a `select!` whose arms say `limits`.
#[doc(hidden)]
#[inline]
pub fn limit(limits: &[Limit]) -> Wait {
    for l in limits {
        match *l {
            Limit::None => {}
            Limit::Now => return Wait::Try,
            Limit::After(d) => return Wait::Until(deadline_after(d)),
        }
    }
    Wait::Block
}

/// The case of an arm that lends `place`: once, for a place that was filled or emptied is not lent again.
///
/// # Safety
/// For a send `place` holds a value while the outcome is `Lost`.
#[inline]
unsafe fn lend<'a, T>(
    chan: Option<&'a Hchan<T>>,
    dir: Dir,
    place: &'a mut MaybeUninit<T>,
    outcome: &'a Cell<Outcome>,
) -> Scase<'a> {
    match chan {
        Some(c) if outcome.get() == Outcome::Lost => {
            // SAFETY: the place has room for a T; the caller's duty.
            unsafe { Scase::new(&c.header, dir, place.as_mut_ptr().cast(), Some(outcome)) }
        }
        _ => Scase::disabled(),
    }
}

/// A `recv` arm.
#[doc(hidden)]
pub struct RecvArm<'a, T> {
    chan: Option<&'a Hchan<T>>,
    slot: MaybeUninit<T>,
    outcome: Cell<Outcome>,
}

impl<'a, T> RecvArm<'a, T> {
    #[inline]
    pub fn new<R: End<Receives, Item = T>>(from: &'a R) -> Self {
        RecvArm {
            chan: from.hchan(),
            slot: MaybeUninit::uninit(),
            outcome: Cell::new(Outcome::Lost),
        }
    }

    #[inline]
    pub fn limit(&self) -> Limit {
        Limit::None
    }

    #[inline]
    pub fn case(&mut self) -> Scase<'_> {
        // SAFETY: by 1; the slot has room for a T.
        unsafe { lend(self.chan, Dir::Recv, &mut self.slot, &self.outcome) }
    }

    /// `None`: another arm won.
    #[inline]
    pub fn finish(self, _chosen: bool) -> Option<Option<T>> {
        match self.outcome.get() {
            Outcome::Lost => None,
            Outcome::Closed => Some(None),
            // SAFETY: by 2 a value was moved into the slot; we are consumed, so it leaves once.
            Outcome::Passed => Some(Some(unsafe { self.slot.assume_init() })),
        }
    }
}

/// A `send` arm.
#[doc(hidden)]
pub struct SendArm<'a, T> {
    chan: Option<&'a Hchan<T>>,
    value: MaybeUninit<T>,
    outcome: Cell<Outcome>,
}

impl<'a, T> SendArm<'a, T> {
    #[inline]
    pub fn new<S: End<Sends, Item = T>>(to: &'a S, value: T) -> Self {
        SendArm {
            chan: to.hchan(),
            value: MaybeUninit::new(value),
            outcome: Cell::new(Outcome::Lost),
        }
    }

    #[inline]
    pub fn limit(&self) -> Limit {
        Limit::None
    }

    #[inline]
    pub fn case(&mut self) -> Scase<'_> {
        // SAFETY: by 1; by 2 the value is there as long as the outcome is `Lost`.
        unsafe { lend(self.chan, Dir::Send, &mut self.value, &self.outcome) }
    }

    /// `None`: another arm won. Panics if this one won on a closed channel.
    #[inline]
    pub fn finish(self, _chosen: bool) -> Option<()> {
        match self.outcome.get() {
            Outcome::Lost => None,
            Outcome::Passed => Some(()),
            Outcome::Closed => {
                drop(self);
                panic!("send on closed channel")
            }
        }
    }
}

impl<T> Drop for SendArm<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.outcome.get() != Outcome::Passed {
            // SAFETY: by 2 the value was not moved out.
            unsafe { self.value.assume_init_drop() };
        }
    }
}

/// A `default` or `timeout` arm.
#[doc(hidden)]
pub struct ElseArm {
    limit: Limit,
}

impl ElseArm {
    #[inline]
    pub fn now() -> Self {
        ElseArm { limit: Limit::Now }
    }

    #[inline]
    pub fn after(d: Duration) -> Self {
        ElseArm { limit: Limit::After(d) }
    }

    #[inline]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    #[inline]
    pub fn case(&mut self) -> Scase<'_> {
        Scase::disabled()
    }

    #[inline]
    pub fn finish(self, chosen: bool) -> Option<()> {
        (!chosen).then_some(())
    }
}

/// Runs the arms of a `select!`; false: none could proceed in time.
#[doc(hidden)]
#[inline]
pub fn run(cases: &[Scase<'_>], wait: Wait) -> bool {
    match selectgo_and_tell(cases, wait, false) {
        Ok(_) => true,
        Err(SelectError::WouldBlock | SelectError::Timeout) => false,
        Err(e) => no_result(&e),
    }
}

/// `select! {}`.
#[doc(hidden)]
pub fn forever() -> ! {
    loop {
        if let Err(e) = selectgo_and_tell(&[], Wait::Block, false) {
            no_result(&e);
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn no_result(e: &SelectError) -> ! {
    std::panic::panic_any(e.to_string())
}

/// The end of `select!`'s chain of arms, which is not reached.
#[doc(hidden)]
#[cold]
pub fn no_arm() -> ! {
    unreachable!("a select ended without an arm")
}
