//! The blocks `timeout` and `shield`.
//!
//! # Invariants
//! 1. `entry` is the block that is being executed, null outside; a block's end takes it.

use std::os::raw::c_void;
use std::ptr;

use go_lib::runtime::embedder;
use pyo3::ffi::{self, PyMethodDef, PyObject, Py_ssize_t};

use super::functions::after_seconds;
use crate::core::context::entry::{Block, Entry};
use crate::core::context::node::{ContextObj, Why};
use crate::core::context::{ambient, cancel};
use crate::core::waits;
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{self, arguments, free_instance, instance, seconds_of, Table};

/// What `timeout()` and `shield()` return.
#[repr(C)]
struct BlockObj {
    ob_base: PyObject,
    /// By 1.
    entry: *mut Entry,
    /// The block's context, owned while it is being executed.
    ctx: Raw,
    /// Of a timeout: how long; infinite for none.
    seconds: f64,
    /// Of a timeout: its end raises TimeoutError.
    raises: bool,
}

static TIMEOUT: Global = Global::new();
static SHIELD: Global = Global::new();

/// `golib.timeout(seconds, *, raises=True)`.
pub(crate) unsafe extern "C" fn timeout(
    _: Raw,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        if n > 1 {
            return errors::raise(ffi::PyExc_TypeError, "timeout() takes 1 positional argument");
        }
        let Some([given, raises]) =
            arguments("timeout", &[c"seconds", c"raises"], 1, args, n, kwnames)
        else {
            return ptr::null_mut();
        };
        let mut seconds = f64::INFINITY;
        if given != ffi::Py_None() {
            match seconds_of(given) {
                Some(s) => seconds = s,
                None => return ptr::null_mut(),
            }
        }
        let raises = if raises.is_null() { 1 } else { ffi::PyObject_IsTrue(raises) };
        if raises < 0 {
            return ptr::null_mut();
        }
        let slf = ffi::PyType_GenericAlloc(TIMEOUT.get().cast(), 0);
        if !slf.is_null() {
            (*instance::<BlockObj>(slf)).seconds = seconds;
            (*instance::<BlockObj>(slf)).raises = raises != 0;
        }
        slf
    }
}

/// `golib.shield()`.
pub(crate) unsafe extern "C" fn shield(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { ffi::PyType_GenericAlloc(SHIELD.get().cast(), 0) }
}

/// Begins the block `slf` under `ctx`, which is taken over (null: an exception is set); the context for `as`.
unsafe fn begin(slf: Raw, ctx: Raw, kind: Block) -> Raw {
    // SAFETY: a block that is not being executed.
    unsafe {
        if ctx.is_null() {
            return ctx;
        }
        let block = instance::<BlockObj>(slf);
        ffi::Py_INCREF(ctx);
        (*block).ctx = ctx;
        ffi::Py_INCREF(ctx);
        (*block).entry = ambient::push(ctx, kind);
        ctx
    }
}

/// False, with an exception set, for a block that is being executed already.
unsafe fn can_begin(slf: Raw) -> bool {
    // SAFETY: a block.
    unsafe {
        let free = (*instance::<BlockObj>(slf)).entry.is_null();
        if !free {
            errors::set(ffi::PyExc_RuntimeError, "this block has been entered already");
        }
        free
    }
}

/// Ends the block; its context, which the caller now owns, or null if it is not being executed.
unsafe fn end(slf: Raw) -> Raw {
    // SAFETY: a block.
    unsafe {
        let block = instance::<BlockObj>(slf);
        let entry = ptr::replace(&raw mut (*block).entry, ptr::null_mut());
        let ctx = ptr::replace(&raw mut (*block).ctx, ptr::null_mut());
        if !entry.is_null() {
            ambient::pop(entry);
        }
        ctx
    }
}

unsafe extern "C" fn timeout_enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Timeout.
    unsafe {
        if !can_begin(slf) {
            return ptr::null_mut();
        }
        let parent = ambient::innermost();
        if parent.is_null() {
            return parent;
        }
        let deadline_ns = after_seconds((*instance::<BlockObj>(slf)).seconds);
        // A thread waits for the GIL with everybody else: the servant is faster.
        let whom = if embedder::current_host().is_null() { None } else { embedder::current() };
        let ctx = cancel::make_deadline(parent, deadline_ns, ptr::null_mut(), whom);
        ffi::Py_DECREF(parent);
        begin(slf, ctx, Block::Timeout)
    }
}

/// The exception's class among the arguments of `__exit__`; null for None or nothing.
unsafe fn class_of_error(args: *const Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: n borrowed references.
    unsafe {
        if n < 1 || *args == ffi::Py_None() {
            ptr::null_mut()
        } else {
            *args
        }
    }
}

unsafe extern "C" fn timeout_exit(slf: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Timeout.
    unsafe {
        let BlockObj { raises, seconds, .. } = *instance::<BlockObj>(slf);
        let ctx = end(slf);
        if ctx.is_null() {
            return obj::boolean(false);
        }
        let timed_out = (*instance::<ContextObj>(ctx)).timed_out;
        // Whoever still works under it need not.
        cancel::cancel(ctx, Why::Canceled, ptr::null_mut());
        ffi::Py_DECREF(ctx);
        let error = class_of_error(args, n);
        if !timed_out
            || error.is_null()
            || ffi::PyErr_GivenExceptionMatches(error, errors::CANCELLED.get()) == 0
        {
            return obj::boolean(false);
        }
        if !raises {
            return obj::boolean(true);
        }
        waits::timed_out_after("block", seconds)
    }
}

unsafe extern "C" fn shield_enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Shield.
    unsafe {
        if !can_begin(slf) {
            return ptr::null_mut();
        }
        begin(slf, ambient::shield_context(), Block::Shield)
    }
}

unsafe extern "C" fn shield_exit(slf: Raw, _args: *mut Raw, _n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Shield.
    unsafe {
        let ctx = end(slf);
        ffi::Py_XDECREF(ctx);
        obj::boolean(false)
    }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone. A block that was never left ends now.
    unsafe {
        let ctx = end(slf);
        ffi::Py_XDECREF(ctx);
        free_instance(slf);
    }
}

static TIMEOUT_METHODS: Table<[PyMethodDef; 3]> = Table([
    raw::method(
        c"__enter__",
        timeout_enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Begins the block; its context.",
    ),
    raw::fast(
        c"__exit__",
        timeout_exit,
        c"__exit__($self, /, *exc)
--

Ends the block: Cancelled because of the deadline becomes TimeoutError.",
    ),
    PyMethodDef::zeroed(),
]);

static SHIELD_METHODS: Table<[PyMethodDef; 3]> = Table([
    raw::method(
        c"__enter__",
        shield_enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Begins the block; its context.",
    ),
    raw::fast(
        c"__exit__",
        shield_exit,
        c"__exit__($self, /, *exc)
--

Ends the block.",
    ),
    PyMethodDef::zeroed(),
]);

/// Makes the types; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Option<[(&'static std::ffi::CStr, Raw); 2]> {
    for (global, name, methods, doc) in [
        (&TIMEOUT, c"golib.Timeout", &TIMEOUT_METHODS, c"What timeout() returns."),
        (&SHIELD, c"golib.Shield", &SHIELD_METHODS, c"What shield() returns."),
    ] {
        let mut slots = vec![
            raw::slot(ffi::Py_tp_doc, doc.as_ptr().cast()),
            raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
            raw::slot(ffi::Py_tp_methods, methods.0.as_ptr().cast()),
        ];
        // SAFETY: the slots are those of BlockObj.
        let class = unsafe {
            let flags = ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
            raw::make_type::<BlockObj>(name, flags, &mut slots)
        };
        if class.is_null() {
            return None;
        }
        global.set(class);
    }
    Some([(c"Timeout", TIMEOUT.get()), (c"Shield", SHIELD.get())])
}
