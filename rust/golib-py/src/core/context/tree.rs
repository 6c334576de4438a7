//! The tree of contexts: which ones are cancelled together.
//!
//! A context that can be cancelled is a *node*. Others (values, the background) depend on the node above them, or on none.
//! A node hangs in the list of the node above it. That list does not keep its nodes alive, so a context that nobody uses
//! any more is gone at once, cancelled or not (Go keeps it until its parent is cancelled). It keeps what still has
//! something to do: a function registered by `after_func`, and all nodes by whose cancellation that could be called.
//!
//! The tree lists the actions for nodes that end ([`Effects`]); [`cancel`](super::cancel) performs them.
//!
//! # Invariants
//! 1. Everything here is read and written with the GIL held, and no step that others could see half done runs Python code.
//! 2. A node refers to its parent, and through it to the node above, `up`; it leaves that node's list before it dies.
//! 3. `pins` counts the registered functions below a node, or 1 for a node that is one. While it is not zero the list of
//!    `up` owns a reference (`held_by_up`), and so does an alarm that is set (`held_by_alarm`).
//! 4. A node is marked, and everybody below it, before any code of the user's can run.
//!
//! # Why not the crate's tree
//! go-lib has one (`runtime/block/cancel.rs`), behind locks: a node is five allocations, with a map of its children and a channel.
//! From `with_cancel` to the end of `cancel` it costs 0.5 µs there, and 0.2 µs here with the interpreter's part; a `timeout`
//! block costs less than half of what the crate's `with_timeout` does. One table of scenarios drives both trees
//! (`rust/go-lib/tests/context_scenarios.txt`).
//!
//! Go: context/context.go (propagateCancel, cancelCtx.cancel)

use std::mem::{offset_of, ManuallyDrop};
use std::sync::Arc;

use go_lib::runtime::embedder::GRef;

use super::node::{Context, Kind, Why, CONTEXT};
use crate::bridge::alarm::HostAlarm;
use crate::ffi::class::{Class, Fresh, Object, Visitor};
use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::pile::Pile;
use crate::ffi::python::write_unraisable;
use crate::ffi::refs::{New, Outcome, Ref};

/// A context without a parent.
pub(crate) fn make_root(gil: Gil<'_>, kind: Kind) -> Outcome<Fresh<Context>> {
    CONTEXT.get(gil)?.make_zeroed(gil, |fields| fields.begin(kind))
}

/// A new context under `parent`.
#[inline]
pub(crate) fn make(gil: Gil<'_>, kind: Kind, parent: &Object<Context>) -> Outcome<Fresh<Context>> {
    let c = make_root(gil, kind)?;
    let x = gil.exclusive();
    let nothing = c.parent.put(x, Some(parent.object().own(gil)));
    debug_assert!(nothing.is_none());
    if kind != Kind::WithoutCancel {
        c.node.copy(x, &parent.node);
        c.deadline_ns.set(x, parent.deadline_ns.get(x));
    }
    Ok(c)
}

/// A new node under `parent`, done if that is done.
#[inline(always)]
pub(crate) fn make_cancel(gil: Gil<'_>, parent: &Object<Context>) -> Outcome<Fresh<Context>> {
    let c = make(gil, Kind::Cancel, parent)?;
    attach(gil, &c);
    Ok(c)
}

/// Puts a new node into the tree, under the node that it depends on so far, if there is one. False: that one is done, and
/// so the new one is done too.
pub(super) fn attach(gil: Gil<'_>, c: &Object<Context>) -> bool {
    let x = gil.unobserved("a new context enters the list of the one above");
    let Some(up) = c.node.get(x) else {
        c.node.set(x, Some(c));
        return true;
    };
    c.node.set(x, Some(c));
    if up.has_ended(x) {
        c.why.set(x, up.why.get(x));
        let nothing = c.cause.put(x, up.cause.get(gil));
        debug_assert!(nothing.is_none());
        return false;
    }
    c.up.set(x, Some(up));
    c.prev.copy(x, &up.last);
    match up.last.get(x) {
        None => up.first.set(x, Some(c)),
        Some(last) => last.next.set(x, Some(c)),
    }
    up.last.set(x, Some(c));
    true
}

/// Takes `c` out of the list of the node above; references that are no longer needed go to `released`.
fn detach(x: Exclusive<'_>, c: &Object<Context>, released: &mut Pile) {
    let Some(up) = c.up.get(x) else { return };
    match c.prev.get(x) {
        None => up.first.copy(x, &c.next),
        Some(prev) => prev.next.copy(x, &c.next),
    }
    match c.next.get(x) {
        None => up.last.copy(x, &c.prev),
        Some(next) => next.prev.copy(x, &c.prev),
    }
    for link in [&c.up, &c.prev, &c.next] {
        link.set(x, None);
    }
    if c.held_by_up.replace(x, false) {
        released.push(owned_by_tree(c));
        unpin(x, up, released);
    }
}

/// The reference that a list or an alarm owned, whose flag the caller has cleared.
fn owned_by_tree(c: &Object<Context>) -> New {
    // SAFETY: by 3 there is one for each flag.
    unsafe { New::owned(c.object().as_raw()) }
}

/// Makes the tree own a reference, by 3.
fn give_to_tree(gil: Gil<'_>, c: &Object<Context>) {
    let _ = c.object().own(gil).give();
}

/// Counts one more reason to keep `c`. By 3.
pub(super) fn pin(gil: Gil<'_>, c: &Object<Context>) {
    let x = gil.exclusive();
    let mut c = c;
    loop {
        c.pins.set(x, c.pins.get(x) + 1);
        if c.pins.get(x) > 1 {
            return;
        }
        if !c.alarm.get(x).is_null() {
            give_to_tree(gil, c);
            c.held_by_alarm.set(x, true);
        }
        let Some(up) = c.up.get(x) else { return };
        give_to_tree(gil, c);
        c.held_by_up.set(x, true);
        c = up;
    }
}

/// Takes a [`pin`] back. Released objects are dropped later, so `c` and those above stay.
fn unpin(x: Exclusive<'_>, c: &Object<Context>, released: &mut Pile) {
    let mut c = c;
    loop {
        c.pins.set(x, c.pins.get(x) - 1);
        if c.pins.get(x) > 0 {
            return;
        }
        if c.held_by_alarm.replace(x, false) {
            released.push(owned_by_tree(c));
        }
        if !c.held_by_up.replace(x, false) {
            return;
        }
        released.push(owned_by_tree(c));
        let Some(up) = c.up.get(x) else { return };
        c = up;
    }
}

/// Drops the cause of `ctx` if it is `error`; `ctx` stays cancelled. The caller holds `error`, so that nothing is
/// freed here.
pub(crate) fn forget_cause(gil: Gil<'_>, ctx: &Object<Context>, error: Option<Ref<'_>>) {
    if error.is_some_and(|error| ctx.cause.is(gil.exclusive(), error)) {
        ctx.cause.clear(gil);
    }
}

/// The actions for nodes that have ended; none is performed here.
pub(super) struct Effects<'x> {
    /// Nodes whose end concerns somebody: a goroutine in a block under it, or a waiter on its channel. They live until
    /// `released` is released.
    pub(super) ended: Vec<&'x Object<Context>>,
    /// Registered functions whose time has come; the one registered first lies on top.
    pub(super) functions: Pile,
    /// References that are no longer needed.
    pub(super) released: Pile,
}

/// Makes `c`, which the caller holds, and all nodes below it done, by 4.
pub(super) fn mark_all<'x>(
    gil: Gil<'x>,
    c: &'x Object<Context>,
    why: Why,
    cause: Option<Ref<'_>>,
) -> Effects<'x> {
    let x = gil.unobserved("a cancellation marks all contexts below");
    let mut effects = Effects { ended: Vec::new(), functions: Pile::new(), released: Pile::new() };
    let Effects { ended, functions, released } = &mut effects;
    // Those in it are held by `released`.
    let mut below: Vec<&Object<Context>> = Vec::new();
    let mut at = c;
    loop {
        if !at.has_ended(x) {
            mark(gil, at, why, cause, released);
            if at.close.get(x).is_some() || !at.entries.is_none(x) {
                ended.push(at);
            }
            if at.held_by_alarm.replace(x, false) {
                released.push(owned_by_tree(at));
            }
            detach(x, at, released);
            let mut child = at.first.get(x);
            while let Some(c) = child {
                released.push(c.object().own(gil));
                below.push(c);
                child = c.next.get(x);
            }
            if at.kind == Kind::AfterFunc {
                functions.push(at.object().own(gil));
            }
        }
        match below.pop() {
            Some(next) => at = next,
            None => return effects,
        }
    }
}

/// Makes one node done. References that are no longer needed go to `released`.
fn mark(gil: Gil<'_>, c: &Object<Context>, why: Why, cause: Option<Ref<'_>>, released: &mut Pile) {
    let x = gil.exclusive();
    c.why.set(x, why);
    if let Some(unused) = c.cause.put(x, cause.map(|cause| cause.own(gil))) {
        released.push(unused);
    }
    stop_alarm(gil, c);
}

/// Stops the alarm of `c`, for good.
#[inline(never)]
fn stop_alarm(gil: Gil<'_>, c: &Context) {
    let alarm = c.alarm.replace(gil.exclusive(), std::ptr::null());
    if !alarm.is_null() {
        // SAFETY: the share that `set_alarm` left.
        unsafe { Arc::from_raw(alarm) }.forget(gil);
    }
}

/// Sets the alarm of the node `c` to its deadline. Err: it is not set.
pub(super) fn set_alarm(gil: Gil<'_>, c: &Object<Context>, alarm: Arc<HostAlarm>) -> Outcome<()> {
    let x = gil.exclusive();
    let set = alarm.set(gil, c.deadline_ns.get(x)).map(|_| ());
    c.alarm.set(x, Arc::into_raw(alarm));
    set
}

/// The alarm of the deadline of `ctx`, which may be that of a context above.
#[inline]
fn alarm_of<'x>(x: Exclusive<'x>, ctx: &'x Object<Context>) -> Option<&'x HostAlarm> {
    let mut at = ctx.node(x);
    while let Some(node) = at {
        let alarm = node.alarm.get(x);
        if !alarm.is_null() && node.deadline_ns.get(x) == ctx.deadline_ns.get(x) {
            // SAFETY: the node's share.
            return Some(unsafe { &*alarm });
        }
        at = node.up.get(x);
    }
    None
}

/// The goroutine `own` has entered a block under `ctx`, which has a deadline: its passing concerns `own` first, unless it
/// concerns another one in a block.
#[inline]
pub(super) fn deadline_concerns(x: Exclusive<'_>, ctx: &Object<Context>, own: Option<GRef>) {
    if let Some(alarm) = alarm_of(x, ctx) {
        if !alarm.whom(x).is_some_and(GRef::is_alive) {
            alarm.concerns(x, own);
        }
    }
}

/// `own` leaves a block under `ctx`, which has a deadline: that concerns `heir` in its place, if there is one.
pub(super) fn deadline_concerns_no_more(
    x: Exclusive<'_>,
    ctx: &Object<Context>,
    own: Option<GRef>,
    heir: Option<GRef>,
) {
    if let Some(alarm) = alarm_of(x, ctx).filter(|alarm| alarm.whom(x) == own) {
        alarm.concerns(x, heir);
    }
}

/// In a forked child, where no alarm is set: sets those of `ctx` and of all above.
pub(super) fn set_again(gil: Gil<'_>, ctx: &Object<Context>) {
    let x = gil.exclusive();
    let mut at = ctx.node(x);
    while let Some(c) = at {
        let alarm = c.alarm.get(x);
        if !alarm.is_null() {
            // SAFETY: the node's share, which stays with it.
            let alarm = ManuallyDrop::new(unsafe { Arc::from_raw(alarm) });
            if alarm.set(gil, c.deadline_ns.get(x)).is_err() {
                write_unraisable(gil, c.object());
            }
        }
        at = c.up.get(x);
    }
}

/// `stop()` of a registered function: true if it will not be called.
pub(crate) fn stop_after_func(gil: Gil<'_>, c: &Object<Context>) -> bool {
    let x = gil.exclusive();
    if c.has_ended(x) {
        return false;
    }
    c.why.set(x, Why::Canceled);
    let mut released = Pile::new();
    detach(x, c, &mut released);
    for slot in [&c.key, &c.value, &c.vars] {
        slot.clear(gil);
    }
    released.release(gil);
    true
}

/// Shows the collector the objects to which `c` refers; by 3 these include the nodes below that its list keeps.
fn visit(c: &Context, visitor: &mut Visitor) {
    visitor.slots([&c.parent, &c.done, &c.error, &c.cause, &c.key, &c.value, &c.vars]);
    // SAFETY: the collector runs with the GIL held.
    let x = unsafe { Gil::assume() }.exclusive();
    let mut child = c.first.get(x);
    while let Some(at) = child {
        if at.held_by_up.get(x) {
            visitor.object(at.object());
        }
        child = at.next.get(x);
    }
}

/// Takes a dying node, or one that the collector found to be garbage, out of the tree.
fn leave(gil: Gil<'_>, c: &Object<Context>) {
    stop_alarm(gil, c);
    let mut released = Pile::new();
    detach(gil.exclusive(), c, &mut released);
    released.release(gil);
}

/// Drops what `c`, which has left the tree, refers to, but its parent: nodes below are in the list of one above for as long
/// as they live, so the collector may not take what lies between from them. It need not: no cycle consists of parents only.
fn clear(gil: Gil<'_>, c: &Context) {
    for slot in [&c.done, &c.error, &c.cause, &c.key, &c.value, &c.vars] {
        slot.clear(gil);
    }
}

impl Class for Context {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Context, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visit(self, visitor);
    }

    fn clear(&self, gil: Gil<'_>) {
        leave(gil, self.object());
        clear(gil, self);
    }

    fn leave(slf: &Object<Self>, gil: Gil<'_>) {
        leave(gil, slf);
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        clear(gil, slf);
        slf.parent.clear(gil);
    }
}
