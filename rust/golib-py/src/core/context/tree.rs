//! The tree of contexts: who is cancelled with whom.
//!
//! A context that can be cancelled is a *node*. Others (values, the background) depend on the node above them, or on none.
//! A node hangs in the list of the node above it. That list does not keep its nodes alive, so a context that nobody uses
//! any more is gone at once, cancelled or not (Go keeps it until its parent is cancelled). It keeps what still has
//! something to do: a function registered by `after_func`, and all nodes by whose cancellation that could be called.
//!
//! The tree says what is to be done when nodes end ([`Effects`]); [`cancel`](super::cancel) does it.
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

use pyo3::ffi;

use super::node::{ContextObj, Kind, Why, CONTEXT, NO_DEADLINE};
use crate::ffi::obj::{self, Pile, Raw};
use crate::ffi::raw::instance;

/// A new context under `parent` (borrowed; null only for a background); null with an exception set.
///
/// # Safety
/// The GIL is held; `parent` is a Context.
pub(crate) unsafe fn make(kind: Kind, parent: Raw) -> Raw {
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

/// Puts a new node into the tree: under the node that it depends on so far, if there is one. False: that is done, and by
/// that the new one too.
pub(super) unsafe fn attach(c: *mut ContextObj) -> bool {
    // SAFETY: by 1 and 2.
    unsafe {
        let up = (*c).node;
        (*c).node = c;
        if up.is_null() {
            return true;
        }
        if (*up).is_done() {
            (*c).why = (*up).why;
            ffi::Py_XINCREF((*up).cause);
            (*c).cause = (*up).cause;
            return false;
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
    true
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
pub(super) unsafe fn pin(mut c: *mut ContextObj) {
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

/// What is to be done when nodes have ended, for nothing of it is done here.
pub(super) struct Effects {
    /// Nodes of which somebody has to be told: who is in a block under it, who waits for its channel. They live until
    /// `released` is released.
    pub(super) ended: Vec<*mut ContextObj>,
    /// Registered functions whose time has come; the one registered first lies on top.
    pub(super) functions: Pile,
    /// References that are no longer needed.
    pub(super) released: Pile,
}

/// Makes `c`, which the caller holds, and everybody below it done, by 4.
pub(super) unsafe fn mark_all(c: *mut ContextObj, why: Why, cause: Raw) -> Effects {
    let mut effects = Effects { ended: Vec::new(), functions: Pile::new(), released: Pile::new() };
    let Effects { ended, functions, released } = &mut effects;
    let mut below: Vec<*mut ContextObj> = Vec::new();
    let mut at = c;
    // SAFETY: by 1 and 2; those in `below` are held by `released`.
    unsafe {
        loop {
            if !(*at).is_done() {
                mark(at, why, cause, released);
                if (*at).close.is_some() || !(*at).entries.is_null() {
                    ended.push(at);
                }
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
                None => return effects,
            }
        }
    }
}

/// Makes one node done. References that are no longer needed go to `released`.
unsafe fn mark(c: *mut ContextObj, why: Why, cause: Raw, released: &mut Pile) {
    // SAFETY: by 1.
    unsafe {
        (*c).why = why;
        ffi::Py_XINCREF(cause);
        let unused = ptr::replace(&raw mut (*c).cause, cause);
        if !unused.is_null() {
            released.push(unused);
        }
        stop_alarm(c);
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

/// `stop()` of a registered function: true if it will not be called.
///
/// # Safety
/// The GIL is held; `slf` is a node of that kind.
pub(crate) unsafe fn stop_after_func(slf: Raw) -> bool {
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
pub(crate) unsafe fn traverse(c: *mut ContextObj, visit: &mut dyn FnMut(Raw) -> i32) -> i32 {
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
pub(crate) unsafe fn leave(c: *mut ContextObj) {
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
pub(crate) unsafe fn clear(c: *mut ContextObj) {
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
pub(crate) unsafe fn drop_parent(c: *mut ContextObj) {
    // SAFETY: it has left the tree, and nobody refers to it.
    unsafe { obj::clear(&raw mut (*c).parent) };
}
