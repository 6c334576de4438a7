//! A context, as data.
//!
//! The invariants are those of the [`tree`](super::tree).

use super::entry::Entry;
use super::link::Link;
use crate::bridge::alarm::HostAlarm;
use crate::ffi::class::{this, Object, TypeCell, Weaklist, Zeroed};
use crate::ffi::errors;
use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::obj::Global;
use crate::ffi::python::{class_name, type_error};
use crate::ffi::refs::{Field, Outcome, Ref, Slot};

/// The type `golib.context.Context`.
pub(crate) static CONTEXT: TypeCell<Context> = TypeCell::new();
/// `background()`.
pub(crate) static BACKGROUND: Global = Global::new();
/// `todo()`.
pub(crate) static TODO: Global = Global::new();

/// `background()`.
pub(crate) fn background() -> &'static Object<Context> {
    // SAFETY: made at import, and kept for as long as the process lives.
    unsafe { this(BACKGROUND.get()) }
}

/// `todo()`.
pub(crate) fn todo() -> &'static Object<Context> {
    // SAFETY: as `background`.
    unsafe { this(TODO.get()) }
}

/// The text of the exception that `err()` gives.
pub(crate) fn text_of(why: Why) -> &'static str {
    match why {
        Why::DeadlineExceeded => "context deadline exceeded",
        Why::Alive | Why::Canceled => "context canceled",
    }
}

/// The deadline of a context without one.
pub(crate) const NO_DEADLINE: i64 = i64::MAX;

/// The kind of a context.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// `background()`.
    Background = 0,
    /// `todo()`.
    Todo,
    /// A node.
    Cancel,
    /// A node that is a function to be called, not shown to anybody.
    AfterFunc,
    /// `with_value`.
    Value,
    /// `without_cancel`, and what `shield()` gives.
    WithoutCancel,
}

/// Why a node is done.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Why {
    /// It is not.
    Alive = 0,
    /// "context canceled".
    Canceled,
    /// "context deadline exceeded".
    DeadlineExceeded,
}

/// Closes a channel that `done()` has made.
pub(crate) type Close = fn(Gil<'_>, Ref<'_>);

/// The fields of `golib.context.Context`.
pub(crate) struct Context {
    pub(crate) weaklist: Weaklist,
    pub(crate) kind: Kind,
    pub(crate) why: Field<Why>,
    /// Its own deadline ended it.
    pub(crate) timed_out: Field<bool>,
    /// By 3.
    pub(super) held_by_up: Field<bool>,
    pub(super) held_by_alarm: Field<bool>,
    /// Empty for the background.
    pub(crate) parent: Slot,
    /// The nearest node, itself or above; none if nothing can cancel it. By 2.
    pub(super) node: Link<Object<Context>>,
    /// The earliest deadline from here upwards, monotonic.
    pub(crate) deadline_ns: Field<i64>,
    /// The node in whose list it is.
    pub(super) up: Link<Object<Context>>,
    pub(super) prev: Link<Object<Context>>,
    pub(super) next: Link<Object<Context>>,
    /// The ends of its own list.
    pub(super) first: Link<Object<Context>>,
    pub(super) last: Link<Object<Context>>,
    pub(super) pins: Field<usize>,
    /// The blocks under it, see `ambient::list_of`.
    pub(super) entries: Link<Entry>,
    /// A share; null without an own deadline.
    pub(super) alarm: Field<*const HostAlarm>,
    /// The channel that `done()` shows, once somebody has asked. `close` closes it, and is set with it.
    pub(crate) done: Slot,
    pub(crate) close: Field<Option<Close>>,
    /// The result of `err()`, once somebody has asked.
    pub(crate) error: Slot,
    /// Empty if none was given.
    pub(crate) cause: Slot,
    /// `with_value`'s key and value; `after_func`'s function and arguments.
    pub(crate) key: Slot,
    pub(crate) value: Slot,
    /// The context variables with which `after_func`'s function runs; empty: none.
    pub(super) vars: Slot,
}

// SAFETY: the enums have a zero, and links, slots and fields of pointers and numbers are empty ones then.
unsafe impl Zeroed for Context {}

// Nothing to drop: a frame that has one while Python code runs needs no landing pad.
const _: () = assert!(!std::mem::needs_drop::<Context>());

impl Context {
    /// Of fields that are zero.
    pub(super) fn begin(&mut self, kind: Kind) {
        self.kind = kind;
        self.deadline_ns = Field::new(NO_DEADLINE);
    }

    /// The instance.
    pub(super) fn object(&self) -> &Object<Context> {
        // SAFETY: these fields are only ever made as those of an instance.
        unsafe { Object::of_fields(self) }
    }

    /// Of a node: it has ended.
    #[inline]
    pub(crate) fn has_ended(&self, x: Exclusive<'_>) -> bool {
        self.why.get(x) != Why::Alive
    }

    /// The node whose end ends it too.
    #[inline]
    pub(crate) fn node<'x>(&self, x: Exclusive<'x>) -> Option<&'x Object<Context>> {
        self.node.get(x)
    }

    /// The context from which it was made.
    pub(crate) fn parent<'x>(&self, x: Exclusive<'x>) -> Option<&'x Object<Context>> {
        let parent = self.parent.as_raw(x);
        // SAFETY: a context, which this one holds until it dies.
        (!parent.is_null()).then(|| unsafe { this(parent) })
    }

    /// Why it is done, if it is.
    pub(crate) fn why_done(&self, x: Exclusive<'_>) -> Option<Why> {
        self.node(x).map(|node| node.why.get(x)).filter(|&why| why != Why::Alive)
    }

    /// It is done.
    #[inline]
    pub(crate) fn is_done(&self, x: Exclusive<'_>) -> bool {
        self.node(x).is_some_and(|node| node.has_ended(x))
    }
}

/// Checks an argument that must be a Context.
pub(crate) fn checked<'a>(gil: Gil<'_>, object: Ref<'a>) -> Outcome<&'a Object<Context>> {
    match CONTEXT.cast(gil, object) {
        Some(ctx) => Ok(ctx),
        None => {
            let text = format!("a Context is needed, not {}", class_name(gil, object));
            Err(errors::fail(gil, type_error(), &text))
        }
    }
}
