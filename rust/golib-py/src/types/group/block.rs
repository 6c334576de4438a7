//! The block of `golib.scope`: its beginning, and its end, which waits for the members.
//!
//! It is not written in Python because a signal handler may raise before any instruction of Python code: a Ctrl-C between the
//! last line of a block and the wait for its members would leave the members behind.
//!
//! # Invariants
//! 1. No member is running when the Python part of the end, `_outcome`, is called.

use super::{wait_for_members, Group};
use crate::core::context::ambient::{self, Begun};
use crate::core::context::entry::Block;
use crate::core::context::tree;
use crate::ffi::class::Object;
use crate::ffi::errors;
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::entry;
use crate::ffi::obj::Name;
use crate::ffi::python::{
    call2, is_error_of, none_ref, raise_object, runtime_error, take_error, type_error,
};
use crate::ffi::refs::{release, New, Outcome, Ref};

use go_lib::runtime::embedder::Wait;
use pyo3::ffi;

static OUTCOME: Name = Name::new(c"_outcome");

/// `_enter()`: accepts members from now on, and runs them under the block's context.
pub(super) fn enter(gil: Gil<'_>, group: &Object<Group>) -> Outcome<New> {
    let parent = ambient::innermost(gil)?;
    let ctx = tree::make_cancel(gil, ambient::as_context(&parent));
    parent.release(gil);
    let ctx = ctx?;
    if let Err(raised) = group.adopt(gil, &ctx) {
        ctx.release(gil);
        return Err(raised);
    }
    // The end of the block looks the entry up.
    let _ = ambient::push(gil, ctx.into_new(), Block::Context).into_raw();
    Ok(group.object().own(gil))
}

// `_exit(kind, error, tb)`: the end of the block.
entry! { EXIT: golib_entry_group_exit => group_exit fast(entry, group: Group, args) {
    let [_, error, _] = args.positional() else {
        return Err(errors::fail(entry.gil(), type_error(), "__exit__() takes 3 arguments"));
    };
    leave(entry, group, *error)
} }

/// Leaves the block; `error` is the exception that left it, or None.
fn leave(entry: &mut Entry, group: &Object<Group>, error: Ref<'_>) -> Outcome<New> {
    leave_context(entry.gil(), group)?;
    if !error.is_none() && cancels(entry.gil(), group, error) {
        group.cancel_context(entry.gil(), Some(error));
    }
    let mut late = None;
    let joined = join(entry, group, error, &mut late);
    let gil = entry.gil();
    if let Err(raised) = joined {
        release(gil, late);
        return Err(raised);
    }
    // Goroutines that still run under its context have no reason to continue.
    group.cancel_context(gil, None);
    if let Some(ctx) = group.context(gil) {
        // An exception that passes through the block holds its frame, which may hold the group. So the group's context
        // must not hold that exception.
        let context = ambient::as_context(&ctx);
        tree::forget_cause(gil, context, Some(error));
        tree::forget_cause(gil, context, late.as_ref().map(New::get));
        ctx.release(gil);
    }
    let result = outcome(gil, group, error, late.as_ref().map(New::get));
    release(gil, late);
    result
}

/// Until now the group's context could cancel the caller too; from here on only those around it can.
fn leave_context(gil: Gil<'_>, group: &Object<Group>) -> Outcome<()> {
    let Some(ctx) = group.context(gil) else {
        return Err(errors::fail(gil, runtime_error(), "the scope was not entered"));
    };
    let block = ambient::block_of(gil, ambient::as_context(&ctx));
    ctx.release(gil);
    match block {
        Some(block) => {
            ambient::pop(gil, block);
            Ok(())
        }
        None => Err(errors::fail(gil, runtime_error(), "the scope has ended")),
    }
}

/// Whether the block's failure by `error` cancels the members.
fn cancels(gil: Gil<'_>, group: &Object<Group>, error: Ref<'_>) -> bool {
    // SAFETY: set before any extension is imported, and alive forever.
    let exception = unsafe { Ref::borrowed(ffi::PyExc_Exception) };
    group.cancel_on_error || !is_error_of(gil, error, exception)
}

/// Waits for all members and accepts no more. An exception that interrupts the wait cancels the members and is put into `late`.
/// Err if the wait was interrupted a second time, so that members may still be running.
fn join(
    entry: &mut Entry,
    group: &Object<Group>,
    error: Ref<'_>,
    late: &mut Option<New>,
) -> Outcome<()> {
    loop {
        // The GIL is held, so no member is added between the last look and this.
        let gil = entry.gil();
        if guard(gil, || group.counts(gil).members.wait(Wait::Try))?.is_ok() {
            group.closed.set(gil.exclusive(), true);
            return Ok(());
        }
        if wait_for_members(entry, group).is_ok() {
            continue;
        }
        let gil = entry.gil();
        let Some(interrupt) = take_error(gil) else { continue };
        group.cancel_context(gil, Some(interrupt.get()));
        // A second Ctrl-C leaves the members behind, which is better than to hang.
        if is_ctrl_c(gil, error) && is_ctrl_c(gil, interrupt.get()) {
            return Err(raise_object(gil, interrupt));
        }
        release(gil, late.replace(interrupt));
        wait_in_shield(entry, group)?;
    }
}

fn is_ctrl_c(gil: Gil<'_>, error: Ref<'_>) -> bool {
    // SAFETY: set before any extension is imported, and alive forever.
    is_error_of(gil, error, unsafe { Ref::borrowed(ffi::PyExc_KeyboardInterrupt) })
}

/// Waits for all members, whatever has been cancelled.
fn wait_in_shield(entry: &mut Entry, group: &Object<Group>) -> Outcome<()> {
    let shield: Begun = ambient::push_shield(entry.gil())?;
    let waited = wait_for_members(entry, group);
    // The shield's end may run Python code, which must not see the exception.
    let raised = match &waited {
        Ok(()) => None,
        Err(_) => take_error(entry.gil()),
    };
    ambient::pop(entry.gil(), shield);
    match raised {
        Some(error) => Err(raise_object(entry.gil(), error)),
        None => waited,
    }
}

/// Calls `self._outcome(error, late)`, which raises the scope's result.
fn outcome(
    gil: Gil<'_>,
    group: &Object<Group>,
    error: Ref<'_>,
    late: Option<Ref<'_>>,
) -> Outcome<New> {
    // SAFETY: alive; a new reference, or null with an exception set.
    let method = unsafe { New::made(OUTCOME.of(group.object().as_raw())) }?;
    let result = call2(gil, method.get(), error, late.unwrap_or(none_ref()));
    method.release(gil);
    result
}
