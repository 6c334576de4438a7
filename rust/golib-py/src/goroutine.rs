//! `golib.Goroutine`: a goroutine's handle, and what runs on its stack.
//!
//! The handle is the runtime's payload for the goroutine: it holds the function until it has run, then the result.
//!
//! # Invariants
//! 1. While the goroutine lives the runtime owns one reference, which [`goroutine_main`] gives back; before that it tells
//!    the runtime to forget the payload.
//! 2. `result` or `error` is set before `done` is, and not changed afterwards but by the collector.
//! 3. The collector knows a handle once its goroutine has ended: until then the runtime holds it, so that it and what it
//!    refers to are no garbage, and most handles never have to be looked at.
//! 4. On the stack of a goroutine, between its entry and its function, nothing needs dropping and nothing catches: at
//!    exit CPython may end the thread by unwinding it.
//!
//! Go: runtime/proc.go (newproc, goexit)

use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use go_lib::runtime::embedder::{self, Event, GRef, WaitReason};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::chan::free_instance;
use crate::cpython::{object, tstate, ThreadState};
use crate::errors;
use crate::obj::{self, Global, Name, Raw};
use crate::raw::{self, arguments, guard, instance, parking, wait_of, Table};
use crate::start;

/// An instance of `golib.Goroutine`.
#[repr(C)]
pub(crate) struct GoroutineObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// The runtime's goroutine; set before anybody else sees the handle.
    gref: MaybeUninit<GRef>,
    /// Until it has run.
    function: Raw,
    args: Raw,
    /// Null if there are none.
    kwargs: Raw,
    /// The contextvars that it starts with; null: none, and after the start.
    context: Raw,
    /// Null until somebody asks or the function is released.
    name: Raw,
    /// By 2.
    result: Raw,
    error: Raw,
    /// What its next or current wait is to raise.
    pending: Raw,
    /// The code that started it, and where in it; null for a main goroutine.
    origin: Raw,
    origin_lasti: c_int,
    /// `error` was neither read nor reported.
    unread: bool,
    /// The main goroutine of a `run` on the main thread: it has that thread's ident.
    pub(crate) is_main: bool,
    done: Event,
}

/// The type `golib.Goroutine`.
pub(crate) static GOROUTINE: Global = Global::new();
/// `golib._report.uncaught(goroutine, error)`.
pub(crate) static UNCAUGHT: Global = Global::new();
/// `golib._report.summary_of(frame)`.
pub(crate) static SUMMARY: Global = Global::new();
/// `golib._report.end_of_child(error)`.
pub(crate) static END_OF_CHILD: Global = Global::new();
/// In a forked child: the goroutine that forked. The process ends with it.
static CHILD_ROOT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

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
}

/// Checks that `function` can be a goroutine's; false: a TypeError is set.
///
/// # Safety
/// The GIL is held.
#[inline]
unsafe fn check_function(function: Raw) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if ffi::PyCallable_Check(function) == 0 {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"a goroutine needs a callable, not %s".as_ptr(),
                (*ffi::Py_TYPE(function)).tp_name,
            );
            return false;
        }
        if object::is_async(function) {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"a goroutine needs an ordinary function, not the async function %R".as_ptr(),
                function,
            );
            return false;
        }
    }
    true
}

/// Starts a goroutine; its handle, or null with an exception set.
///
/// # Safety
/// The GIL is held; the spec's references are as it says.
pub(crate) unsafe fn start(spec: Spec) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make(spec.function, spec.args, spec.kwargs);
        if slf.is_null() {
            return slf;
        }
        let g = instance::<GoroutineObj>(slf);
        ffi::Py_XINCREF(spec.name);
        (*g).name = spec.name;
        (*g).is_main = spec.is_main;
        if spec.skip >= 0 {
            ((*g).origin, (*g).origin_lasti) = object::origin(spec.skip);
        }
        match tstate::context_for_spawn() {
            Ok(context) => (*g).context = context,
            Err(()) => return abandon(slf),
        }
        // By 1: the runtime's.
        ffi::Py_INCREF(slf);
        match guard(|| embedder::spawn(slf.cast(), spec.stack_bytes)) {
            // The goroutine cannot run before we give the GIL up.
            Some(Ok(gref)) => {
                (*g).gref.write(gref);
                slf
            }
            Some(Err(error)) => {
                start::refused(&error);
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
        ffi::Py_DECREF(slf);
        errors::restore(error);
    }
    ptr::null_mut()
}

/// A handle without a goroutine; takes `args` and `kwargs` over. Null with an exception set.
unsafe fn make(function: Raw, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if args.is_null() || !check_function(function) || !start::ensure_started() {
            ffi::Py_XDECREF(args);
            ffi::Py_XDECREF(kwargs);
            return ptr::null_mut();
        }
        let slf = ffi::PyType_GenericAlloc(GOROUTINE.get().cast::<PyTypeObject>(), 0);
        if slf.is_null() {
            ffi::Py_DECREF(args);
            ffi::Py_XDECREF(kwargs);
            return slf;
        }
        // By 3.
        ffi::PyObject_GC_UnTrack(slf.cast());
        let g = instance::<GoroutineObj>(slf);
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
        let tuple = tuple_of(args.add(1), n - 1);
        let mut kwargs = ptr::null_mut();
        if !kwnames.is_null() && ffi::PyTuple_GET_SIZE(kwnames) > 0 {
            kwargs = dict_of(kwnames, args.add(n as usize));
            if kwargs.is_null() {
                ffi::Py_XDECREF(tuple);
                return kwargs;
            }
        }
        start(Spec {
            function: *args,
            args: tuple,
            kwargs,
            name: ptr::null_mut(),
            stack_bytes: 0,
            skip: 0,
            is_main: false,
        })
    }
}

#[inline]
unsafe fn tuple_of(items: *const Raw, n: Py_ssize_t) -> Raw {
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

#[cold]
unsafe fn dict_of(names: Raw, values: *const Raw) -> Raw {
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
        start(Spec { function, args, kwargs, name, stack_bytes, skip, is_main: false })
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

/// A goroutine's life, on its own stack.
///
/// # Safety
/// `slf` is a handle whose goroutine this is, `ts` its state, attached on this thread. By 1 and 4.
pub(crate) unsafe extern "C-unwind" fn goroutine_main(slf: Raw, ts: ThreadState) {
    // SAFETY: the caller's duty.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        let goid = (*g).gref.assume_init().goid();
        ts.set_ident(if (*g).is_main {
            crate::host::main_ident() as _
        } else {
            tstate::ident_of(goid)
        });
        let context = ptr::replace(&raw mut (*g).context, ptr::null_mut());
        ts.set_context(context);
        let pending = GoroutineObj::take_pending(slf);
        if pending.is_null() {
            (*g).result = ts.call((*g).function, (*g).args, (*g).kwargs);
        } else {
            errors::restore(pending);
        }
        finish(g);
        if CHILD_ROOT.load(Ordering::Relaxed) == slf {
            end_of_child(g);
        }
        (*g).done.set();
        embedder::forget_host();
        // If nobody holds the handle, this reports an exception.
        ffi::Py_DECREF(slf);
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
        if ffi::Py_REFCNT(g.cast()) > 1 {
            // By 3.
            ffi::PyObject_GC_Track(g.cast());
        }
    }
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

/// In a forked child the process ends with the goroutine that forked.
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
unsafe fn name_of(function: Raw) -> Raw {
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

impl GoroutineObj {
    /// Takes the exception that somebody left for this goroutine: an owned reference, or null.
    ///
    /// # Safety
    /// `slf` is a handle; the GIL is held.
    pub(crate) unsafe fn take_pending(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe { ptr::replace(&raw mut (*instance::<GoroutineObj>(slf)).pending, ptr::null_mut()) }
    }

    /// Something is left for it to raise.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn has_pending(slf: Raw) -> bool {
        // SAFETY: the caller's duty.
        unsafe { !(*instance::<GoroutineObj>(slf)).pending.is_null() }
    }

    /// The runtime's goroutine.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn gref(slf: Raw) -> GRef {
        // SAFETY: set before anybody sees the handle.
        unsafe { (*instance::<GoroutineObj>(slf)).gref.assume_init() }
    }

    /// Set at its end.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); the handle outlives the use.
    pub(crate) unsafe fn done<'a>(slf: Raw) -> &'a Event {
        // SAFETY: the caller's duty.
        unsafe { &(*instance::<GoroutineObj>(slf)).done }
    }

    /// Leaves `error` (taken over) for the goroutine to raise, and ends its wait if it waits in an operation of ours.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn interrupt(slf: Raw, error: Raw) {
        // SAFETY: the caller's duty.
        unsafe {
            let old = ptr::replace(&raw mut (*instance::<GoroutineObj>(slf)).pending, error);
            ffi::Py_XDECREF(old);
            Self::gref(slf).interrupt();
        }
    }
}

/// In a forked child: the process ends with `slf`, the goroutine that forked (null: an ordinary fork).
pub(crate) fn set_child_root(slf: Raw) {
    CHILD_ROOT.store(slf, Ordering::Relaxed);
}

/// The checked handle behind a function's argument; None: a TypeError is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn handle(object: Raw) -> Option<Raw> {
    // SAFETY: the GIL is held.
    unsafe {
        if ffi::Py_TYPE(object).cast() == GOROUTINE.get() {
            return Some(object);
        }
        errors::set(ffi::PyExc_TypeError, "a Goroutine is needed");
        None
    }
}

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    parking!(golib_entry_join => join(slf, args, n, kwnames) {
        // SAFETY: a method of Goroutine.
        unsafe {
            if !wait_done("join", slf, args, n, kwnames) {
                return ptr::null_mut();
            }
            let g = instance::<GoroutineObj>(slf);
            (*g).unread = false;
            if (*g).error.is_null() {
                // Null only after the collector has cleared it.
                let result = if (*g).result.is_null() { ffi::Py_None() } else { (*g).result };
                ffi::Py_INCREF(result);
                return result;
            }
            ffi::Py_INCREF((*g).error);
            errors::restore((*g).error);
            ptr::null_mut()
        }
    });

    parking!(golib_entry_exception => exception(slf, args, n, kwnames) {
        // SAFETY: a method of Goroutine.
        unsafe {
            if !wait_done("exception", slf, args, n, kwnames) {
                return ptr::null_mut();
            }
            let g = instance::<GoroutineObj>(slf);
            (*g).unread = false;
            let error = if (*g).error.is_null() { ffi::Py_None() } else { (*g).error };
            ffi::Py_INCREF(error);
            error
        }
    });
}

use parks::{golib_entry_exception, golib_entry_join};

/// Waits for the end of `slf`; false: an exception is set.
#[inline(always)]
unsafe fn wait_done(
    function: &'static str,
    slf: Raw,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
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
            match guard(|| done.wait(wait, WaitReason::Join)) {
                Some(Ok(())) => return true,
                Some(Err(error)) if errors::again(error, function) => {}
                _ => return false,
            }
        }
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
    unsafe { raw::unicode(status_text(slf)) }
}

unsafe extern "C" fn header(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine.
    unsafe { raw::unicode(&GoroutineObj::gref(slf).header()) }
}

/// `_frame()`: the newest Python frame, or None.
unsafe extern "C" fn frame(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Goroutine. While it is not done its state is its own; the GIL keeps it from running.
    unsafe {
        let state = GoroutineObj::gref(slf).state();
        if GoroutineObj::done(slf).is_set() || state.is_null() {
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
            return raw::unicode("?");
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
        0
    }
}

unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of Goroutine.
    unsafe {
        let name = get_name(slf, ptr::null_mut());
        if name.is_null() {
            return name;
        }
        let text = format!(
            "<goroutine {} [{}] {}>",
            GoroutineObj::gref(slf).goid(),
            status_text(slf),
            errors::text_of(name)
        );
        ffi::Py_DECREF(name);
        raw::unicode(&text)
    }
}

impl GoroutineObj {
    fn references(&self) -> [Raw; 9] {
        [
            self.function,
            self.args,
            self.kwargs,
            self.context,
            self.name,
            self.result,
            self.error,
            self.pending,
            self.origin,
        ]
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let mut stop = obj::visit(ffi::Py_TYPE(slf).cast(), visit, arg);
        for object in (*instance::<GoroutineObj>(slf)).references() {
            if stop == 0 {
                stop = obj::visit(object, visit, arg);
            }
        }
        stop
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        for slot in [
            &raw mut (*g).function,
            &raw mut (*g).args,
            &raw mut (*g).kwargs,
            &raw mut (*g).context,
            &raw mut (*g).result,
            &raw mut (*g).error,
            &raw mut (*g).pending,
            &raw mut (*g).origin,
        ] {
            obj::clear(slot);
        }
    }
    0
}

/// Reports an exception that nobody has read and nobody can read any more.
unsafe extern "C-unwind" fn finalize(slf: Raw) {
    // SAFETY: a tp_finalize: the handle may be shown to others, who may keep it.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        if !(*g).unread {
            return;
        }
        (*g).unread = false;
        let error = errors::fetch();
        let result = ffi::PyObject_CallFunctionObjArgs(
            UNCAUGHT.get(),
            slf,
            (*g).error,
            ptr::null_mut::<PyObject>(),
        );
        if result.is_null() {
            ffi::PyErr_WriteUnraisable(slf);
        }
        ffi::Py_XDECREF(result);
        if !error.is_null() {
            errors::restore(error);
        }
    }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone, unless the finalizer makes another.
    unsafe {
        if (*instance::<GoroutineObj>(slf)).unread
            && ffi::PyObject_CallFinalizerFromDealloc(slf) < 0
        {
            return;
        }
        ffi::PyObject_GC_UnTrack(slf.cast());
        object::trashcan(slf, dealloc, free);
    }
}

unsafe extern "C-unwind" fn free(slf: Raw) {
    // SAFETY: called by dealloc.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        if !(*g).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        clear(slf);
        obj::clear(&raw mut (*g).name);
        free_instance(slf);
    }
}

// The event owns nothing: a handle is freed without dropping it.
const _: () = assert!(!std::mem::needs_drop::<Event>());

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

static METHODS: Table<[PyMethodDef; 11]> = Table([
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
>>> golib.sleep(0.01)
>>> [frame.name for frame in g.stack()]
['<lambda>']
>>> ch.send(None)",
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

static PROPERTIES: Table<[ffi::PyGetSetDef; 3]> = Table([
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

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(GoroutineObj, weaklist)));

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_finalize, finalize as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, repr as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of GoroutineObj.
    unsafe {
        let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        let class = raw::make_type::<GoroutineObj>(c"golib.Goroutine", flags, &mut slots);
        GOROUTINE.set(class);
        class
    }
}

const DOC: &std::ffi::CStr = c"A goroutine's handle, as go() and spawn() return it.

The goroutine runs whether or not the handle is kept. An exception that ends it waits in
the handle for join() or exception(); if the handle dies unread, it is reported.

>>> g = golib.go(len, 'four')
>>> g.join()
4";
