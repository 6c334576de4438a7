//! `select`, and how a [`Select`](prepared) waits.
//!
//! | file | holds |
//! |---|---|
//! | [`case`] | a case: `recv(ch)`, `send(ch, value)`, and what else `select` takes for one |
//! | [`prepared`] | `Select` |
//!
//! # Invariants
//! 1. During a select every case's channel is held alive by a reference: the caller's arguments, or those that
//!    `Select.wait` takes for the time of the wait.
//! 2. A Case never changes; a Select's list of cases is changed under the GIL only.

mod case;
mod prepared;

use std::mem::MaybeUninit;
use std::ptr;

use go_lib::runtime::embedder::{selectgo, Case, SelectError, Wait, WaitReason};
use pyo3::ffi::{self, Py_ssize_t};

use crate::core::results;
use crate::core::waits;
use crate::ffi::errors;
use crate::ffi::obj::{self, Obj, Raw};
use crate::ffi::raw::{arguments, guard_wait, parking, wait_of, Record};
use crate::types::chan::on_nil;

use case::case_of;
pub(crate) use case::{recv, send};

/// So many cases need no allocation.
const INLINE: usize = 16;

parking!(golib_entry_select => select(_module, args, n, kwnames; record) {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function; the arguments hold the channels.
    unsafe {
        let Some(options) = options("select", args, n, kwnames, record) else {
            return ptr::null_mut();
        };
        run(args, n as usize, options)
    }
});

/// How to select.
#[derive(Clone, Copy)]
struct Options {
    wait: Wait,
    /// As it was given, for TimeoutError's text.
    timeout: Raw,
    default: bool,
    biased: bool,
    record: Record,
}

/// The keyword arguments of `select`; None: an exception is set.
#[inline(always)]
unsafe fn options(
    function: &'static str,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
    record: Record,
) -> Option<Options> {
    if kwnames.is_null() {
        return Some(Options {
            wait: Wait::Block,
            timeout: ptr::null_mut(),
            default: false,
            biased: false,
            record,
        });
    }
    // SAFETY: the vectorcall protocol: the values of the keywords follow the n positional arguments.
    unsafe {
        let names = [c"default", c"timeout", c"biased"];
        let [default, timeout, biased] =
            arguments(function, &names, 0, args.add(n as usize), 0, kwnames)?;
        let truth = |flag: Raw| if flag.is_null() { 0 } else { ffi::PyObject_IsTrue(flag) };
        let (default, biased) = (truth(default), truth(biased));
        if default < 0 || biased < 0 {
            return None;
        }
        let wait = wait_of(timeout)?;
        let wait = if default == 1 { Wait::Try } else { wait };
        Some(Options { wait, timeout, default: default == 1, biased: biased == 1, record })
    }
}

/// Selects among the `n` cases at `given`.
#[inline(always)]
unsafe fn run(given: *const Raw, n: usize, options: Options) -> Raw {
    if n > INLINE {
        // SAFETY: the caller's arguments.
        return unsafe { run_many(given, n, options) };
    }
    let mut cases = [const { MaybeUninit::<Case<'_, Obj>>::uninit() }; INLINE];
    // SAFETY: as above.
    unsafe { run_in(&mut cases[..n], given, options) }
}

/// The same for more cases than the frame has room for.
#[cold]
#[inline(never)]
unsafe fn run_many(given: *const Raw, n: usize, options: Options) -> Raw {
    let mut cases: Vec<_> = (0..n).map(|_| MaybeUninit::<Case<'_, Obj>>::uninit()).collect();
    // SAFETY: the caller's arguments.
    unsafe { run_in(&mut cases, given, options) }
}

#[inline(always)]
unsafe fn run_in(
    room: &mut [MaybeUninit<Case<'_, Obj>>],
    given: *const Raw,
    options: Options,
) -> Raw {
    let mut disabled = 0;
    for i in 0..room.len() {
        // SAFETY: `given` has as many elements as the room.
        match unsafe { case_of(*given.add(i)) } {
            Some(case) => {
                disabled += usize::from(matches!(case, Case::Disabled));
                room[i].write(case);
            }
            None => {
                drop_cases(&mut room[..i]);
                return ptr::null_mut();
            }
        }
    }
    // SAFETY: all of them were written; a MaybeUninit has its content's layout.
    let cases = unsafe {
        std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<Case<'_, Obj>>(), room.len())
    };
    // SAFETY: the GIL is held, no wait is under way.
    let result = unsafe {
        if disabled < cases.len() {
            wait_in(cases, options)
        } else if options.default {
            results::selected(-1, obj::none(), false)
        } else {
            on_nil(options.wait, options.timeout, WaitReason::SelectNoCases, options.record)
        }
    };
    drop_cases(room);
    result
}

/// Drops the values that were not sent. Their cases hold them too, so this frees nothing.
#[inline]
fn drop_cases(cases: &mut [MaybeUninit<Case<'_, Obj>>]) {
    for case in cases {
        // SAFETY: the caller's cases are written.
        unsafe { case.assume_init_drop() };
    }
}

#[inline(always)]
unsafe fn wait_in(cases: &mut [Case<'_, Obj>], options: Options) -> Raw {
    loop {
        // SAFETY: the GIL is held, no wait is under way.
        unsafe {
            match guard_wait(options.record, || selectgo(cases, options.wait, options.biased)) {
                Some(Ok(selected)) => {
                    let value = selected.value.map_or_else(|| obj::none(), Obj::into_raw);
                    return results::selected(selected.index as i64, value, selected.ok);
                }
                Some(Err(error)) => {
                    if let Some(result) = select_failed(error, options) {
                        return result;
                    }
                }
                None => return ptr::null_mut(),
            }
        }
    }
}

/// What a select without a winner returns; None: try again.
#[cold]
#[inline(never)]
unsafe fn select_failed(error: SelectError, options: Options) -> Option<Raw> {
    // SAFETY: the GIL is held, no wait is under way.
    unsafe {
        Some(match error {
            SelectError::WouldBlock if options.default => results::selected(-1, obj::none(), false),
            SelectError::WouldBlock | SelectError::Timeout => {
                waits::timed_out("select", options.timeout)
            }
            SelectError::SendOnClosed(_) => errors::send_on_closed(),
            SelectError::Deadlock => waits::deadlock(),
            SelectError::Interrupted if waits::interrupted() => return None,
            SelectError::Interrupted => ptr::null_mut(),
        })
    }
}

/// Makes the types. False: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> bool {
    // SAFETY: the caller's duty.
    unsafe { case::init() && prepared::init() }
}

/// The types with the names they have in the module.
pub(crate) fn types() -> [(&'static std::ffi::CStr, Raw); 2] {
    [(c"Case", case::CASE.get()), (c"Select", prepared::SELECT.get())]
}
