//! Making handles and starting their goroutines.

use std::os::raw::c_int;
use std::ptr;

use go_lib::runtime::embedder::{self, Event};
use pyo3::ffi::{self, PyObject, Py_ssize_t};

use super::handle::{GoroutineObj, GOROUTINE};
use super::python;
use crate::bridge::startup;
use crate::core::context::ambient;
use crate::core::context::entry::Holder;
use crate::cpython::{object, tstate};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{Global, Raw};
use crate::ffi::raw::{self, arguments, guard, instance};
use crate::ffi::refs::Outcome;

/// What a new goroutine is to be.
pub(crate) struct Spec {
    pub(crate) function: Raw,
    /// A tuple; taken over.
    pub(crate) args: Raw,
    /// A dict or null; taken over.
    pub(crate) kwargs: Raw,
    /// A str or null; borrowed.
    pub(crate) name: Raw,
    /// 0: the default.
    pub(crate) stack_bytes: usize,
    /// Python frames between the caller to be named and the newest; negative: name none.
    pub(crate) skip: c_int,
    /// See `GoroutineObj::is_main`.
    pub(crate) is_main: bool,
    /// A servant of ours, see `alarm`.
    pub(crate) system: bool,
    /// The context variables with which it starts, taken over (null: none); None: a copy of the caller's.
    pub(crate) vars: Option<Raw>,
    /// Its ambient contexts and group, taken over; null for none.
    pub(crate) holder: *const Holder,
}

impl Spec {
    /// A goroutine of `function` with `args` (taken over) and nothing special, of which no caller is named.
    pub(crate) fn new(function: Raw, args: Raw) -> Spec {
        Spec {
            function,
            args,
            kwargs: ptr::null_mut(),
            name: ptr::null_mut(),
            stack_bytes: 0,
            skip: -1,
            is_main: false,
            system: false,
            vars: None,
            holder: ptr::null(),
        }
    }
}

/// Checks that `function` can be a goroutine's; false: a TypeError is set.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn check_function(function: Raw) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if ffi::PyCallable_Check(function) == 0 || object::is_async(function) {
            refuse(function);
            return false;
        }
    }
    true
}

/// Raises a TypeError that says what to write instead of `function`.
#[cold]
#[inline(never)]
unsafe fn refuse(function: Raw) {
    // SAFETY: the GIL is held.
    unsafe {
        if REFUSE.get().is_null() && !REFUSE.import(c"golib._words", c"refuse") {
            return;
        }
        let raised = ffi::PyObject_CallOneArg(REFUSE.get(), function);
        ffi::Py_XDECREF(raised);
    }
}

/// `golib._words.refuse(function)`.
static REFUSE: Global = Global::new();

/// Before the first goroutine.
#[inline]
pub(crate) fn ensure_started(gil: Gil<'_>) -> Outcome<()> {
    if startup::is_set_up() {
        return Ok(());
    }
    startup::set_up(gil, python::find)
}

/// Starts a goroutine; its handle, or null with an exception set.
///
/// # Safety
/// The GIL is held; the spec's references are as it says.
pub(crate) unsafe fn start_goroutine(spec: Spec) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make(spec.function, spec.args, spec.kwargs);
        if slf.is_null() {
            ffi::Py_XDECREF(spec.vars.unwrap_or(ptr::null_mut()));
            if !spec.holder.is_null() {
                ambient::end(spec.holder);
            }
            return slf;
        }
        let g = instance::<GoroutineObj>(slf);
        ffi::Py_XINCREF(spec.name);
        (*g).name = spec.name;
        (*g).is_main = spec.is_main;
        if spec.skip >= 0 {
            ((*g).origin, (*g).origin_lasti) = object::origin(spec.skip);
        }
        (*g).holder = spec.holder;
        match spec.vars.map_or_else(|| tstate::vars_for_spawn(), Ok) {
            Ok(vars) => (*g).vars = vars,
            Err(()) => return abandon(slf),
        }
        // By 1: the runtime's.
        ffi::Py_INCREF(slf);
        let spawn = if spec.system { embedder::spawn_system } else { embedder::spawn };
        match guard(|| spawn(slf.cast(), spec.stack_bytes)) {
            // The goroutine cannot run before we give the GIL up.
            Some(Ok(gref)) => {
                (*g).gref.write(gref);
                if let Some(holder) = spec.holder.as_ref() {
                    ambient::has_goroutine(Gil::assume(), holder, gref);
                }
                slf
            }
            Some(Err(error)) => {
                let _ = startup::refused(Gil::assume(), &error);
                ffi::Py_DECREF(slf);
                abandon(slf)
            }
            None => {
                ffi::Py_DECREF(slf);
                abandon(slf)
            }
        }
    }
}

/// Drops a handle whose goroutine was not started; an exception is set.
#[cold]
unsafe fn abandon(slf: Raw) -> Raw {
    // SAFETY: our reference. Finalizers do not see the exception.
    unsafe {
        let error = errors::fetch();
        let g = instance::<GoroutineObj>(slf);
        let holder = ptr::replace(&raw mut (*g).holder, ptr::null());
        if !holder.is_null() {
            ambient::end(holder);
        }
        ffi::Py_DECREF(slf);
        errors::restore(error);
    }
    ptr::null_mut()
}

/// A handle without a goroutine; takes `args` and `kwargs` over. Null with an exception set.
unsafe fn make(function: Raw, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if args.is_null() || !check_function(function) || ensure_started(Gil::assume()).is_err() {
            ffi::Py_XDECREF(args);
            ffi::Py_XDECREF(kwargs);
            return ptr::null_mut();
        }
        // By 3: not PyType_GenericAlloc, which would tell the collector.
        let slf = ffi::PyObject_GC_New::<PyObject>(GOROUTINE.get().cast());
        if slf.is_null() {
            ffi::Py_DECREF(args);
            ffi::Py_XDECREF(kwargs);
            return slf;
        }
        let g = instance::<GoroutineObj>(slf);
        ptr::write_bytes(
            slf.add(1).cast::<u8>(),
            0,
            size_of::<GoroutineObj>() - size_of::<PyObject>(),
        );
        ffi::Py_INCREF(function);
        (*g).function = function;
        (*g).args = args;
        (*g).kwargs = kwargs;
        ptr::write(&raw mut (*g).done, Event::new());
        slf
    }
}

/// `golib.go(fn, /, *args, **kwargs)`.
pub(crate) unsafe extern "C" fn go(_: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        if n < 1 {
            return errors::raise(ffi::PyExc_TypeError, "go() missing required argument: 'fn'");
        }
        let Some((positional, kwargs)) = rest_of_call(args, n, kwnames) else {
            return ptr::null_mut();
        };
        start_goroutine(Spec { kwargs, skip: 0, ..Spec::new(*args, positional) })
    }
}

/// What a vectorcall gives behind its first argument: a tuple, and a dict or null. None: an exception is set.
///
/// # Safety
/// The arguments are those of such a call, with at least one.
#[inline]
pub(crate) unsafe fn rest_of_call(
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Option<(Raw, Raw)> {
    // SAFETY: the caller's duty.
    unsafe {
        let positional = arguments_of(args.add(1), n - 1);
        if positional.is_null() {
            return None;
        }
        if kwnames.is_null() || ffi::PyTuple_GET_SIZE(kwnames) == 0 {
            return Some((positional, ptr::null_mut()));
        }
        let kwargs = keywords_of(kwnames, args.add(n as usize));
        if kwargs.is_null() {
            ffi::Py_DECREF(positional);
            return None;
        }
        Some((positional, kwargs))
    }
}

/// A tuple of `n` borrowed references; null with an exception set.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn arguments_of(items: *const Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: n borrowed references.
    unsafe {
        let tuple = ffi::PyTuple_New(n);
        if !tuple.is_null() {
            for i in 0..n {
                let item = *items.add(i as usize);
                ffi::Py_INCREF(item);
                ffi::PyTuple_SET_ITEM(tuple, i, item);
            }
        }
        tuple
    }
}

/// The dict of a vectorcall's keywords; null with an exception set.
///
/// # Safety
/// The GIL is held; `values` are as many as the names.
#[cold]
unsafe fn keywords_of(names: Raw, values: *const Raw) -> Raw {
    // SAFETY: a tuple of names and as many values.
    unsafe {
        let dict = ffi::PyDict_New();
        for i in 0..ffi::PyTuple_GET_SIZE(names) {
            if dict.is_null() {
                break;
            }
            if ffi::PyDict_SetItem(dict, ffi::PyTuple_GET_ITEM(names, i), *values.add(i as usize))
                < 0
            {
                ffi::Py_DECREF(dict);
                return ptr::null_mut();
            }
        }
        dict
    }
}

/// `golib.spawn(fn, args=(), kwargs=None, *, name=None, stack_size=None)`, with a private `_skip`.
pub(crate) unsafe extern "C" fn spawn(
    _: Raw,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Raw {
    const POSITIONAL: Py_ssize_t = 3;
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let names = [c"fn", c"args", c"kwargs", c"name", c"stack_size", c"_skip"];
        let Some([function, given, kwargs, name, stack_size, skip]) =
            arguments("spawn", &names, 1, args, n, kwnames)
        else {
            return ptr::null_mut();
        };
        if n > POSITIONAL {
            return errors::raise(
                ffi::PyExc_TypeError,
                "spawn() takes at most 3 positional arguments",
            );
        }
        let is_none = |object: Raw| object.is_null() || object == ffi::Py_None();
        if !is_none(name) && ffi::PyUnicode_Check(name) == 0 {
            return errors::raise(ffi::PyExc_TypeError, "name must be a str");
        }
        let mut stack_bytes = 0;
        if !is_none(stack_size) {
            match raw::integer_of(stack_size) {
                None => return ptr::null_mut(),
                Some(size) if (1..=MAX_STACK).contains(&size) => {
                    stack_bytes = size.max(MIN_STACK) as usize
                }
                Some(_) => {
                    return errors::raise(
                        ffi::PyExc_ValueError,
                        "stack_size must be positive and at most 1 GiB",
                    );
                }
            }
        }
        let skip = if skip.is_null() { 0 } else { ffi::PyLong_AsLong(skip) as c_int };
        let args = if given.is_null() { ffi::PyTuple_New(0) } else { ffi::PySequence_Tuple(given) };
        let kwargs = if is_none(kwargs) { ptr::null_mut() } else { copy_of(kwargs) };
        if args.is_null() || !ffi::PyErr_Occurred().is_null() {
            ffi::Py_XDECREF(args);
            ffi::Py_XDECREF(kwargs);
            return ptr::null_mut();
        }
        let name = if is_none(name) { ptr::null_mut() } else { name };
        start_goroutine(Spec { kwargs, name, stack_bytes, skip, ..Spec::new(function, args) })
    }
}

/// The least stack that Python code is safe on, and the most that can be asked for.
const MIN_STACK: i64 = 512 << 10;
const MAX_STACK: i64 = 1 << 30;

/// A dict with the items of any mapping; null with an exception set.
unsafe fn copy_of(mapping: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let dict = ffi::PyDict_New();
        if !dict.is_null() && ffi::PyDict_Update(dict, mapping) < 0 {
            ffi::Py_DECREF(dict);
            return ptr::null_mut();
        }
        dict
    }
}
