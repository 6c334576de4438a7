//! Cancelling: its effect on goroutines in blocks, waiters on a channel, and registered functions.

use go_lib::runtime::embedder::nanotime;

use super::ambient;
use super::entry::Block;
use super::node::{Context, Kind, Why};
use super::tree::{self, Effects};
use crate::bridge::alarm::{self, HostAlarm};
use crate::core::goroutine::handle::GoroutineObj;
use crate::core::goroutine::{start_goroutine, vars_for_spawn, Spec, Vars};
use crate::ffi::class::{this, Object};
use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::obj::Raw;
use crate::ffi::python::write_unraisable;
use crate::ffi::refs::{release, New, Outcome, Raised, Ref};

/// Cancels `ctx`, a node that the caller holds, and all nodes below it. False: it was done already. Runs Python code.
pub(crate) fn cancel(
    gil: Gil<'_>,
    ctx: &Object<Context>,
    why: Why,
    cause: Option<Ref<'_>>,
) -> bool {
    if ctx.has_ended(gil.exclusive()) {
        return false;
    }
    let Effects { ended, mut functions, released } = tree::mark_all(gil, ctx, why, cause);
    if ended.is_empty() {
        // Nothing was allocated for it.
        std::mem::forget(ended);
    } else {
        tell_all(gil, ended);
    }
    // The user's code runs from here on.
    while let Some(function) = functions.pop() {
        start_after_func(gil, ambient::as_context(&function));
        function.release(gil);
    }
    released.release(gil);
    true
}

/// Tells everything that waits for the end of these nodes. Closing and interrupting run no Python code. Never inlined:
/// [`cancel`] owns nothing that needs dropping while it runs Python code.
#[inline(never)]
fn tell_all<'g>(gil: Gil<'g>, ended: Vec<&'g Object<Context>>) {
    let x = gil.exclusive();
    for node in ended {
        // SAFETY: the node keeps its channel.
        let channel = unsafe { node.done.peek(x) };
        if let (Some(close), Some(channel)) = (node.close.get(x), channel) {
            close(gil, channel);
        }
        interrupt_all(x, node);
    }
}

/// Interrupts the goroutine in a block under `node`, unless a shield lies above that.
fn interrupt_all(x: Exclusive<'_>, node: &Object<Context>) {
    let mut at = node.entries.get(x);
    while let Some(e) = at {
        let mut over = Some(e);
        while let Some(block) = over.filter(|block| block.kind != Block::Shield) {
            over = block.above.get(x);
        }
        if over.is_none() {
            if let Some(gref) = e.holder().gref.get() {
                gref.interrupt();
            }
        }
        at = e.next.get(x);
    }
}

/// Cancels the goroutine with the handle `slf`. False: it has ended.
///
/// # Safety
/// `slf` is a handle, alive.
pub(crate) unsafe fn cancel_goroutine(gil: Gil<'_>, slf: Raw) -> Outcome<bool> {
    // SAFETY: a handle, whose goroutine has not ended.
    let holder = unsafe {
        if GoroutineObj::done(slf).is_set() {
            return Ok(false);
        }
        ambient::of_goroutine(gil, slf)
    };
    let root = ambient::root_of(gil, holder)?.object().own(gil);
    cancel(gil, ambient::as_context(&root), Why::Canceled, None);
    root.release(gil);
    Ok(true)
}

/// As [`tree::make_cancel`], with a deadline of its own (monotonic; past: done at once) for the cause `cause`.
pub(crate) fn make_deadline(
    gil: Gil<'_>,
    parent: &Object<Context>,
    deadline_ns: i64,
    cause: Option<Ref<'_>>,
) -> Outcome<New> {
    let c = tree::make_cancel(gil, parent)?;
    let x = gil.exclusive();
    // If not, the parent's comes first.
    if !c.has_ended(x) && deadline_ns < c.deadline_ns.get(x) {
        c.deadline_ns.set(x, deadline_ns);
        if deadline_ns <= nanotime() {
            c.timed_out.set(x, true);
            cancel(gil, &c, Why::DeadlineExceeded, cause);
        } else {
            // The cause that it will have, until it is done.
            release(gil, c.cause.put(x, cause.map(|cause| cause.own(gil))));
            let alarm = HostAlarm::new(c.object(), deadline_passed);
            if let Err(raised) = tree::set_alarm(gil, &c, alarm) {
                return Err(give_up(gil, c.into_new(), raised));
            }
        }
    }
    Ok(c.into_new())
}

/// Drops what could not be completed.
#[cold]
fn give_up(gil: Gil<'_>, made: New, raised: Raised) -> Raised {
    made.release(gil);
    raised
}

/// The caller's wait was interrupted, perhaps by the alarm of a block that it is in: acts on every deadline that has passed
/// there. The servant does the rest. No wait is under way, and no exception is set. Runs Python code.
pub(crate) fn expire(gil: Gil<'_>) {
    // Each look begins anew, since what a cancellation drops may change the blocks.
    while let Some(node) = passed(gil) {
        let node = node.object().own(gil);
        deadline_passed(gil, node.get());
        node.release(gil);
    }
    alarm::hand_on(gil);
}

/// A node above the caller whose own deadline has passed unnoticed.
fn passed(gil: Gil<'_>) -> Option<&Object<Context>> {
    let x = gil.exclusive();
    let mut at = current_top(gil, x);
    let now_ns = if at.is_some() { nanotime() } else { 0 };
    while let Some(e) = at {
        let mut above = e.context(x).node(x);
        while let Some(node) = above {
            if !node.alarm.get(x).is_null() && node.deadline_ns.get(x) <= now_ns {
                return Some(node);
            }
            above = node.up.get(x);
        }
        at = e.below.get(x);
    }
    None
}

fn current_top<'g>(gil: Gil<'g>, x: Exclusive<'g>) -> Option<&'g super::entry::Entry> {
    ambient::current(gil).and_then(|holder| holder.top.get(x))
}

/// The action of an alarm.
fn deadline_passed(gil: Gil<'_>, ctx: Ref<'_>) {
    // SAFETY: the alarm is a context's.
    let ctx: &Object<Context> = unsafe { this(ctx.as_raw()) };
    let x = gil.exclusive();
    if ctx.has_ended(x) {
        return;
    }
    ctx.timed_out.set(x, true);
    let cause = ctx.cause.get(gil);
    cancel(gil, ctx, Why::DeadlineExceeded, cause.as_ref().map(New::get));
    release(gil, cause);
}

/// A function that is called, in a goroutine of its own, once `parent` is done; `args`, a tuple, is taken over.
pub(crate) fn make_after_func(
    gil: Gil<'_>,
    parent: &Object<Context>,
    function: Ref<'_>,
    args: New,
) -> Outcome<New> {
    let x = gil.exclusive();
    let c = match tree::make(gil, Kind::AfterFunc, parent) {
        Ok(c) => c,
        Err(raised) => return Err(give_up(gil, args, raised)),
    };
    release(gil, c.key.put(x, Some(function.own(gil))));
    release(gil, c.value.put(x, Some(args)));
    match vars_for_spawn(gil) {
        Ok(vars) => release(gil, c.vars.put(x, vars)),
        Err(raised) => return Err(give_up(gil, c.into_new(), raised)),
    }
    if c.node(x).is_some() {
        if tree::attach(gil, &c) {
            tree::pin(gil, &c);
        } else {
            start_after_func(gil, &c);
        }
    }
    Ok(c.into_new())
}

/// Starts the goroutine of a registered function whose time has come; the caller holds it.
fn start_after_func(gil: Gil<'_>, c: &Object<Context>) {
    let x = gil.exclusive();
    let (function, args, vars) = (c.key.take(x), c.value.take(x), c.vars.take(x));
    // Else the collector was faster.
    let Some(function) = function else { return };
    let started = match args {
        Some(args) => {
            let vars = Vars::Given(vars);
            start_goroutine(gil, Spec { vars, ..Spec::new(function.get(), args) }).map(Some)
        }
        None => Ok(None), // as above
    };
    match started {
        Ok(handle) => release(gil, handle),
        Err(_) => write_unraisable(gil, function.get()),
    }
    function.release(gil);
}
