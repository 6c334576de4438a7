//! The functions of `golib.context`, and the callables that they return.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyMethodDef, PyObject, Py_ssize_t};

use super::class;
use crate::core::context::node::{background, checked, ContextObj, Kind, Why, NO_DEADLINE, TODO};
use crate::core::context::{ambient, cancel, tree};
use crate::core::goroutine::{arguments_of, check_function};
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{
    self, arguments, deadline_after, free_instance, instance, seconds_of, Container, Table, NS,
};

/// What a callable does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Does {
    /// `cancel()`.
    Cancel,
    /// `cancel(cause=None)`.
    CancelCause,
    /// `stop()` of a registered function.
    Stop,
}

/// A callable that `with_cancel`, `after_func` and their kin return.
#[repr(C)]
struct FunctionObj {
    ob_base: PyObject,
    vectorcall: ffi::vectorcallfunc,
    /// The node that it is about.
    ctx: Raw,
    does: Does,
}

static CANCEL_FUNC: Global = Global::new();
static STOP_FUNC: Global = Global::new();

/// A callable about `ctx` (borrowed); null with an exception set.
unsafe fn make_function(ctx: Raw, does: Does) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let class = if does == Does::Stop { &STOP_FUNC } else { &CANCEL_FUNC };
        let slf = ffi::PyType_GenericAlloc(class.get().cast(), 0);
        if !slf.is_null() {
            let f = instance::<FunctionObj>(slf);
            (*f).vectorcall = call;
            ffi::Py_INCREF(ctx);
            (*f).ctx = ctx;
            (*f).does = does;
        }
        slf
    }
}

unsafe extern "C" fn call(slf: Raw, args: *const Raw, nargsf: usize, kwnames: Raw) -> Raw {
    // SAFETY: the vectorcall protocol.
    unsafe {
        let n = ffi::PyVectorcall_NARGS(nargsf);
        let f = instance::<FunctionObj>(slf);
        let mut cause = ptr::null_mut();
        if (*f).does == Does::CancelCause {
            let Some([given]) = arguments("cancel", &[c"cause"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            match cause_of(given) {
                Some(c) => cause = c,
                None => return ptr::null_mut(),
            }
        } else if n > 0 || !kwnames.is_null() {
            let name = if (*f).does == Does::Stop { "stop" } else { "cancel" };
            return errors::raise(ffi::PyExc_TypeError, &format!("{name}() takes no arguments"));
        }
        if (*f).does == Does::Stop {
            return obj::boolean(tree::stop_after_func((*f).ctx));
        }
        cancel::cancel((*f).ctx, Why::Canceled, cause);
        obj::none()
    }
}

/// An optional `cause` argument: null for none. None: an exception is set.
unsafe fn cause_of(given: Raw) -> Option<Raw> {
    // SAFETY: the GIL is held.
    unsafe {
        if given.is_null() || given == ffi::Py_None() {
            return Some(ptr::null_mut());
        }
        if ffi::PyExceptionInstance_Check(given) == 0 {
            errors::set(ffi::PyExc_TypeError, "cause must be an exception or None");
            return None;
        }
        Some(given)
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe { obj::visit_all(slf, [(*instance::<FunctionObj>(slf)).ctx], visit, arg) }
}

impl Container for FunctionObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says.
        unsafe {
            obj::clear(&raw mut (*instance::<FunctionObj>(slf)).ctx);
            free_instance(slf);
        }
    }
}

/// `(ctx, function)`; `ctx` is taken over (null: an exception is set).
unsafe fn pair(ctx: Raw, does: Does) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if ctx.is_null() {
            return ctx;
        }
        let function = make_function(ctx, does);
        if function.is_null() {
            ffi::Py_DECREF(ctx);
            return function;
        }
        let tuple = ffi::PyTuple_New(2);
        if tuple.is_null() {
            ffi::Py_DECREF(ctx);
            ffi::Py_DECREF(function);
            return tuple;
        }
        ffi::PyTuple_SET_ITEM(tuple, 0, ctx);
        ffi::PyTuple_SET_ITEM(tuple, 1, function);
        tuple
    }
}

unsafe extern "C" fn get_background(_: Raw, _: Raw) -> Raw {
    // SAFETY: made at import.
    unsafe { ffi::Py_INCREF(background()) };
    background()
}

unsafe extern "C" fn get_todo(_: Raw, _: Raw) -> Raw {
    // SAFETY: made at import.
    unsafe { ffi::Py_INCREF(TODO.get()) };
    TODO.get()
}

unsafe extern "C" fn current(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { ambient::innermost() }
}

unsafe extern "C" fn with_cancel(_: Raw, parent: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        match checked(parent) {
            Some(parent) => pair(tree::make_cancel(parent), Does::Cancel),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn with_cancel_cause(_: Raw, parent: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        match checked(parent) {
            Some(parent) => pair(tree::make_cancel(parent), Does::CancelCause),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn without_cancel(_: Raw, parent: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        match checked(parent) {
            Some(parent) => tree::make(Kind::WithoutCancel, parent),
            None => ptr::null_mut(),
        }
    }
}

/// The two functions with a deadline; `when` makes it from the number given.
unsafe fn with_when(
    name: &'static str,
    number: &'static CStr,
    args: (*const Raw, Py_ssize_t, Raw),
    when: fn(f64) -> i64,
) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let names = [c"parent", number, c"cause"];
        let Some([parent, given, cause]) = arguments(name, &names, 2, args.0, args.1, args.2)
        else {
            return ptr::null_mut();
        };
        let Some(parent) = checked(parent) else { return ptr::null_mut() };
        let Some(number) = seconds_of(given) else { return ptr::null_mut() };
        let Some(cause) = cause_of(cause) else { return ptr::null_mut() };
        pair(cancel::make_deadline(parent, when(number), cause, None), Does::Cancel)
    }
}

/// The deadline so many seconds from now; past for 0 or less.
pub(super) fn after_seconds(seconds: f64) -> i64 {
    deadline_after(seconds).unwrap_or(NO_DEADLINE)
}

/// The deadline at that time of the monotonic clock; the cast saturates, at the top to `NO_DEADLINE`.
fn at_seconds(seconds: f64) -> i64 {
    (seconds * NS) as i64
}

unsafe extern "C" fn with_timeout(_: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe { with_when("with_timeout", c"seconds", (args, n, kwnames), after_seconds) }
}

unsafe extern "C" fn with_deadline(_: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe { with_when("with_deadline", c"monotonic_seconds", (args, n, kwnames), at_seconds) }
}

unsafe extern "C" fn with_value(_: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let names = [c"parent", c"key", c"value"];
        let Some([parent, key, value]) = arguments("with_value", &names, 3, args, n, kwnames)
        else {
            return ptr::null_mut();
        };
        let Some(parent) = checked(parent) else { return ptr::null_mut() };
        let slf = tree::make(Kind::Value, parent);
        if !slf.is_null() {
            let c = instance::<ContextObj>(slf);
            ffi::Py_INCREF(key);
            (*c).key = key;
            ffi::Py_INCREF(value);
            (*c).value = value;
        }
        slf
    }
}

unsafe extern "C" fn after_func(_: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function.
    unsafe {
        if n < 2 {
            return errors::raise(
                ffi::PyExc_TypeError,
                "after_func() takes a context, a function and its arguments",
            );
        }
        let Some(parent) = checked(*args) else { return ptr::null_mut() };
        let function = *args.add(1);
        if !check_function(function) {
            return ptr::null_mut();
        }
        let positional = arguments_of(args.add(2), n - 2);
        if positional.is_null() {
            return positional;
        }
        let node = cancel::make_after_func(parent, function, positional);
        if node.is_null() {
            return node;
        }
        let stop = make_function(node, Does::Stop);
        ffi::Py_DECREF(node);
        stop
    }
}

/// The functions of `golib.context`; they are functions of our module.
pub(crate) static FUNCTIONS: Table<[PyMethodDef; 12]> = Table([
    raw::method(c"background", get_background, ffi::METH_NOARGS, BACKGROUND_DOC),
    raw::method(c"todo", get_todo, ffi::METH_NOARGS, TODO_DOC),
    raw::method(c"current", current, ffi::METH_NOARGS, CURRENT_DOC),
    raw::method(c"with_cancel", with_cancel, ffi::METH_O, WITH_CANCEL_DOC),
    raw::method(c"with_cancel_cause", with_cancel_cause, ffi::METH_O, WITH_CANCEL_CAUSE_DOC),
    raw::keywords(c"with_timeout", with_timeout, WITH_TIMEOUT_DOC),
    raw::keywords(c"with_deadline", with_deadline, WITH_DEADLINE_DOC),
    raw::keywords(c"with_value", with_value, WITH_VALUE_DOC),
    raw::method(c"without_cancel", without_cancel, ffi::METH_O, WITHOUT_CANCEL_DOC),
    raw::fast(c"after_func", after_func, AFTER_FUNC_DOC),
    raw::method(c"cause", class::cause, ffi::METH_O, CAUSE_DOC),
    PyMethodDef::zeroed(),
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> = Table([
    ffi::PyMemberDef {
        name: c"__vectorcalloffset__".as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset_of!(FunctionObj, vectorcall) as Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    },
    ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
]);

/// Makes the callables' types; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Option<[(&'static CStr, Raw); 2]> {
    for (global, name, doc) in [
        (
            &CANCEL_FUNC,
            c"golib.context.CancelFunc",
            c"What cancels a context. May be called again.",
        ),
        (
            &STOP_FUNC,
            c"golib.context.StopFunc",
            c"What after_func() returns: True if it has kept the function from being called.",
        ),
    ] {
        let mut slots = vec![
            raw::slot(ffi::Py_tp_doc, doc.as_ptr().cast()),
            raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<FunctionObj> as *const c_void),
            raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
            raw::slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *const c_void),
            raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
        ];
        let flags = ffi::Py_TPFLAGS_HAVE_GC
            | ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        // SAFETY: the slots are those of FunctionObj.
        let class = unsafe { raw::make_type::<FunctionObj>(name, flags, &mut slots) };
        if class.is_null() {
            return None;
        }
        global.set(class);
    }
    Some([(c"CancelFunc", CANCEL_FUNC.get()), (c"StopFunc", STOP_FUNC.get())])
}

const BACKGROUND_DOC: &CStr = c"background($module, /)
--

The root of all contexts: never done, no values, no deadline.

>>> golib.context.background().is_done
False";

const TODO_DOC: &CStr = c"todo($module, /)
--

background() for where it is not yet clear which context to use.

>>> golib.context.todo().err() is None
True";

const CURRENT_DOC: &CStr = c"current($module, /)
--

The innermost ambient context: that of the `with ctx:`, timeout, scope or shield around the call.

Outside of all of them it is the goroutine's own, which Goroutine.cancel() cancels, and on an
ordinary thread background(). Go has no ambient contexts.

>>> with golib.timeout(10) as ctx:
...     golib.context.current() is ctx
True";

const WITH_CANCEL_DOC: &CStr = c"with_cancel($module, parent, /)
--

A context under parent, and a function that cancels it and everything under it.

Calling cancel again does nothing. A context that nobody uses any more is collected, whether
it was cancelled or not; in Go it stays until its parent is done.

Blocks: nothing.
Raises: TypeError if parent is no Context.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> cancel()
>>> ctx.err()
Canceled('context canceled')";

const WITH_CANCEL_CAUSE_DOC: &CStr = c"with_cancel_cause($module, parent, /)
--

with_cancel() whose cancel takes the cause, an exception that cause(ctx) then gives.

>>> ctx, cancel = golib.context.with_cancel_cause(golib.context.background())
>>> cancel(KeyError('x'))
>>> golib.context.cause(ctx)
KeyError('x')";

const WITH_TIMEOUT_DOC: &CStr = c"with_timeout($module, parent, seconds, cause=None)
--

A context under parent that is done after so many seconds, and a function that cancels it before.

The deadline is a timer of the runtime, not a goroutine; cancelling leaves nothing of it.

Blocks: nothing.
Units: seconds; 0 or less is done at once, inf never.
Raises: TypeError; ValueError for nan.

>>> ctx, cancel = golib.context.with_timeout(golib.context.background(), 0.001)
>>> ctx.done().recv_ok()
(None, False)
>>> ctx.err()
DeadlineExceeded('context deadline exceeded')";

const WITH_DEADLINE_DOC: &CStr = c"with_deadline($module, parent, monotonic_seconds, cause=None)
--

with_timeout() that ends at a time of time.monotonic().

>>> import time
>>> at = time.monotonic() + 10
>>> ctx, cancel = golib.context.with_deadline(golib.context.background(), at)
>>> abs(ctx.deadline() - at) < 1e-6
True
>>> cancel()";

const WITH_VALUE_DOC: &CStr = c"with_value($module, parent, key, value)
--

A context under parent in which value(key) is value.

For what belongs to a request and crosses APIs, not for optional parameters.

>>> ctx = golib.context.with_value(golib.context.background(), 'user', 'gopher')
>>> ctx.value('user')
'gopher'";

const WITHOUT_CANCEL_DOC: &CStr = c"without_cancel($module, parent, /)
--

A context with parent's values that is not done when parent is.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> free = golib.context.without_cancel(ctx)
>>> cancel()
>>> free.is_done
False";

const AFTER_FUNC_DOC: &CStr = c"after_func($module, ctx, fn, /, *args)
--

Has fn(*args) called, in a goroutine of its own, once ctx is done: at once if it is.

Returns stop(): True if it has kept fn from being called, False if fn was called or stopped
before. The context keeps fn as long as it can still be done.

Blocks: nothing.

>>> ch = golib.Chan(1)
>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> stop = golib.context.after_func(ctx, ch.send, 'done')
>>> cancel()
>>> ch.recv()
'done'
>>> stop()
False";

const CAUSE_DOC: &CStr = c"cause($module, ctx, /)
--

Why ctx is done: the cause that was given to the cancel function or the deadline, else err().

>>> golib.context.cause(golib.context.background()) is None
True";
