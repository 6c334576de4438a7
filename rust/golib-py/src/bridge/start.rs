//! Start, exit and fork: what the first goroutine sets going, and what ends it.
//!
//! Importing the module starts nothing. The first `go` installs the identity patches, the exit and fork hooks and the
//! SIGQUIT handler (`golib._start`).

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use go_lib::runtime::embedder::{self, WaitReason};
use pyo3::ffi;

use crate::bridge::host;
use crate::core::goroutine::{self, END_OF_CHILD, RENAMED, SUMMARY, UNCAUGHT};
use crate::cpython::{self, identity, tstate};
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};

static STARTED: AtomicBool = AtomicBool::new(false);
static EXITED: AtomicBool = AtomicBool::new(false);

/// Before the first goroutine; false: an exception is set.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn ensure_started() -> bool {
    // Relaxed: both are written under the GIL.
    if STARTED.load(Ordering::Relaxed) && !EXITED.load(Ordering::Relaxed) {
        return true;
    }
    // SAFETY: the GIL is held.
    unsafe { start() }
}

#[cold]
#[inline(never)]
unsafe fn start() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        if EXITED.load(Ordering::Relaxed) && !host::on_main_os_thread() {
            sleep_for_good();
        }
        if EXITED.load(Ordering::Relaxed) || cpython::finalizing() {
            errors::set(
                ffi::PyExc_RuntimeError,
                "cannot start a goroutine at interpreter shutdown",
            );
            return false;
        }
        if identity::install() < 0
            || !import(c"golib._report", c"uncaught", &UNCAUGHT)
            || !import(c"golib._report", c"summary_of", &SUMMARY)
            || !import(c"golib._report", c"end_of_child", &END_OF_CHILD)
            || !import(c"golib._threads", c"renamed", &RENAMED)
        {
            return false;
        }
        // Set first: the Python side may call back.
        STARTED.store(true, Ordering::Relaxed);
        let started = Global::new();
        if !import(c"golib._start", c"started", &started) {
            STARTED.store(false, Ordering::Relaxed);
            return false;
        }
        let result = ffi::PyObject_CallNoArgs(started.get());
        ffi::Py_DECREF(started.get());
        if result.is_null() {
            STARTED.store(false, Ordering::Relaxed);
            return false;
        }
        ffi::Py_DECREF(result);
        true
    }
}

/// A daemon thread, or a goroutine that still runs, wants a goroutine while the interpreter goes away: it ends here, as
/// any thread does that wants the interpreter then.
unsafe fn sleep_for_good() {
    if embedder::current_host().is_null() {
        // SAFETY: the GIL is held by this thread's own state, which it gives up for ever.
        unsafe { tstate::thread_save() };
        loop {
            std::thread::park();
        }
    }
    embedder::set_caller(ptr::null());
    loop {
        embedder::park_forever(WaitReason::Forever);
    }
}

/// Sets `global` to `module.name`; false: an exception is set.
pub(crate) unsafe fn import(
    module: &std::ffi::CStr,
    name: &std::ffi::CStr,
    global: &Global,
) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        let module = ffi::PyImport_ImportModule(module.as_ptr());
        if module.is_null() {
            return false;
        }
        global.set(ffi::PyObject_GetAttrString(module, name.as_ptr()));
        ffi::Py_DECREF(module);
        !global.get().is_null()
    }
}

/// Raises what a refused goroutine means.
///
/// # Safety
/// The GIL is held.
#[cold]
pub(crate) unsafe fn refused(error: &std::io::Error) {
    // SAFETY: the GIL is held.
    unsafe {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            errors::set(ffi::PyExc_MemoryError, embedder::stack_limit_text());
        } else {
            let why = embedder::thread_limit_text(error.raw_os_error().unwrap_or(0));
            let text = format!(
                "cannot start a thread for a goroutine: {why} (see golib.runtime.set_max_threads)"
            );
            errors::set(ffi::PyExc_RuntimeError, &text);
        }
    }
}

/// Has [`at_exit`] run as the last of the program's exit handlers, whenever they were registered: they may use golib. False:
/// an exception is set.
///
/// # Safety
/// The GIL is held; the module has its functions.
pub(crate) unsafe fn register_at_exit(module: Raw) -> bool {
    let register = Global::new();
    // SAFETY: the GIL is held.
    unsafe {
        if !import(c"atexit", c"register", &register) {
            return false;
        }
        let handler = ffi::PyObject_GetAttrString(module, c"_at_exit".as_ptr());
        let result = if handler.is_null() {
            handler
        } else {
            ffi::PyObject_CallOneArg(register.get(), handler)
        };
        ffi::Py_DECREF(register.get());
        ffi::Py_XDECREF(handler);
        ffi::Py_XDECREF(result);
        !result.is_null() && cpython::call_last_at_exit() == 0
    }
}

/// `_golib._at_exit()`: the atexit handler.
pub(crate) unsafe extern "C" fn at_exit(_: Raw, _: Raw) -> Raw {
    // SAFETY: called by atexit on the thread that ends the interpreter.
    unsafe {
        if !EXITED.load(Ordering::Relaxed) {
            goroutine::report_unread();
            EXITED.store(true, Ordering::Relaxed);
            host::at_exit();
            crate::bridge::alarm::at_exit();
            // What failed until all had stopped.
            goroutine::report_unread();
        }
        obj::none()
    }
}

/// `_golib._report_unread()`: reports exceptions that nobody has read.
pub(crate) unsafe extern "C" fn report_unread(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        goroutine::report_unread();
        obj::none()
    }
}

/// In a forked child, before CPython has done anything there.
///
/// # Safety
/// See `cpython::identity::HostTable`.
pub(crate) unsafe extern "C" fn in_forked_child() {
    // SAFETY: called once in the child, by its only thread; no Python object is touched but for a flag of the handle.
    unsafe {
        let forker: Raw = embedder::current_host().cast();
        let in_goroutine = host::after_fork();
        goroutine::set_child_root(if in_goroutine { forker } else { ptr::null_mut() });
        crate::module::run::after_fork();
        crate::bridge::alarm::after_fork();
        crate::types::group::after_fork();
        goroutine::forget_unread();
    }
}

/// `_golib._after_fork()`: a hook in a forked child, before the program's own.
pub(crate) unsafe extern "C" fn after_fork(_: Raw, _: Raw) -> Raw {
    // SAFETY: called in the child, with the GIL held; the runtime has started afresh.
    unsafe {
        crate::core::context::ambient::after_fork();
        tstate::forget_hooks(embedder::current_host().cast());
        obj::none()
    }
}

/// `_golib._hook_child(hook)`: calls `hook()` in every forked child, before the program's own hooks.
pub(crate) unsafe extern "C" fn hook_child(_: Raw, hook: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        if identity::hook_child(hook) < 0 {
            return ptr::null_mut();
        }
        obj::none()
    }
}
