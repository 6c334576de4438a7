//! The handle's methods.

use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::{self, WaitReason};
use pyo3::ffi::{self, PyMethodDef, Py_ssize_t};

use super::handle::GoroutineObj;
use super::name::name_of;
use super::python::{RENAMED, SUMMARY};
use super::unread;
use crate::bridge::main_thread;
use crate::core::context::cancel;
use crate::core::waits;
use crate::cpython::tstate;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, arguments, guard_wait, instance, parking, wait_of, Record, Table};

parking!(golib_entry_join => join(slf, args, n, kwnames; record) {
    // SAFETY: a method of Goroutine.
    unsafe {
        if !wait_done("join", slf, args, n, kwnames, record) {
            return ptr::null_mut();
        }
        GoroutineObj::outcome(slf)
    }
});

// Waits for the end, whatever it is; nothing counts as read.
parking!(golib_entry_goroutine_wait => wait(slf, args, n, kwnames; record) {
    // SAFETY: a method of Goroutine.
    unsafe {
        if wait_done("_wait", slf, args, n, kwnames, record) { obj::none() } else { ptr::null_mut() }
    }
});

parking!(golib_entry_exception => exception(slf, args, n, kwnames; record) {
    // SAFETY: a method of Goroutine.
    unsafe {
        if !wait_done("exception", slf, args, n, kwnames, record) {
            return ptr::null_mut();
        }
        let g = instance::<GoroutineObj>(slf);
        unread::is_read(g);
        let error = if (*g).error.is_null() { ffi::Py_None() } else { (*g).error };
        ffi::Py_INCREF(error);
        error
    }
});

/// Waits for the end of `slf`; false: an exception is set.
#[inline(always)]
unsafe fn wait_done(
    function: &'static str,
    slf: Raw,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
    record: Record,
) -> bool {
    // SAFETY: a method of Goroutine.
    unsafe {
        let Some([timeout]) = arguments(function, &[c"timeout"], 0, args, n, kwnames) else {
            return false;
        };
        let Some(wait) = wait_of(timeout) else { return false };
        let done = GoroutineObj::done(slf);
        if done.is_set() {
            return true;
        }
        if embedder::current_host().cast() == slf {
            errors::set(ffi::PyExc_RuntimeError, "a goroutine cannot wait for its own end");
            return false;
        }
        loop {
            match guard_wait(record, || done.wait(wait, WaitReason::Join)) {
                Some(Ok(())) => return true,
                Some(Err(error)) if waits::again(error, function, timeout) => {}
                _ => return false,
            }
        }
    }
}

unsafe extern "C" fn cancel_method(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe {
        cancel::cancel_goroutine(Gil::assume(), slf)
            .map_or(ptr::null_mut(), |did| obj::boolean(did))
    }
}

unsafe extern "C" fn is_done(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe { obj::boolean(GoroutineObj::done(slf).is_set()) }
}

unsafe fn status_text(slf: Raw) -> &'static str {
    // SAFETY: a handle.
    unsafe {
        if GoroutineObj::done(slf).is_set() {
            "dead"
        } else {
            GoroutineObj::gref(slf).status_text()
        }
    }
}

unsafe extern "C" fn status(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe { obj::unicode(status_text(slf)) }
}

/// `_ident()`: what `threading.get_ident()` gives in it.
unsafe extern "C" fn ident(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe {
        let ident = if (*instance::<GoroutineObj>(slf)).is_main {
            main_thread::ident()
        } else {
            tstate::ident_of(GoroutineObj::gref(slf).goid())
        };
        ffi::PyLong_FromUnsignedLongLong(ident)
    }
}

unsafe extern "C" fn header(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe { obj::unicode(&GoroutineObj::gref(slf).header()) }
}

/// `_frame()`: the newest Python frame, or None.
unsafe extern "C" fn frame(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine. While it is the payload the state is its own; the GIL keeps it from running.
    unsafe {
        let gref = GoroutineObj::gref(slf);
        let state = gref.state();
        if gref.host().cast() != slf || state.is_null() {
            return obj::none();
        }
        // Null before the first run: a state that another goroutine left has no frames.
        let frame: Raw = ffi::PyThreadState_GetFrame(state.cast()).cast();
        if frame.is_null() {
            obj::none()
        } else {
            frame
        }
    }
}

/// `stack()`: its frames as a StackSummary.
unsafe extern "C" fn stack(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine; a handle exists only after the start.
    unsafe {
        let frame = frame(slf, ptr::null_mut());
        if frame.is_null() {
            return frame;
        }
        let summary = ffi::PyObject_CallOneArg(SUMMARY.get(), frame);
        ffi::Py_DECREF(frame);
        summary
    }
}

/// `_origin()`: (code, line, parent's id) of the `go` that made it, or None.
unsafe extern "C" fn origin(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        if (*g).origin.is_null() {
            return obj::none();
        }
        let line = ffi::PyCode_Addr2Line((*g).origin.cast(), (*g).origin_lasti);
        let parent = GoroutineObj::gref(slf).created_by();
        ffi::Py_BuildValue(c"OiK".as_ptr(), (*g).origin, line, parent)
    }
}

unsafe extern "C" fn get_id(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Goroutine.
    unsafe { ffi::PyLong_FromUnsignedLongLong(GoroutineObj::gref(slf).goid()) }
}

unsafe extern "C" fn get_name(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Goroutine.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        if (*g).name.is_null() {
            (*g).name =
                if (*g).function.is_null() { ptr::null_mut() } else { name_of((*g).function) };
        }
        if (*g).name.is_null() {
            return obj::unicode("?");
        }
        ffi::Py_INCREF((*g).name);
        (*g).name
    }
}

unsafe extern "C" fn set_name(slf: Raw, name: Raw, _: *mut c_void) -> c_int {
    // SAFETY: a property of Goroutine; null means deletion.
    unsafe {
        if name.is_null() || ffi::PyUnicode_Check(name) == 0 {
            errors::set(ffi::PyExc_TypeError, "name must be a str");
            return -1;
        }
        ffi::Py_INCREF(name);
        let old = ptr::replace(&raw mut (*instance::<GoroutineObj>(slf)).name, name);
        ffi::Py_XDECREF(old);
        // A handle exists only after the start, which has found the function.
        let told = ffi::PyObject_CallFunctionObjArgs(
            RENAMED.get(),
            slf,
            name,
            ptr::null_mut::<ffi::PyObject>(),
        );
        ffi::Py_XDECREF(told);
        if told.is_null() {
            -1
        } else {
            0
        }
    }
}

/// Its status; of one that has not ended with a value, also how.
unsafe fn state_text(slf: Raw) -> String {
    // SAFETY: a handle.
    unsafe {
        let status = status_text(slf);
        if !GoroutineObj::done(slf).is_set() {
            return status.to_owned();
        }
        let error = GoroutineObj::error(slf);
        if error.is_null() {
            return status.to_owned();
        }
        if ffi::PyErr_GivenExceptionMatches(error, errors::CANCELLED.get()) != 0 {
            return format!("{status}: cancelled");
        }
        let class = std::ffi::CStr::from_ptr((*ffi::Py_TYPE(error)).tp_name).to_string_lossy();
        format!("{status}: raised {}", class.rsplit('.').next().unwrap_or(&class))
    }
}

pub(super) unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of Goroutine.
    unsafe {
        let name = get_name(slf, ptr::null_mut());
        if name.is_null() {
            return name;
        }
        let text = format!(
            "<goroutine {} [{}] {}>",
            GoroutineObj::gref(slf).goid(),
            state_text(slf),
            errors::text_of(name)
        );
        ffi::Py_DECREF(name);
        obj::unicode(&text)
    }
}

const JOIN_DOC: &std::ffi::CStr = c"join($self, timeout=None)
--

Waits for the end of the goroutine and returns its value, or raises its exception.

After goexit() the value is None. Go has no such handle; there one uses a channel.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: what the goroutine raised (the same object each time); TimeoutError after
    timeout; RuntimeError in the goroutine itself.

>>> golib.go(pow, 2, 10).join()
1024";

pub(super) static METHODS: Table<[PyMethodDef; 14]> = Table([
    raw::keywords(c"join", golib_entry_join, JOIN_DOC),
    raw::keywords(
        c"result",
        golib_entry_join,
        c"result($self, timeout=None)
--

The same as join().",
    ),
    raw::keywords(
        c"exception",
        golib_entry_exception,
        c"exception($self, timeout=None)
--

Waits for the end of the goroutine; the exception that ended it, or None.

An exception that was read here or by join() is not reported as uncaught.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: TimeoutError after timeout.

>>> golib.go(int, 'x').exception()
ValueError(\"invalid literal for int() with base 10: 'x'\")",
    ),
    raw::keywords(
        c"_wait",
        golib_entry_goroutine_wait,
        c"_wait($self, timeout=None)
--

Waits for its end, without reading its exception.",
    ),
    raw::method(
        c"done",
        is_done,
        ffi::METH_NOARGS,
        c"done($self, /)
--

True once it has ended.

>>> g = golib.go(int)
>>> g.join(), g.done()
(0, True)",
    ),
    raw::method(
        c"cancel",
        cancel_method,
        ffi::METH_NOARGS,
        c"cancel($self, /)
--

Has Cancelled raised in it, where it waits in a golib operation or when it next would.

Every later operation that would wait raises it again; in `with golib.shield():` none does. It
is not interrupted in the middle of Python code or of another C call. A goroutine that ends by
Cancelled is not reported, and join() raises it. Go has nothing like it; there one cancels a
context.

Returns: False if it has ended already.
Blocks: nothing.

>>> g = golib.go(golib.Chan().recv)
>>> g.cancel()
True
>>> g.join()
Traceback (most recent call last):
golib.Cancelled: context canceled",
    ),
    raw::method(
        c"status",
        status,
        ffi::METH_NOARGS,
        c"status($self, /)
--

What it does: 'running', 'runnable', 'dead', or what it waits for in Go's words.

>>> g = golib.go(int)
>>> g.join(), g.status()
(0, 'dead')",
    ),
    raw::method(
        c"stack",
        stack,
        ffi::METH_NOARGS,
        c"stack($self, /)
--

Its Python frames, the oldest first, as a traceback.StackSummary; empty once it has ended.

>>> ch = golib.Chan()
>>> g = golib.go(lambda: ch.recv())
>>> golib.sleep(0.1)
>>> [frame.name for frame in g.stack()]
['<lambda>']
>>> ch.send(None)",
    ),
    raw::method(
        c"_ident",
        ident,
        ffi::METH_NOARGS,
        c"_ident($self, /)
--

What threading.get_ident() gives in it.",
    ),
    raw::method(
        c"_header",
        header,
        ffi::METH_NOARGS,
        c"_header($self, /)
--

The first line of its dump.",
    ),
    raw::method(
        c"_frame",
        frame,
        ffi::METH_NOARGS,
        c"_frame($self, /)
--

Its newest Python frame, or None.",
    ),
    raw::method(
        c"_origin",
        origin,
        ffi::METH_NOARGS,
        c"_origin($self, /)
--

(code, line, goroutine) of the go() that made it, or None.",
    ),
    raw::CLASS_GETITEM,
    PyMethodDef::zeroed(),
]);

pub(super) static PROPERTIES: Table<[ffi::PyGetSetDef; 3]> = Table([
    raw::property(c"id", get_id, c"Its number: unique in the process, from 1."),
    ffi::PyGetSetDef {
        name: c"name".as_ptr(),
        get: Some(get_name),
        set: Some(set_name),
        doc: c"Its name, that of its function unless spawn() or an assignment gave it another."
            .as_ptr(),
        closure: ptr::null_mut(),
    },
    raw::END_OF_PROPERTIES,
]);
