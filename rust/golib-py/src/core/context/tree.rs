//! The tree of contexts: who is cancelled with whom.
//!
//! A context that can be cancelled is a *node*. Others (values, the background) depend on the node above them, or on none.
//! A node hangs in the list of the node above it. That list does not keep its nodes alive, so a context that nobody uses
//! any more is gone at once, cancelled or not (Go keeps it until its parent is cancelled). It keeps what still has
//! something to do: a function registered by `after_func`, and all nodes by whose cancellation that could be called.
//!
//! # Invariants
//! 1. Everything here is read and written with the GIL held.
//! 2. A node refers to its parent, and by way of it to the node above, `up`; it leaves that one's list before it dies.
//! 3. `pins` counts the registered functions below a node, or 1 for a node that is one. While it is not zero the list of
//!    `up` owns a reference (`held_by_up`), and so does an alarm that is set (`held_by_alarm`).
//! 4. A node is marked, and everybody below it, before any code of the user's can run.
//!
//! Go: context/context.go (propagateCancel, cancelCtx.cancel)

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::nanotime;
use pyo3::ffi::{self, PyObject};

use super::ambient::{self, Entry};
use super::CONTEXT;
use crate::bridge::alarm::HostAlarm;
use crate::core::goroutine::{self, Spec};
use crate::ffi::obj::{self, Pile, Raw};
use crate::ffi::raw::{guard, instance};
use crate::types::chan;

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
    pub(super) weaklist: Raw,
    pub(super) kind: Kind,
    pub(super) why: Why,
    /// It was its own deadline that ended it.
    pub(super) timed_out: bool,
    /// By 3.
    held_by_up: bool,
    held_by_alarm: bool,
    /// Owned; null for the background.
    pub(super) parent: Raw,
    /// The nearest node, itself or above; null if nothing can cancel it. By 2.
    pub(super) node: *mut ContextObj,
    /// The earliest deadline from here upwards, monotonic.
    pub(super) deadline_ns: i64,
    /// The node in whose list it is; null for none.
    up: *mut ContextObj,
    prev: *mut ContextObj,
    next: *mut ContextObj,
    /// The ends of its own list.
    first: *mut ContextObj,
    last: *mut ContextObj,
    pins: usize,
    /// The blocks under it, see `ambient::list_of`.
    pub(super) entries: *mut Entry,
    /// A share; null without an own deadline.
    alarm: *const HostAlarm,
    /// The channel that `done()` shows; null until somebody asks.
    pub(super) done: Raw,
    /// What `err()` gives; null until somebody asks.
    pub(super) error: Raw,
    /// Null if none was given.
    pub(super) cause: Raw,
    /// `with_value`'s key and value; `after_func`'s function and arguments.
    pub(super) key: Raw,
    pub(super) value: Raw,
    /// The contextvars with which `after_func`'s function runs; null: none.
    vars: Raw,
}

impl ContextObj {
    #[inline]
    pub(super) fn is_done(&self) -> bool {
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

/// A new context under `parent` (borrowed; null only for a background); null with an exception set.
///
/// # Safety
/// The GIL is held; `parent` is a Context.
pub(super) unsafe fn make(kind: Kind, parent: Raw) -> Raw {
    // SAFETY: the caller's duty; a fresh instance is zeroed.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(CONTEXT.get().cast(), 0);
        if slf.is_null() {
            return slf;
        }
        let c = instance::<ContextObj>(slf);
        (*c).kind = kind;
        (*c).deadline_ns = NO_DEADLINE;
        if parent.is_null() {
            return slf;
        }
        ffi::Py_INCREF(parent);
        (*c).parent = parent;
        let p = instance::<ContextObj>(parent);
        if kind != Kind::WithoutCancel {
            (*c).node = (*p).node;
            (*c).deadline_ns = (*p).deadline_ns;
        }
        slf
    }
}

/// A new node under `parent`, done if that is done; null with an exception set.
///
/// # Safety
/// As [`make`].
pub(crate) unsafe fn make_cancel(parent: Raw) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make(Kind::Cancel, parent);
        if !slf.is_null() {
            attach(instance(slf));
        }
        slf
    }
}

/// As [`make_cancel`], with a deadline of its own (monotonic; past: done at once) for the cause `cause` (borrowed or null).
///
/// # Safety
/// As [`make`].
pub(crate) unsafe fn make_deadline(parent: Raw, deadline_ns: i64, cause: Raw) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make_cancel(parent);
        if slf.is_null() || is_done(slf) {
            return slf;
        }
        let c = instance::<ContextObj>(slf);
        if deadline_ns >= (*c).deadline_ns {
            // The parent's comes first.
            return slf;
        }
        (*c).deadline_ns = deadline_ns;
        if deadline_ns <= nanotime() {
            (*c).timed_out = true;
            cancel(slf, Why::DeadlineExceeded, cause);
            return slf;
        }
        // Until it is done, the cause it will have.
        ffi::Py_XINCREF(cause);
        (*c).cause = cause;
        let alarm = HostAlarm::new(slf, deadline_passed);
        let set = alarm.set(deadline_ns);
        (*c).alarm = Arc::into_raw(alarm);
        if set.is_none() {
            ffi::Py_DECREF(slf);
            return ptr::null_mut();
        }
        slf
    }
}

/// A function that is called, in a goroutine of its own, once `parent` is done; `args` (a tuple) is taken over. Null with
/// an exception set.
///
/// # Safety
/// As [`make`].
pub(super) unsafe fn make_after_func(parent: Raw, function: Raw, args: Raw) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make(Kind::AfterFunc, parent);
        if slf.is_null() {
            ffi::Py_DECREF(args);
            return slf;
        }
        let c = instance::<ContextObj>(slf);
        ffi::Py_INCREF(function);
        (*c).key = function;
        (*c).value = args;
        match crate::cpython::tstate::context_for_spawn() {
            Ok(vars) => (*c).vars = vars,
            Err(()) => {
                ffi::Py_DECREF(slf);
                return ptr::null_mut();
            }
        }
        if is_done(parent) {
            attach(c);
        } else if !(*c).node.is_null() {
            attach(c);
            pin(c);
        }
        slf
    }
}

/// Puts a new node into the tree: under the node that it depends on so far, if there is one.
unsafe fn attach(c: *mut ContextObj) {
    // SAFETY: by 1 and 2.
    unsafe {
        let up = (*c).node;
        (*c).node = c;
        if up.is_null() {
            return;
        }
        if (*up).is_done() {
            cancel(c.cast(), (*up).why, (*up).cause);
            return;
        }
        (*c).up = up;
        (*c).prev = (*up).last;
        if (*up).last.is_null() {
            (*up).first = c;
        } else {
            (*(*up).last).next = c;
        }
        (*up).last = c;
    }
}

/// Takes `c` out of the list of the node above; references that are no longer needed go to `released`.
unsafe fn detach(c: *mut ContextObj, released: &mut Pile) {
    // SAFETY: by 1 and 2.
    unsafe {
        let up = (*c).up;
        if up.is_null() {
            return;
        }
        if (*c).prev.is_null() {
            (*up).first = (*c).next;
        } else {
            (*(*c).prev).next = (*c).next;
        }
        if (*c).next.is_null() {
            (*up).last = (*c).prev;
        } else {
            (*(*c).next).prev = (*c).prev;
        }
        (*c).up = ptr::null_mut();
        (*c).prev = ptr::null_mut();
        (*c).next = ptr::null_mut();
        if (*c).held_by_up {
            (*c).held_by_up = false;
            released.push(c.cast());
            unpin(up, released);
        }
    }
}

/// Counts one more reason to keep `c`. By 3.
unsafe fn pin(mut c: *mut ContextObj) {
    // SAFETY: by 1 and 2.
    unsafe {
        loop {
            (*c).pins += 1;
            if (*c).pins > 1 {
                return;
            }
            if !(*c).alarm.is_null() {
                ffi::Py_INCREF(c.cast());
                (*c).held_by_alarm = true;
            }
            if (*c).up.is_null() {
                return;
            }
            ffi::Py_INCREF(c.cast());
            (*c).held_by_up = true;
            c = (*c).up;
        }
    }
}

/// Takes a [`pin`] back.
unsafe fn unpin(mut c: *mut ContextObj, released: &mut Pile) {
    // SAFETY: by 1 and 2; what is released is dropped later, so `c` stays.
    unsafe {
        loop {
            (*c).pins -= 1;
            if (*c).pins > 0 {
                return;
            }
            if (*c).held_by_alarm {
                (*c).held_by_alarm = false;
                released.push(c.cast());
            }
            if !(*c).held_by_up {
                return;
            }
            (*c).held_by_up = false;
            released.push(c.cast());
            c = (*c).up;
        }
    }
}

/// Lets go of the cause of `ctx` if it is `error` (which may be null): what is left is that it was cancelled.
///
/// # Safety
/// The GIL is held; the caller holds `ctx` and `error`, so that nothing is freed here.
pub(crate) unsafe fn forget_cause(ctx: Raw, error: Raw) {
    // SAFETY: the caller's duty.
    unsafe {
        let c: *mut ContextObj = instance(ctx);
        if !error.is_null() && (*c).cause == error {
            obj::clear(&raw mut (*c).cause);
        }
    }
}

/// Cancels `ctx`, a node, and everybody below it. False: it was done already.
///
/// # Safety
/// The GIL is held; the caller holds `ctx`; `cause` is borrowed or null.
pub(crate) unsafe fn cancel(ctx: Raw, why: Why, cause: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        if (*instance::<ContextObj>(ctx)).is_done() {
            return false;
        }
        let mut released = Pile::new();
        let mut functions = Pile::new();
        mark_all(instance(ctx), why, cause, &mut released, &mut functions);
        // The user's code runs from here on. The function registered first lies on top.
        while let Some(function) = functions.pop() {
            call_after_func(function);
            ffi::Py_DECREF(function);
        }
        released.release();
        true
    }
}

/// Makes `c` and everybody below it done, by 4; registered functions whose time has come go to `functions`.
#[inline(never)]
unsafe fn mark_all(
    c: *mut ContextObj,
    why: Why,
    cause: Raw,
    released: &mut Pile,
    functions: &mut Pile,
) {
    let mut below: Vec<*mut ContextObj> = Vec::new();
    let mut at = c;
    // SAFETY: by 1 and 2; those in `below` are held by `released`.
    unsafe {
        loop {
            if !(*at).is_done() {
                mark(at, why, cause, released);
                if (*at).held_by_alarm {
                    (*at).held_by_alarm = false;
                    released.push(at.cast());
                }
                detach(at, released);
                let mut child = (*at).first;
                while !child.is_null() {
                    ffi::Py_INCREF(child.cast());
                    released.push(child.cast());
                    below.push(child);
                    child = (*child).next;
                }
                if (*at).kind == Kind::AfterFunc {
                    ffi::Py_INCREF(at.cast());
                    functions.push(at.cast());
                }
            }
            match below.pop() {
                Some(next) => at = next,
                None => return,
            }
        }
    }
}

/// Makes one node done and tells those who wait for it. References that are no longer needed go to `released`.
unsafe fn mark(c: *mut ContextObj, why: Why, cause: Raw, released: &mut Pile) {
    // SAFETY: by 1. Closing and interrupting run no Python code.
    unsafe {
        (*c).why = why;
        ffi::Py_XINCREF(cause);
        let unused = ptr::replace(&raw mut (*c).cause, cause);
        if !unused.is_null() {
            released.push(unused);
        }
        stop_alarm(c);
        if !(*c).done.is_null() {
            close_done(c);
        }
        if !(*c).entries.is_null() {
            ambient::interrupt_all(c);
        }
    }
}

/// Closes the channel of `done()`.
#[inline(never)]
pub(super) unsafe fn close_done(c: *mut ContextObj) {
    // SAFETY: a Chan with a channel; nobody else closes it.
    unsafe {
        if let Some(h) = chan::hchan((*c).done).as_ref() {
            let _ = guard(|| h.close());
        }
    }
}

/// Stops the alarm of `c`, for good.
#[inline(never)]
unsafe fn stop_alarm(c: *mut ContextObj) {
    // SAFETY: the share that make_deadline left.
    unsafe {
        let alarm = ptr::replace(&raw mut (*c).alarm, ptr::null());
        if !alarm.is_null() {
            Arc::from_raw(alarm).forget();
        }
    }
}

/// In a forked child, where no alarm is set: sets those of `ctx` and of all above.
///
/// # Safety
/// The GIL is held; `ctx` is a Context.
pub(super) unsafe fn set_again(ctx: Raw) {
    // SAFETY: the caller's duty; the alarm's share stays with the node.
    unsafe {
        let mut c = (*instance::<ContextObj>(ctx)).node;
        while !c.is_null() {
            if !(*c).alarm.is_null() {
                let alarm = ManuallyDrop::new(Arc::from_raw((*c).alarm));
                if alarm.set((*c).deadline_ns).is_none() {
                    ffi::PyErr_WriteUnraisable(c.cast());
                }
            }
            c = (*c).up;
        }
    }
}

/// An alarm's act.
unsafe fn deadline_passed(ctx: Raw) {
    // SAFETY: called by the servant.
    unsafe {
        let c = instance::<ContextObj>(ctx);
        if (*c).is_done() {
            return;
        }
        (*c).timed_out = true;
        cancel(ctx, Why::DeadlineExceeded, (*c).cause);
    }
}

/// Starts the goroutine of a registered function whose time has come.
unsafe fn call_after_func(slf: Raw) {
    // SAFETY: a node of that kind, held by the caller.
    unsafe {
        let c = instance::<ContextObj>(slf);
        let function = ptr::replace(&raw mut (*c).key, ptr::null_mut());
        let args = ptr::replace(&raw mut (*c).value, ptr::null_mut());
        let vars = ptr::replace(&raw mut (*c).vars, ptr::null_mut());
        if function.is_null() {
            return; // the collector was faster
        }
        let g = goroutine::start(Spec { vars: Some(vars), ..Spec::new(function, args) });
        if g.is_null() {
            ffi::PyErr_WriteUnraisable(function);
        }
        ffi::Py_XDECREF(g);
        ffi::Py_DECREF(function);
    }
}

/// `stop()` of a registered function: true if it will not be called.
///
/// # Safety
/// The GIL is held; `slf` is a node of that kind.
pub(super) unsafe fn stop_after_func(slf: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let c = instance::<ContextObj>(slf);
        if (*c).is_done() {
            return false;
        }
        (*c).why = Why::Canceled;
        let mut released = Pile::new();
        detach(c, &mut released);
        for slot in [&raw mut (*c).key, &raw mut (*c).value, &raw mut (*c).vars] {
            obj::clear(slot);
        }
        released.release();
        true
    }
}

/// Shows the collector what `c` refers to; by 3 also those below that its list keeps.
pub(super) unsafe fn traverse(c: *mut ContextObj, visit: &mut dyn FnMut(Raw) -> i32) -> i32 {
    // SAFETY: a tp_traverse.
    unsafe {
        let own = [(*c).parent, (*c).done, (*c).error, (*c).cause, (*c).key, (*c).value, (*c).vars];
        let mut stop = 0;
        for object in own {
            if stop == 0 && !object.is_null() {
                stop = visit(object);
            }
        }
        let mut child = (*c).first;
        while stop == 0 && !child.is_null() {
            if (*child).held_by_up {
                stop = visit(child.cast());
            }
            child = (*child).next;
        }
        stop
    }
}

/// Takes a dying node, or one that the collector found to be garbage, out of the tree.
pub(super) unsafe fn leave(c: *mut ContextObj) {
    // SAFETY: by 1 and 2.
    unsafe {
        stop_alarm(c);
        let mut released = Pile::new();
        detach(c, &mut released);
        released.release();
    }
}

/// Drops what `c` refers to, but its parent: nodes below are in the list of one above for as long as they live, so the
/// collector may not take what lies between from them. It need not: no cycle consists of parents only.
pub(super) unsafe fn clear(c: *mut ContextObj) {
    // SAFETY: it has left the tree.
    unsafe {
        for slot in [
            &raw mut (*c).done,
            &raw mut (*c).error,
            &raw mut (*c).cause,
            &raw mut (*c).key,
            &raw mut (*c).value,
            &raw mut (*c).vars,
        ] {
            obj::clear(slot);
        }
    }
}

/// Drops the parent of a context that dies.
pub(super) unsafe fn drop_parent(c: *mut ContextObj) {
    // SAFETY: it has left the tree, and nobody refers to it.
    unsafe { obj::clear(&raw mut (*c).parent) };
}
