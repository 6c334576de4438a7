//! The class `golib.context.Context`.
//!
//! Go: context/context.go (Context)

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyMethodDef};

use crate::core::context::entry::Block;
use crate::core::context::node::{
    checked, is_done, text_of, ContextObj, Kind, Why, BACKGROUND, CONTEXT, NO_DEADLINE, TODO,
};
use crate::core::context::{ambient, tree};
use crate::cpython::object;
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, guard, instance, Table, NS};
use crate::types::chan::{self, ends};

/// The node of a Context, or null.
unsafe fn node_of(slf: Raw) -> *mut ContextObj {
    // SAFETY: a Context.
    unsafe { (*instance::<ContextObj>(slf)).node }
}

/// `done()`: a view that keeps the context, which keeps what will end it.
unsafe extern "C" fn done(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Context.
    unsafe {
        let node = node_of(slf);
        if node.is_null() {
            return ends::receiver_of(chan::nil(), slf);
        }
        if (*node).done.is_null() {
            let channel = chan::make(chan::CHAN.get().cast(), 0);
            if channel.is_null() {
                return channel;
            }
            // Making it may have let somebody else make one.
            if (*node).done.is_null() {
                (*node).done = channel;
                (*node).close = Some(close);
                if (*node).is_done() {
                    close(channel);
                }
            } else {
                ffi::Py_DECREF(channel);
            }
        }
        ends::receiver_of((*node).done, slf)
    }
}

/// Closes the channel that `done()` has made.
unsafe fn close(channel: Raw) {
    // SAFETY: a Chan with a channel, held by its node; nobody else closes it.
    unsafe {
        if let Some(h) = chan::hchan(channel).as_ref() {
            let _ = guard(|| h.close());
        }
    }
}

/// `err()`: the same object each time.
unsafe extern "C" fn err(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Context.
    unsafe {
        let node = node_of(slf);
        if node.is_null() || !(*node).is_done() {
            return obj::none();
        }
        if (*node).error.is_null() {
            let class = match (*node).why {
                Why::DeadlineExceeded => errors::DEADLINE_EXCEEDED.get(),
                Why::Alive | Why::Canceled => errors::CANCELED.get(),
            };
            let error = ffi::PyObject_CallNoArgs(class);
            if error.is_null() {
                return error;
            }
            // Making it may have let somebody else make one.
            if (*node).error.is_null() {
                (*node).error = error;
            } else {
                ffi::Py_DECREF(error);
            }
        }
        ffi::Py_INCREF((*node).error);
        (*node).error
    }
}

/// `golib.context.cause(ctx)`.
pub(super) unsafe extern "C" fn cause(_: Raw, ctx: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        let Some(ctx) = checked(ctx) else { return ptr::null_mut() };
        let node = node_of(ctx);
        if node.is_null() || !(*node).is_done() || (*node).cause.is_null() {
            return err(ctx, ptr::null_mut());
        }
        ffi::Py_INCREF((*node).cause);
        (*node).cause
    }
}

unsafe extern "C" fn deadline(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Context.
    unsafe {
        match (*instance::<ContextObj>(slf)).deadline_ns {
            NO_DEADLINE => obj::none(),
            ns => ffi::PyFloat_FromDouble(ns as f64 / NS),
        }
    }
}

unsafe extern "C" fn get_is_done(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Context.
    unsafe { obj::boolean(is_done(slf)) }
}

/// `value(key)`: a comparison may run any code; each context holds its parent.
unsafe extern "C" fn value(slf: Raw, key: Raw) -> Raw {
    // SAFETY: a METH_O method of Context; the caller holds it.
    unsafe {
        let mut at = slf;
        while !at.is_null() {
            let c = instance::<ContextObj>(at);
            if (*c).kind == Kind::Value {
                match ffi::PyObject_RichCompareBool((*c).key, key, ffi::Py_EQ) {
                    0 => {}
                    1 => {
                        ffi::Py_INCREF((*c).value);
                        return (*c).value;
                    }
                    _ => return ptr::null_mut(),
                }
            }
            at = (*c).parent;
        }
        obj::none()
    }
}

/// `Context.__enter__`: a context may be entered many times, also by many at once.
unsafe extern "C" fn enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Context.
    unsafe {
        ffi::Py_INCREF(slf);
        ambient::push(slf, Block::Context);
        ffi::Py_INCREF(slf);
    }
    slf
}

/// `Context.__exit__`.
unsafe extern "C" fn exit(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Context.
    unsafe {
        let entry = ambient::block_of(slf);
        if entry.is_null() {
            return errors::raise(ffi::PyExc_RuntimeError, "this context is not ambient");
        }
        ambient::pop(entry);
        obj::boolean(false)
    }
}

unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of Context.
    unsafe {
        let c = instance::<ContextObj>(slf);
        let kind = match (*c).kind {
            Kind::Background => "background",
            Kind::Todo => "todo",
            Kind::Cancel if (*c).deadline_ns != NO_DEADLINE => "with_deadline",
            Kind::Cancel | Kind::AfterFunc => "with_cancel",
            Kind::Value => "with_value",
            Kind::WithoutCancel => "without_cancel",
        };
        let node = (*c).node;
        let state = if node.is_null() || !(*node).is_done() { "" } else { text_of((*node).why) };
        let text = match state {
            "" => format!("<golib.context.Context {kind} at {slf:p}>"),
            _ => format!("<golib.context.Context {kind}: {state} at {slf:p}>"),
        };
        obj::unicode(&text)
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        match obj::visit(ffi::Py_TYPE(slf).cast(), visit, arg) {
            0 => tree::traverse(instance(slf), &mut |object| visit(object, arg)),
            stop => stop,
        }
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear.
    unsafe {
        let c = instance::<ContextObj>(slf);
        tree::leave(c);
        tree::clear(c);
    }
    0
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone. Out of the tree at once: the end itself may be put off.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        tree::leave(instance(slf));
        object::trashcan(slf, dealloc, free);
    }
}

unsafe extern "C-unwind" fn free(slf: Raw) {
    // SAFETY: called by dealloc.
    unsafe {
        let c = instance::<ContextObj>(slf);
        if !(*c).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        tree::clear(c);
        tree::drop_parent(c);
        free_instance(slf);
    }
}

static METHODS: Table<[PyMethodDef; 7]> = Table([
    raw::method(
        c"done",
        done,
        ffi::METH_NOARGS,
        c"done($self, /)
--

A channel that is closed when the context is done; golib.nil's if that never happens.

The channels of two calls are equal. Each keeps the context alive.

Blocks: nothing.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> cancel()
>>> golib.select(ctx.done())
Selected(index=0, value=None, ok=False)",
    ),
    raw::method(
        c"err",
        err,
        ffi::METH_NOARGS,
        c"err($self, /)
--

Why it is done: a Canceled, a DeadlineExceeded, or None while it is not. Not raised, given.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> ctx.err(), cancel(), ctx.err()
(None, None, Canceled('context canceled'))",
    ),
    raw::method(
        c"deadline",
        deadline,
        ffi::METH_NOARGS,
        c"deadline($self, /)
--

When it will be done at the latest; None without a deadline.

Units: seconds of time.monotonic().",
    ),
    raw::method(
        c"value",
        value,
        ffi::METH_O,
        c"value($self, key, /)
--

What with_value() left for an equal key, here or above; None if nothing did.

Cost: O(depth).

>>> ctx = golib.context.with_value(golib.context.background(), 'user', 'gopher')
>>> ctx.value('user'), ctx.value('colour')
('gopher', None)",
    ),
    raw::method(
        c"__enter__",
        enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Makes it ambient for the block: golib operations in it raise Cancelled once it is done.",
    ),
    raw::method(
        c"__exit__",
        exit,
        ffi::METH_VARARGS,
        c"__exit__($self, /, *exc)
--

Ends the block; Cancelled passes through.",
    ),
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[ffi::PyGetSetDef; 2]> = Table([
    raw::property(
        c"is_done",
        get_is_done,
        c"True once it is cancelled or its deadline has passed.",
    ),
    raw::END_OF_PROPERTIES,
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(ContextObj, weaklist)));

/// Makes the type and the roots; null: an exception is set.
///
/// # Safety
/// The GIL is held; called once, after `chan::init`.
pub(super) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, repr as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of ContextObj.
    unsafe {
        let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        let class = raw::make_type::<ContextObj>(c"golib.context.Context", flags, &mut slots);
        if class.is_null() {
            return class;
        }
        CONTEXT.set(class);
        for (global, kind) in [(&BACKGROUND, Kind::Background), (&TODO, Kind::Todo)] {
            global.set(tree::make(kind, ptr::null_mut()));
            if global.get().is_null() {
                return ptr::null_mut();
            }
        }
        class
    }
}

const DOC: &std::ffi::CStr =
    c"A deadline, a signal that work is no longer wanted, and values, for a tree of calls.

Made by the functions of golib.context. In `with ctx:` it is ambient: every golib operation
that would wait raises Cancelled once it is done.

Go: context.Context

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> def work():
...     with ctx:
...         golib.Chan().recv()
>>> g = golib.go(work)
>>> cancel()
>>> try:
...     g.join()
... except golib.Cancelled as error:
...     print(error)
context canceled";
