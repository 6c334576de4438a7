//! The functions on a goroutine's stack, from its entry to its end.

use pyo3::ffi;
use std::ptr;

use super::handle::GoroutineObj;
use super::name::name_of;
use super::{child, end, stand_in};
use crate::bridge::main_thread;
use crate::core::context::ambient;
use crate::core::context::entry::Member;
use crate::cpython::{tstate, ThreadState};
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::instance;

/// A goroutine's life, on its own stack. True: the state may serve another goroutine.
///
/// # Safety
/// `slf` is a handle whose goroutine this is, `ts` its state, attached on this thread. By 1 and 4.
pub(crate) unsafe extern "C-unwind" fn goroutine_main(slf: Raw, ts: ThreadState) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        let goid = (*g).gref.assume_init().goid();
        ts.set_ident(if (*g).is_main { main_thread::ident() as _ } else { tstate::ident_of(goid) });
        ts.set_vars(ptr::replace(&raw mut (*g).vars, ptr::null_mut()));
        stand_in::begins(g, ts);
        let pending = GoroutineObj::take_pending(slf);
        if pending.is_null() {
            (*g).result = ts.call(slf, (*g).function, (*g).args, (*g).kwargs);
        } else {
            errors::restore(pending);
        }
        finish(g);
        let member = if (*g).holder.is_null() { None } else { end_holder(g) };
        child::end_if_forked(slf);
        if stand_in::ends(g) {
            // The thread that waits for the end is the main thread again.
            ts.set_ident(tstate::ident_of(goid));
        }
        (*g).done.set();
        if let Some(Member { group, hooks }) = member {
            (hooks.left)(group);
        }
        end::end(slf, ts)
    }
}

/// Keeps what the function came to and releases the function.
#[inline]
unsafe fn finish(g: *mut GoroutineObj) {
    // SAFETY: the goroutine's own handle.
    unsafe {
        if (*g).result.is_null() {
            finish_with_error(g);
        }
        if (*g).name.is_null() && (ffi::Py_REFCNT(g.cast()) > 1 || (*g).unread) {
            (*g).name = name_of((*g).function);
        }
        obj::clear(&raw mut (*g).args);
        obj::clear(&raw mut (*g).kwargs);
        obj::clear(&raw mut (*g).function);
    }
}

/// Gives up what it had for ambient contexts; its membership in a group, which has been told how it ended. The caller owns it.
/// Never inlined, by 4: it has something to drop.
#[inline(never)]
unsafe fn end_holder(g: *mut GoroutineObj) -> Option<Member> {
    let mut member = None;
    // SAFETY: the goroutine's own handle.
    unsafe {
        // Objects that are dropped here may need a holder again.
        while !(*g).holder.is_null() {
            let holder = ptr::replace(&raw mut (*g).holder, ptr::null());
            let of_holder = (*holder).take_member();
            ambient::end(holder);
            if let Some(Member { group, hooks }) = of_holder {
                member = of_holder;
                (hooks.ended)(group, g.cast());
            }
        }
    }
    member
}

#[cold]
#[inline(never)]
unsafe fn finish_with_error(g: *mut GoroutineObj) {
    // SAFETY: the goroutine's own handle; an exception is set.
    unsafe {
        let error = errors::fetch();
        let is = |class: Raw| ffi::PyErr_GivenExceptionMatches(error, class) != 0;
        if is(errors::GOEXIT.get()) {
            ffi::Py_DECREF(error);
            (*g).result = obj::none();
            return;
        }
        (*g).error = error;
        (*g).unread = !is(errors::CANCELLED.get()) && !is(ffi::PyExc_SystemExit);
    }
}
