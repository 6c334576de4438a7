//! Cancelling: what it does to those who are in blocks, wait for a channel, or have registered a function.

use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::{nanotime, GRef};
use pyo3::ffi;

use super::ambient;
use super::entry::Block;
use super::node::{is_done, ContextObj, Kind, Why};
use super::tree::{self, Effects};
use crate::bridge::alarm::{self, HostAlarm};
use crate::core::goroutine::handle::GoroutineObj;
use crate::core::goroutine::{start_goroutine, Spec};
use crate::cpython::tstate;
use crate::ffi::obj::Raw;
use crate::ffi::raw::instance;

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
        let Effects { ended, mut functions, released } = tree::mark_all(instance(ctx), why, cause);
        tell_all(ended);
        // The user's code runs from here on.
        while let Some(function) = functions.pop() {
            start_after_func(function);
            ffi::Py_DECREF(function);
        }
        released.release();
        true
    }
}

/// Tells everybody who waits for the end of these nodes. Never inlined: [`cancel`] owns nothing that needs dropping while
/// it runs Python code.
#[inline(never)]
unsafe fn tell_all(ended: Vec<*mut ContextObj>) {
    for node in ended {
        // SAFETY: alive, see `Effects`. Closing and interrupting run no Python code.
        unsafe {
            if let Some(close) = (*node).close {
                close((*node).done);
            }
            interrupt_all(node);
        }
    }
}

/// Interrupts whoever is in a block under `node`, unless a shield lies above that.
unsafe fn interrupt_all(node: *mut ContextObj) {
    // SAFETY: by 1 and 2 of `ambient`: an interrupt runs no Python code.
    unsafe {
        let mut e = (*node).entries;
        while !e.is_null() {
            let mut over = e;
            while !over.is_null() && (*over).kind != Block::Shield {
                over = (*over).above;
            }
            if over.is_null() {
                if let Some(gref) = (*(*e).holder).gref.get() {
                    gref.interrupt();
                }
            }
            e = (*e).next;
        }
    }
}

/// Cancels the goroutine with the handle `slf`. None: an exception is set; false: it has ended.
///
/// # Safety
/// The GIL is held; `slf` is a handle.
pub(crate) unsafe fn cancel_goroutine(slf: Raw) -> Option<bool> {
    // SAFETY: the caller's duty; the root is the holder's for as long as the goroutine lives.
    unsafe {
        if GoroutineObj::done(slf).is_set() {
            return Some(false);
        }
        let root = ambient::root_of(&*ambient::of_goroutine(slf));
        if root.is_null() {
            return None;
        }
        ffi::Py_INCREF(root);
        cancel(root, Why::Canceled, ptr::null_mut());
        ffi::Py_DECREF(root);
        Some(true)
    }
}

/// As [`tree::make_cancel`], with a deadline of its own (monotonic; past: done at once) for the cause `cause` (borrowed or null).
///
/// # Safety
/// As [`tree::make`].
pub(crate) unsafe fn make_deadline(
    parent: Raw,
    deadline_ns: i64,
    cause: Raw,
    whom: Option<GRef>,
) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = tree::make_cancel(parent);
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
        let alarm = HostAlarm::new(slf, deadline_passed, whom);
        let set = alarm.set(deadline_ns);
        (*c).alarm = Arc::into_raw(alarm);
        if set.is_none() {
            ffi::Py_DECREF(slf);
            return ptr::null_mut();
        }
        slf
    }
}

/// The caller's wait was interrupted, perhaps by the alarm of a block that it is in: acts on every deadline that has passed
/// there. The servant has what is left.
///
/// # Safety
/// The GIL is held; no wait is under way, and no exception is set.
pub(crate) unsafe fn expire() {
    // SAFETY: the caller's duty. Each look begins anew, since what a cancellation drops may change the blocks.
    unsafe {
        while let Some(node) = passed() {
            ffi::Py_INCREF(node.cast());
            deadline_passed(node.cast());
            ffi::Py_DECREF(node.cast());
        }
        alarm::hand_on();
    }
}

/// A node above the caller whose own deadline has passed unnoticed.
unsafe fn passed() -> Option<*mut ContextObj> {
    // SAFETY: by 1 and 2 of `ambient`.
    unsafe {
        let holder = ambient::current();
        let mut e = if holder.is_null() { ptr::null_mut() } else { (*holder).top.get() };
        let now_ns = if e.is_null() { 0 } else { nanotime() };
        while !e.is_null() {
            let mut node = (*instance::<ContextObj>((*e).ctx)).node;
            while !node.is_null() {
                if !(*node).alarm.is_null() && (*node).deadline_ns <= now_ns {
                    return Some(node);
                }
                node = (*node).up;
            }
            e = (*e).below;
        }
        None
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

/// A function that is called, in a goroutine of its own, once `parent` is done; `args` (a tuple) is taken over. Null with
/// an exception set.
///
/// # Safety
/// As [`tree::make`].
pub(crate) unsafe fn make_after_func(parent: Raw, function: Raw, args: Raw) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = tree::make(Kind::AfterFunc, parent);
        if slf.is_null() {
            ffi::Py_DECREF(args);
            return slf;
        }
        let c = instance::<ContextObj>(slf);
        ffi::Py_INCREF(function);
        (*c).key = function;
        (*c).value = args;
        match tstate::vars_for_spawn() {
            Ok(vars) => (*c).vars = vars,
            Err(()) => {
                ffi::Py_DECREF(slf);
                return ptr::null_mut();
            }
        }
        if !(*c).node.is_null() {
            if tree::attach(c) {
                tree::pin(c);
            } else {
                start_after_func(slf);
            }
        }
        slf
    }
}

/// Starts the goroutine of a registered function whose time has come.
unsafe fn start_after_func(slf: Raw) {
    // SAFETY: a node of that kind, held by the caller.
    unsafe {
        let c = instance::<ContextObj>(slf);
        let function = ptr::replace(&raw mut (*c).key, ptr::null_mut());
        let args = ptr::replace(&raw mut (*c).value, ptr::null_mut());
        let vars = ptr::replace(&raw mut (*c).vars, ptr::null_mut());
        if function.is_null() {
            return; // the collector was faster
        }
        let g = start_goroutine(Spec { vars: Some(vars), ..Spec::new(function, args) });
        if g.is_null() {
            ffi::PyErr_WriteUnraisable(function);
        }
        ffi::Py_XDECREF(g);
        ffi::Py_DECREF(function);
    }
}
