//! `select`, and how a [`Select`](prepared) waits.
//!
//! | file | holds |
//! |---|---|
//! | [`case`] | a case: `recv(ch)`, `send(ch, value)`, and the other objects that `select` accepts as one |
//! | [`prepared`] | `Select` |
//!
//! # Invariants
//! 1. During a select a reference keeps every case's channel alive: the caller's arguments hold it, or references that
//!    `Select.wait` takes for the duration of the wait.
//! 2. A Case never changes. A Select's list of cases changes only under the GIL.

mod case;
mod prepared;

use std::mem::MaybeUninit;

use go_lib::runtime::embedder::{selectgo, Case, SelectError, WaitReason};

use crate::core::results;
use crate::core::waits;
use crate::ffi::args::{timeout_of, Args, Timeout};
use crate::ffi::errors;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::{entry, Module};
use crate::ffi::obj::Obj;
use crate::ffi::python::{none, truth};
use crate::ffi::refs::{New, Outcome, Ref};
use crate::types::chan::on_nil;

use case::case_of;
pub(crate) use case::{recv_function, send_function};

/// Up to this many cases need no allocation.
const INLINE: usize = 16;

entry! { SELECT: golib_entry_select => select keywords(entry, _module: Module, args) {
    // The arguments hold the channels.
    let options = options(entry.gil(), args)?;
    run(entry, args.positional(), options)
} }

/// How to select.
#[derive(Clone, Copy)]
struct Options {
    timeout: Timeout,
    default: bool,
    biased: bool,
}

/// The keyword arguments of `select`.
#[inline(always)]
fn options(gil: Gil<'_>, args: Args<'_>) -> Outcome<Options> {
    if args.has_no_names() {
        return Ok(Options { timeout: Timeout::NONE, default: false, biased: false });
    }
    let names = [c"default", c"timeout", c"biased"];
    let [default, timeout, biased] = args.rest(args.len()).parse(gil, "select", &names, 0)?;
    let is_true = |flag: Option<Ref<'_>>| flag.map_or(Ok(false), |flag| truth(gil, flag));
    let (default, biased) = (is_true(default)?, is_true(biased)?);
    let timeout = timeout_of(gil, timeout)?;
    let timeout = if default { timeout.at_once() } else { timeout };
    Ok(Options { timeout, default, biased })
}

/// Selects among the cases that were `given`.
#[inline(always)]
fn run(entry: &mut Entry, given: &[Ref<'_>], options: Options) -> Outcome<New> {
    if given.len() > INLINE {
        return run_many(entry, given, options);
    }
    let mut cases = [const { MaybeUninit::<Case<'_, Obj>>::uninit() }; INLINE];
    run_in(entry, &mut cases[..given.len()], given, options)
}

/// The same for more cases than the frame has room for.
#[cold]
#[inline(never)]
fn run_many(entry: &mut Entry, given: &[Ref<'_>], options: Options) -> Outcome<New> {
    let mut cases: Vec<_> = given.iter().map(|_| MaybeUninit::<Case<'_, Obj>>::uninit()).collect();
    run_in(entry, &mut cases, given, options)
}

/// Selects among the cases that were `given`; `room` has space for all of them.
#[inline(always)]
fn run_in<'a>(
    entry: &mut Entry,
    room: &mut [MaybeUninit<Case<'a, Obj>>],
    given: &[Ref<'a>],
    options: Options,
) -> Outcome<New> {
    let mut disabled = 0;
    for (i, given) in given.iter().enumerate().take(room.len()) {
        match case_of(entry.gil(), *given) {
            Ok(case) => {
                disabled += usize::from(matches!(case, Case::Disabled));
                room[i].write(case);
            }
            Err(raised) => {
                // SAFETY: the cases before this one have been written.
                unsafe { drop_cases(&mut room[..i]) };
                return Err(raised);
            }
        }
    }
    // SAFETY: all of them have been written; a MaybeUninit has its content's layout.
    let cases = unsafe {
        std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<Case<'_, Obj>>(), room.len())
    };
    let result = if disabled < cases.len() {
        wait_in(entry, cases, options)
    } else if options.default {
        nothing(entry.gil())
    } else {
        Err(on_nil(entry, options.timeout, WaitReason::SelectNoCases))
    };
    // SAFETY: all of them have been written.
    unsafe { drop_cases(room) };
    result
}

/// Drops the values that were not sent. This frees nothing, because their cases hold them too.
///
/// # Safety
/// The cases have been written.
#[inline]
unsafe fn drop_cases(cases: &mut [MaybeUninit<Case<'_, Obj>>]) {
    for case in cases {
        // SAFETY: the caller says that it has been written.
        unsafe { case.assume_init_drop() };
    }
}

/// The result of a select without cases.
fn nothing(gil: Gil<'_>) -> Outcome<New> {
    results::selected(gil, -1, none(gil), false)
}

#[inline(always)]
fn wait_in(entry: &mut Entry, cases: &mut [Case<'_, Obj>], options: Options) -> Outcome<New> {
    loop {
        match entry.wait(|| selectgo(cases, options.timeout.wait, options.biased))? {
            Ok(selected) => {
                let gil = entry.gil();
                let value = selected.value.map_or_else(|| none(gil), Obj::into_new);
                return results::selected(gil, selected.index as i64, value, selected.ok);
            }
            Err(error) => {
                if let Some(result) = select_failed(entry.gil(), error, options)? {
                    return Ok(result);
                }
            }
        }
    }
}

/// The result of a select in which no case was ready, or None if it must be tried again.
#[cold]
#[inline(never)]
fn select_failed(gil: Gil<'_>, error: SelectError, options: Options) -> Outcome<Option<New>> {
    match error {
        SelectError::WouldBlock if options.default => nothing(gil).map(Some),
        SelectError::WouldBlock | SelectError::Timeout => {
            Err(waits::timed_out(gil, "select", options.timeout))
        }
        SelectError::SendOnClosed(_) => Err(errors::send_on_closed(gil)),
        SelectError::Deadlock => Err(waits::deadlocked(gil)),
        SelectError::Interrupted => waits::interrupted(gil).map(|()| None),
    }
}

/// Makes the types, with their names in the module.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<[(&'static std::ffi::CStr, New); 2]> {
    Ok([(c"Case", case::init(gil)?), (c"Select", prepared::init(gil)?)])
}
