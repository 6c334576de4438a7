//! What runs on a goroutine's stack, from its entry to its end.

use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};

use super::{end, GoroutineObj};
use crate::core::context::ambient;
use crate::cpython::{object, tstate, ThreadState};
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Name, Raw};
use crate::ffi::raw::instance;
use crate::module::run;
use crate::types::group;

/// `golib._report.end_of_child(error)`.
pub(crate) static END_OF_CHILD: Global = Global::new();
/// In a forked child: the goroutine that forked. The process ends with it.
static CHILD_ROOT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// In a forked child: the process ends with `slf`, the goroutine that forked (null: an ordinary fork). It is the child's
/// main thread: nobody else waits on that to do for it what only the main thread may do.
///
/// # Safety
/// `slf` is null or the handle of the running goroutine.
pub(crate) unsafe fn set_child_root(slf: Raw) {
    CHILD_ROOT.store(slf, Ordering::Relaxed);
    if !slf.is_null() {
        // SAFETY: the caller's duty; only a flag is written.
        unsafe { (*instance::<GoroutineObj>(slf)).is_main = false };
    }
}

/// A goroutine's life, on its own stack. True: the state may serve another goroutine.
///
/// # Safety
/// `slf` is a handle whose goroutine this is, `ts` its state, attached on this thread. By 1 and 4.
pub(crate) unsafe extern "C-unwind" fn goroutine_main(slf: Raw, ts: ThreadState) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        let goid = (*g).gref.assume_init().goid();
        ts.set_ident(if (*g).is_main {
            crate::bridge::host::main_ident() as _
        } else {
            tstate::ident_of(goid)
        });
        let context = ptr::replace(&raw mut (*g).context, ptr::null_mut());
        ts.set_context(context);
        run::goroutine_begins(g, ts);
        let pending = GoroutineObj::take_pending(slf);
        if pending.is_null() {
            (*g).result = ts.call(slf, (*g).function, (*g).args, (*g).kwargs);
        } else {
            errors::restore(pending);
        }
        finish(g);
        let group = if (*g).holder.is_null() { ptr::null_mut() } else { end_holder(g) };
        end_if_forked(slf);
        if run::stands_in_no_more(g) {
            // Whoever waits for the end is the main thread again.
            ts.set_ident(tstate::ident_of(goid));
        }
        (*g).done.set();
        if !group.is_null() {
            group::left(group);
        }
        end::end(slf, ts)
    }
}

/// In a forked child the process ends with the goroutine that forked.
///
/// # Safety
/// `slf` is the running goroutine's handle.
#[inline(always)]
pub(super) unsafe fn end_if_forked(slf: Raw) {
    if CHILD_ROOT.load(Ordering::Relaxed) == slf {
        // SAFETY: the caller's duty.
        unsafe { end_of_child(instance::<GoroutineObj>(slf)) }
    }
}

/// `other` becomes the running goroutine's handle instead of `slf`.
pub(super) fn inherit_child(slf: Raw, other: Raw) {
    // Relaxed: read and written under the GIL.
    if CHILD_ROOT.load(Ordering::Relaxed) == slf {
        CHILD_ROOT.store(other, Ordering::Relaxed);
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

/// Gives up what it had for ambient contexts; its group, which has been told how it ended, or null. The caller owns it.
/// Never inlined, by 4: it has something to drop.
#[inline(never)]
unsafe fn end_holder(g: *mut GoroutineObj) -> Raw {
    let mut group = ptr::null_mut();
    // SAFETY: the goroutine's own handle.
    unsafe {
        // What is dropped here may want a holder again.
        while !(*g).holder.is_null() {
            let holder = ptr::replace(&raw mut (*g).holder, ptr::null());
            let of_holder = (*holder).take_group();
            ambient::end(holder);
            if !of_holder.is_null() {
                group = of_holder;
                group::ended(group, g.cast());
            }
        }
    }
    group
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

/// Ends the process as [`end_if_forked`] says.
#[cold]
#[inline(never)]
unsafe fn end_of_child(g: *mut GoroutineObj) {
    // SAFETY: the goroutine's own handle; its state is attached.
    unsafe {
        let error = if (*g).error.is_null() { ffi::Py_None() } else { (*g).error };
        let result = ffi::PyObject_CallOneArg(END_OF_CHILD.get(), error);
        // It does not return but by an exception.
        if result.is_null() {
            ffi::PyErr_Print();
        }
        libc_exit(1)
    }
}

extern "C" {
    #[link_name = "_exit"]
    fn libc_exit(status: c_int) -> !;
}

static QUALNAME: Name = Name::new(c"__qualname__");
static NAME: Name = Name::new(c"__name__");

/// The name of a goroutine that runs `function`; null (no exception) if it has none.
pub(super) unsafe fn name_of(function: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let name = object::qualname(function);
        if !name.is_null() {
            return short_name(name);
        }
        for attribute in [&QUALNAME, &NAME] {
            let name = attribute.of(function);
            if !name.is_null() && ffi::PyUnicode_Check(name) != 0 {
                return name;
            }
            ffi::Py_XDECREF(name);
            ffi::PyErr_Clear();
        }
        let class: Raw = ffi::Py_TYPE(function).cast();
        let name = NAME.of(class);
        if name.is_null() {
            ffi::PyErr_Clear();
        }
        name
    }
}

/// What follows the last `<locals>.` of a qualified name, whose reference is taken over.
unsafe fn short_name(name: Raw) -> Raw {
    // SAFETY: a str; the GIL is held.
    unsafe {
        let mark = ffi::PyUnicode_FromString(c"<locals>.".as_ptr());
        if mark.is_null() {
            ffi::PyErr_Clear();
            return name;
        }
        let end = ffi::PyUnicode_GET_LENGTH(name);
        let at = ffi::PyUnicode_Find(name, mark, 0, end, -1);
        let short = if at < 0 {
            ptr::null_mut()
        } else {
            ffi::PyUnicode_Substring(name, at + ffi::PyUnicode_GET_LENGTH(mark), end)
        };
        ffi::Py_DECREF(mark);
        if short.is_null() {
            ffi::PyErr_Clear();
            return name;
        }
        ffi::Py_DECREF(name);
        short
    }
}
