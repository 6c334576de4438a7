//! The block of `golib.scope`: its beginning, and its end, which awaits the members.
//!
//! It is not Python code because a signal's handler may raise before any instruction of that: a Ctrl-C between the last
//! line of a block and the wait for its members would leave them behind.
//!
//! # Invariants
//! 1. When the end's Python part, `_outcome`, is called no member runs.

use std::ptr;

use go_lib::runtime::embedder::Wait;
use pyo3::ffi;

use super::{adopt, cancel_ctx, group, wait_for_members};
use crate::core::context::entry::Block;
use crate::core::context::{ambient, tree};
use crate::ffi::errors;
use crate::ffi::obj::{Name, Raw};
use crate::ffi::raw::{guard, parking, Record};

static OUTCOME: Name = Name::new(c"_outcome");

/// `_enter()`: takes members from now on, under a context that is the block's.
pub(super) unsafe extern "C" fn enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method of Group.
    unsafe {
        let parent = ambient::innermost();
        if parent.is_null() {
            return parent;
        }
        let ctx = tree::make_cancel(parent);
        ffi::Py_DECREF(parent);
        if ctx.is_null() {
            return ctx;
        }
        if !adopt(slf, ctx) {
            ffi::Py_DECREF(ctx);
            return ptr::null_mut();
        }
        ambient::push(ctx, Block::Context);
        ffi::Py_INCREF(slf);
    }
    slf
}

// `_exit(kind, error, tb)`: the end of the block.
parking!(golib_entry_group_exit => group_exit(slf, args, n; record) {
    // SAFETY: a METH_FASTCALL method of Group; the caller owns the arguments.
    unsafe {
        if n != 3 {
            return errors::raise(ffi::PyExc_TypeError, "__exit__() takes 3 arguments");
        }
        leave(slf, *args.add(1), record)
    }
});

/// Leaves the block, which `error` (or None) has left.
unsafe fn leave(slf: Raw, error: Raw, record: Record) -> Raw {
    // SAFETY: a method of Group.
    unsafe {
        if !leave_context(slf) {
            return ptr::null_mut();
        }
        if error != ffi::Py_None() && cancels(slf, error) {
            cancel_ctx(slf, error);
        }
        let mut late = ptr::null_mut();
        if !join(slf, error, &mut late, record) {
            ffi::Py_XDECREF(late);
            return ptr::null_mut();
        }
        // Whoever still works under its context need not.
        cancel_ctx(slf, ptr::null_mut());
        // What passes through the block holds its frame, which may hold us: our context must not hold that.
        tree::forget_cause(group(slf).ctx, error);
        tree::forget_cause(group(slf).ctx, late);
        outcome(slf, error, late)
    }
}

/// Cancelled so far by the group's context too: from here on by those around it only. False: an exception is set.
unsafe fn leave_context(slf: Raw) -> bool {
    // SAFETY: a method of Group.
    unsafe {
        let ctx = group(slf).ctx;
        if ctx.is_null() {
            errors::set(ffi::PyExc_RuntimeError, "the scope was not entered");
            return false;
        }
        let entry = ambient::block_of(ctx);
        if entry.is_null() {
            errors::set(ffi::PyExc_RuntimeError, "the scope has ended");
            return false;
        }
        ambient::pop(entry);
    }
    true
}

/// Whether the block's failure by `error` cancels the members.
unsafe fn cancels(slf: Raw, error: Raw) -> bool {
    // SAFETY: a group; an exception.
    unsafe {
        group(slf).cancel_on_error
            || ffi::PyErr_GivenExceptionMatches(error, ffi::PyExc_Exception) == 0
    }
}

/// Waits for all members and takes none any more. What interrupted that is put into `late` (owned), and has cancelled
/// the members. False: an exception is set and members may be left, for it was interrupted again.
unsafe fn join(slf: Raw, error: Raw, late: &mut Raw, record: Record) -> bool {
    // SAFETY: the GIL is held: none is added between the last look and the deed.
    unsafe {
        loop {
            match guard(|| group(slf).members.wait(Wait::Try)) {
                Some(Ok(())) => break,
                Some(Err(_)) => {}
                None => return false,
            }
            let waited = wait_for_members(slf, record);
            if !waited.is_null() {
                ffi::Py_DECREF(waited);
                continue;
            }
            let interrupt = errors::fetch();
            cancel_ctx(slf, interrupt);
            // A second interruption of this kind leaves them behind: better than to hang.
            if is_ctrl_c(error) && is_ctrl_c(interrupt) {
                errors::restore(interrupt);
                return false;
            }
            ffi::Py_XDECREF(ptr::replace(late, interrupt));
            if !wait_in_shield(slf, record) {
                return false;
            }
        }
        group(slf).closed = true;
    }
    true
}

unsafe fn is_ctrl_c(error: Raw) -> bool {
    // SAFETY: None or an exception.
    unsafe { ffi::PyErr_GivenExceptionMatches(error, ffi::PyExc_KeyboardInterrupt) != 0 }
}

/// Waits for all members, whatever is cancelled. False: an exception is set.
unsafe fn wait_in_shield(slf: Raw, record: Record) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        let shield = ambient::push_shield();
        if shield.is_null() {
            return false;
        }
        let waited = wait_for_members(slf, record);
        ambient::pop(shield);
        ffi::Py_XDECREF(waited);
        !waited.is_null()
    }
}

/// `self._outcome(error, late)`, which raises what the scope came to. `late` (owned, may be null) is dropped.
unsafe fn outcome(slf: Raw, error: Raw, late: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let method = OUTCOME.of(slf);
        if method.is_null() {
            ffi::Py_XDECREF(late);
            return ptr::null_mut();
        }
        let args = [error, if late.is_null() { ffi::Py_None() } else { late }];
        let result = ffi::PyObject_Vectorcall(method, args.as_ptr(), args.len(), ptr::null_mut());
        ffi::Py_DECREF(method);
        ffi::Py_XDECREF(late);
        result
    }
}
