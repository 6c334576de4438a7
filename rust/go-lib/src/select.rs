//! [`select!`](crate::select!): waits for whichever of several channel operations comes first.
//!
//! The macro makes an *arm* for each of its cases, which keeps the value, runs them all through
//! the runtime's `selectgo`, and asks each arm what came of it. [`Select`] does the same for a
//! list of channels that is known at run time.
//!
//! # Invariants
//! 1. An arm lends its value's place to `selectgo` by a [`Scase`], which borrows it mutably.
//! 2. A value moved out of or into the place is told by `outcome`, and by nothing else.
//!
//! Go: the select statement; reflect.Select

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::chan::{Receiver, Sender};
use crate::runtime::block::chan::core::Dir;
use crate::runtime::block::chan::Hchan;
use crate::runtime::block::select::core::{selectgo_and_tell, Outcome, Scase};
use crate::runtime::block::select::{self, Case, SelectError};
use crate::runtime::block::time::deadline_after;
use crate::runtime::object::wait::Wait;

pub use crate::runtime::block::select::Selected;

/// Waits for several channel operations and does the first that can proceed.
///
/// ```text
/// select! {
///     recv(rx) -> v => …            v is Some(value), or None from a closed channel
///     send(tx, expression) => …     panics if the channel is closed
///     timeout(duration) => …        nothing happened for that long
///     default => …                  nothing can proceed now
/// }
/// ```
/// Any number of arms in any order, at most one of them a `timeout` or a `default`; among those
/// that can proceed a random one is taken. The expressions are evaluated once, in the order in
/// which they are written; the value of a send that did not happen is dropped. A channel may be
/// any expression that yields a `Sender` or `Receiver`, a reference to one, or an `Option`, where
/// `None` is Go's nil channel: never ready. The bodies may `break`, `return` and use `?`; the
/// value of the macro is that of the body. Without arms it blocks for ever. More than about 60
/// arms need a higher `#![recursion_limit]`; a list of channels is [`select::Select`](Select)'s.
///
/// Blocks: the goroutine or the OS thread; with a `default`, nothing. Cost: no allocation with up
/// to eight arms.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, select};
/// use std::time::Duration;
///
/// let (tx, rx) = chan::<i32>(1);
/// let (out, _rx2) = chan::<&str>(0);
/// tx.send(4);
/// let text = select! {
///     recv(rx) -> v => format!("received {v:?}"),
///     send(out, "word") => "sent".to_string(),
///     timeout(Duration::from_secs(5)) => "nothing happened".to_string(),
/// };
/// assert_eq!(text, "received Some(4)");
///
/// select! {
///     recv(rx) -> _v => unreachable!(),
///     default => println!("rx is empty"),
/// }
/// ```
#[macro_export]
macro_rules! select {
    () => { $crate::select::forever() };
    ($($arms:tt)+) => { $crate::__select!(@arm [] [] $($arms)+) };
}

/// The steps of [`select!`]. `@arm [done arms] [limit]` reads the head of the next arm and writes
/// the statements that make it; each step's `arm`, `slot` and `chan` are new names by hygiene.
/// `@body` reads its body.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@arm $done:tt $limit:tt recv($c:expr $(,)?) -> $v:pat => $($rest:tt)+) => {
        $crate::__select!(@body $done $limit {
            { let chan = &$c; let mut arm = $crate::select::RecvArm::new(chan); } arm slot $v
        } $($rest)+)
    };
    (@arm $done:tt $limit:tt recv($c:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@arm $done $limit recv($c) -> _ => $($rest)+)
    };
    (@arm $done:tt $limit:tt send($c:expr, $e:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $done $limit {
            { let chan = &$c; let mut arm = $crate::select::SendArm::new(chan, $e); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [] default => $($rest:tt)+) => {
        $crate::__select!(@body $done [limited] {
            { let mut arm = $crate::select::ElseArm::now(); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [] timeout($d:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $done [limited] {
            { let mut arm = $crate::select::ElseArm::after($d); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [limited] default => $($rest:tt)+) => {
        compile_error!("select! takes one `default` or `timeout` arm")
    };
    (@arm $done:tt [limited] timeout($d:expr $(,)?) => $($rest:tt)+) => {
        compile_error!("select! takes one `default` or `timeout` arm")
    };
    (@arm [$({ { $($make:tt)* } $arm:ident $slot:ident $v:pat, $body:expr })*] $limit:tt) => {{
        let ($($slot,)*) = {
            $($($make)*)*
            let wait = $crate::select::limit(&[$($arm.limit()),*]);
            let chosen = $crate::select::run(&[$($arm.case()),*], wait);
            ($($arm.finish(chosen),)*)
        };
        $(if let ::core::option::Option::Some(value) = $slot {
            let $v = value;
            $body
        } else)* {
            $crate::select::no_arm()
        }
    }};
    (@arm $done:tt $limit:tt $($other:tt)+) => {
        compile_error!(concat!(
            "select!: expected `recv(rx) -> v => …`, `send(tx, value) => …`, \
             `timeout(duration) => …` or `default => …` at: ",
            stringify!($($other)+)
        ))
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:block , $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:block $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:expr , $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:expr) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit)
    };
}

/// What `recv(…)` takes: a receiver, a reference to one, or an `Option` of that.
#[doc(hidden)]
pub trait RecvFrom {
    type Item;
    fn source(&self) -> Option<&Hchan<Self::Item>>;
}

impl<T> RecvFrom for Receiver<T> {
    type Item = T;
    fn source(&self) -> Option<&Hchan<T>> {
        Some(self.hchan())
    }
}

impl<R: RecvFrom + ?Sized> RecvFrom for &R {
    type Item = R::Item;
    fn source(&self) -> Option<&Hchan<R::Item>> {
        (**self).source()
    }
}

impl<R: RecvFrom> RecvFrom for Option<R> {
    type Item = R::Item;
    fn source(&self) -> Option<&Hchan<R::Item>> {
        self.as_ref().and_then(R::source)
    }
}

/// What `send(…)` takes: a sender, a reference to one, or an `Option` of that.
#[doc(hidden)]
pub trait SendTo {
    type Item;
    fn target(&self) -> Option<&Hchan<Self::Item>>;
}

impl<T> SendTo for Sender<T> {
    type Item = T;
    fn target(&self) -> Option<&Hchan<T>> {
        Some(self.hchan())
    }
}

impl<S: SendTo + ?Sized> SendTo for &S {
    type Item = S::Item;
    fn target(&self) -> Option<&Hchan<S::Item>> {
        (**self).target()
    }
}

impl<S: SendTo> SendTo for Option<S> {
    type Item = S::Item;
    fn target(&self) -> Option<&Hchan<S::Item>> {
        self.as_ref().and_then(S::target)
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

/// A `recv` arm.
#[doc(hidden)]
pub struct RecvArm<'a, T> {
    chan: Option<&'a Hchan<T>>,
    slot: MaybeUninit<T>,
    outcome: Cell<Outcome>,
}

impl<'a, T> RecvArm<'a, T> {
    #[inline]
    pub fn new<R: RecvFrom<Item = T>>(from: &'a R) -> Self {
        RecvArm {
            chan: from.source(),
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
        match self.chan {
            // A slot that was filled is not lent again.
            Some(c) if self.outcome.get() == Outcome::Lost => {
                let place = self.slot.as_mut_ptr().cast();
                // SAFETY: by 1; the slot has room for a T.
                unsafe { Scase::new(&c.header, Dir::Recv, place, Some(&self.outcome)) }
            }
            _ => Scase::disabled(),
        }
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
    pub fn new<S: SendTo<Item = T>>(to: &'a S, value: T) -> Self {
        SendArm {
            chan: to.target(),
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
        match self.chan {
            // A value that was sent is not lent again.
            Some(c) if self.outcome.get() == Outcome::Lost => {
                let place = self.value.as_mut_ptr().cast();
                // SAFETY: by 1 and 2 the value is there.
                unsafe { Scase::new(&c.header, Dir::Send, place, Some(&self.outcome)) }
            }
            _ => Scase::disabled(),
        }
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
fn no_result(e: &SelectError) -> ! {
    std::panic::panic_any(e.to_string())
}

/// The end of `select!`'s chain of arms, which is not reached.
#[doc(hidden)]
#[cold]
pub fn no_arm() -> ! {
    unreachable!("a select ended without an arm")
}

/// A select over a list of channels of one type, made at run time.
///
/// Go: `reflect.Select`.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, select::Select};
/// let channels: Vec<_> = (0..20).map(|_| chan::<usize>(1)).collect();
/// channels[13].0.send(7);
/// let mut select = Select::new();
/// for (_, rx) in &channels {
///     select.recv(rx);
/// }
/// let done = select.wait();
/// assert_eq!((done.index, done.value), (13, Some(7)));
/// ```
pub struct Select<'a, T> {
    cases: Vec<Case<'a, T>>,
    biased: bool,
}

impl<T> Default for Select<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T> Select<'a, T> {
    /// A select without cases.
    ///
    /// # Examples
    /// ```
    /// assert!(go_lib::select::Select::<u8>::new().try_wait().is_none());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Select { cases: Vec::new(), biased: false }
    }

    /// Adds a receive; its index.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (tx, rx) = chan(1);
    /// tx.send('x');
    /// let mut select = Select::new();
    /// assert_eq!(select.recv(&rx), 0);
    /// assert_eq!(select.wait().value, Some('x'));
    /// ```
    pub fn recv(&mut self, from: &'a Receiver<T>) -> usize {
        self.cases.push(Case::Recv(from.hchan()));
        self.cases.len() - 1
    }

    /// Adds a send of `value`, which is dropped if another case wins; its index.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (tx, rx) = chan(1);
    /// let mut select = Select::new();
    /// select.send(&tx, 1);
    /// assert_eq!(select.wait().index, 0);
    /// assert_eq!(rx.recv(), Some(1));
    /// ```
    pub fn send(&mut self, to: &'a Sender<T>, value: T) -> usize {
        self.cases.push(Case::Send(to.hchan(), Some(value)));
        self.cases.len() - 1
    }

    /// Takes the first case that can proceed, in the order in which they were added, instead of a
    /// random one.
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let ((tx, rx), (tx2, rx2)) = (chan(1), chan(1));
    /// tx.send(1);
    /// tx2.send(2);
    /// let mut select = Select::new().in_order();
    /// select.recv(&rx);
    /// select.recv(&rx2);
    /// assert_eq!(select.wait().value, Some(1));
    /// ```
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.biased = true;
        self
    }

    /// Waits until a case can proceed, and does it.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: if a send on a closed channel is chosen.
    ///
    /// # Examples
    /// See [`Select`].
    pub fn wait(self) -> Selected<T> {
        match self.go(Wait::Block) {
            Ok(done) => done,
            Err(e) => no_result(&e),
        }
    }

    /// Does a case if one can proceed now.
    ///
    /// Blocks: nothing. Panics: as [`wait`](Select::wait).
    ///
    /// # Examples
    /// See [`Select::new`].
    pub fn try_wait(self) -> Option<Selected<T>> {
        self.limited(Wait::Try)
    }

    /// Waits until a case can proceed, and does it, but not longer than `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: as [`wait`](Select::wait).
    ///
    /// # Examples
    /// ```
    /// use go_lib::{chan::chan, select::Select};
    /// let (_tx, rx) = chan::<u8>(1);
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// assert!(select.wait_timeout(std::time::Duration::from_millis(1)).is_none());
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Option<Selected<T>> {
        self.limited(Wait::Until(deadline_after(timeout)))
    }

    fn limited(self, wait: Wait) -> Option<Selected<T>> {
        match self.go(wait) {
            Ok(done) => Some(done),
            Err(SelectError::WouldBlock | SelectError::Timeout) => None,
            Err(e) => no_result(&e),
        }
    }

    fn go(mut self, wait: Wait) -> Result<Selected<T>, SelectError> {
        select::selectgo(&mut self.cases, wait, self.biased)
    }
}
