//! Select: a goroutine waits for whichever of several channel operations can proceed first.
//!
//! [`core`] does it on untyped channels; here is the face for a list of cases of one type.
//!
//! Go: runtime/select.go, reflect.Select

pub(crate) mod core;

use std::fmt;
use std::mem::MaybeUninit;

use self::core::{Outcome, Scase};
use crate::runtime::chan::core::Dir;
use crate::runtime::chan::{Hchan, Wait};

/// One case of a select.
pub enum Case<'a, T> {
    /// Receive.
    Recv(&'a Hchan<T>),
    /// Send the value, which is taken out if the case wins; `None` disables the case.
    Send(&'a Hchan<T>, Option<T>),
    /// Never ready: the nil channel.
    Disabled,
}

/// What a select did.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, select::{Select, Selected}};
/// let (tx, rx) = chan(1);
/// tx.send('x');
/// let mut select = Select::new();
/// select.recv(&rx);
/// assert_eq!(select.wait(), Selected { index: 0, value: Some('x'), ok: true });
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Selected<T> {
    /// Which case.
    pub index: usize,
    /// The value of a receive; `None` from a closed channel.
    pub value: Option<T>,
    /// False: a receive from a closed channel.
    pub ok: bool,
}

/// Why a select did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectError {
    /// No case can proceed ([`Wait::Try`]).
    WouldBlock,
    /// The deadline passed.
    Timeout,
    /// The host interrupted the goroutine.
    Interrupted,
    /// All goroutines are asleep.
    Deadlock,
    /// The case with this index won and is a send on a closed channel.
    SendOnClosed(usize),
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SelectError::WouldBlock => "no case of the select is ready",
            SelectError::Timeout => "select timed out",
            SelectError::Interrupted => "select was interrupted",
            SelectError::Deadlock => "all goroutines are asleep - deadlock!",
            SelectError::SendOnClosed(_) => "send on closed channel",
        })
    }
}

impl std::error::Error for SelectError {}

/// Cases of which the untyped form fits the stack.
const INLINE: usize = 8;

/// Waits as `wait` says until one of `cases` can proceed and does it: among several that can, a
/// random one, or (`biased`) the first. The value of a send case is gone if it won.
///
/// Blocks: the goroutine or the OS thread.
///
/// # Errors
/// See [`SelectError`]; all values to send are still in their cases.
pub fn selectgo<T>(
    cases: &mut [Case<'_, T>],
    wait: Wait,
    biased: bool,
) -> Result<Selected<T>, SelectError> {
    // One place for all receives: only one of them can happen.
    let mut slot = MaybeUninit::<T>::uninit();
    let place: *mut () = slot.as_mut_ptr().cast();
    let chosen = if cases.len() <= INLINE {
        let mut raw = [const { MaybeUninit::<Scase<'_>>::uninit() }; INLINE];
        for (to, case) in raw.iter_mut().zip(cases.iter_mut()) {
            to.write(untyped(case, place));
        }
        // SAFETY: so many were written; a MaybeUninit has its content's layout.
        let raw = unsafe { std::slice::from_raw_parts(raw.as_ptr().cast(), cases.len()) };
        core::selectgo(raw, wait, biased)
    } else {
        let raw: Vec<Scase<'_>> = cases.iter_mut().map(|c| untyped(c, place)).collect();
        core::selectgo(&raw, wait, biased)
    }?;
    let index = chosen.index;
    match (&mut cases[index], chosen.outcome) {
        (Case::Send(_, v), Outcome::Passed) => {
            // The channel has it.
            std::mem::forget(v.take());
            Ok(Selected { index, value: None, ok: true })
        }
        (Case::Send(..), _) => Err(SelectError::SendOnClosed(index)),
        (_, Outcome::Passed) => {
            // SAFETY: Passed: a value was moved into the place.
            let value = unsafe { slot.assume_init() };
            Ok(Selected { index, value: Some(value), ok: true })
        }
        _ => Ok(Selected { index, value: None, ok: false }),
    }
}

/// The untyped form of `case`, receiving into `place`.
fn untyped<'a, T>(case: &'a mut Case<'_, T>, place: *mut ()) -> Scase<'a> {
    match case {
        // SAFETY: place has room for a T, outlives the select, and only one receive uses it.
        Case::Recv(c) => unsafe { Scase::new(&c.header, Dir::Recv, place, None) },
        Case::Send(c, Some(v)) => {
            let elem = std::ptr::from_mut(v).cast();
            // SAFETY: v is a T that stays in its case during the select.
            unsafe { Scase::new(&c.header, Dir::Send, elem, None) }
        }
        Case::Send(_, None) | Case::Disabled => Scase::disabled(),
    }
}
