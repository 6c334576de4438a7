//! A context, as data.
//!
//! The invariants are those of the [`tree`](super::tree).

use pyo3::ffi::{self, PyObject};

use super::entry::Entry;
use crate::bridge::alarm::HostAlarm;
use crate::ffi::obj::{Global, Raw};
use crate::ffi::raw::instance;

/// The type `golib.context.Context`.
pub(crate) static CONTEXT: Global = Global::new();
/// `background()`.
pub(crate) static BACKGROUND: Global = Global::new();

/// `todo()`.
pub(crate) static TODO: Global = Global::new();

/// `background()`, borrowed.
pub(crate) fn background() -> Raw {
    BACKGROUND.get()
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

/// What a context is; zero is the kind of a fresh instance.
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

/// Why a node is done; zero is the state of a fresh instance.
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

/// An instance of `golib.context.Context`.
#[repr(C)]
pub(crate) struct ContextObj {
    ob_base: PyObject,
    pub(crate) weaklist: Raw,
    pub(crate) kind: Kind,
    pub(crate) why: Why,
    /// It was its own deadline that ended it.
    pub(crate) timed_out: bool,
    /// By 3.
    pub(super) held_by_up: bool,
    pub(super) held_by_alarm: bool,
    /// Owned; null for the background.
    pub(crate) parent: Raw,
    /// The nearest node, itself or above; null if nothing can cancel it. By 2.
    pub(crate) node: *mut ContextObj,
    /// The earliest deadline from here upwards, monotonic.
    pub(crate) deadline_ns: i64,
    /// The node in whose list it is; null for none.
    pub(super) up: *mut ContextObj,
    pub(super) prev: *mut ContextObj,
    pub(super) next: *mut ContextObj,
    /// The ends of its own list.
    pub(super) first: *mut ContextObj,
    pub(super) last: *mut ContextObj,
    pub(super) pins: usize,
    /// The blocks under it, see `ambient::list_of`.
    pub(crate) entries: *mut Entry,
    /// A share; null without an own deadline.
    pub(super) alarm: *const HostAlarm,
    /// The channel that `done()` shows; null until somebody asks. `close` closes it, and is set with it.
    pub(crate) done: Raw,
    pub(crate) close: Option<unsafe fn(channel: Raw)>,
    /// What `err()` gives; null until somebody asks.
    pub(crate) error: Raw,
    /// Null if none was given.
    pub(crate) cause: Raw,
    /// `with_value`'s key and value; `after_func`'s function and arguments.
    pub(crate) key: Raw,
    pub(crate) value: Raw,
    /// The context variables with which `after_func`'s function runs; null: none.
    pub(super) vars: Raw,
}

impl ContextObj {
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.why != Why::Alive
    }
}

/// True if `ctx`, a Context, is done.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn is_done(ctx: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let node = (*instance::<ContextObj>(ctx)).node;
        !node.is_null() && (*node).is_done()
    }
}

/// Checks an argument that must be a Context; None: a TypeError is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn checked(object: Raw) -> Option<Raw> {
    // SAFETY: the GIL is held.
    unsafe {
        if ffi::Py_TYPE(object).cast() == CONTEXT.get() {
            return Some(object);
        }
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"a Context is needed, not %s".as_ptr(),
            (*ffi::Py_TYPE(object)).tp_name,
        );
        None
    }
}
