//! Select: a goroutine waits for whichever of several channel operations can proceed first.
//!
//! [`core`] does it on untyped channels; here is the face for a list of cases of one type.
//!
//! Go: runtime/select.go, reflect.Select

pub(crate) mod core;

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;

use self::core::{Arm, Outcome};
use crate::runtime::block::chan::core::{Dir, HchanHeader};
use crate::runtime::block::chan::Hchan;
use crate::runtime::object::wait::Wait;

/// One case of a select.
pub enum Case<'a, T> {
    /// Receive.
    Recv(&'a Hchan<T>),
    /// Send the value, which is taken out if the case wins; `None` disables the case.
    Send(&'a Hchan<T>, Option<T>),
    /// Never ready: the nil channel.
    Disabled,
}

/// The outcome of a select.
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

// SAFETY: a send's value stays in its case during the select; receives have the select's place.
unsafe impl<T> Arm for Case<'_, T> {
    #[inline(always)]
    fn channel(&self) -> Option<&HchanHeader> {
        match self {
            Case::Recv(c) | Case::Send(c, Some(_)) => Some(&c.header),
            Case::Send(_, None) | Case::Disabled => None,
        }
    }

    #[inline(always)]
    fn dir(&self) -> Dir {
        match self {
            Case::Send(..) => Dir::Send,
            Case::Recv(_) | Case::Disabled => Dir::Recv,
        }
    }

    #[inline(always)]
    fn elem(&self, place: *mut ()) -> *mut () {
        match self {
            Case::Send(_, Some(value)) => ptr::from_ref(value).cast_mut().cast(),
            _ => place,
        }
    }
}

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
    let chosen = core::selectgo(cases, slot.as_mut_ptr().cast(), wait, biased)?;
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
