//! Signals, as far as they decide whether there is a deadlock: which handlers could run, and which will.

use pyo3::ffi;

use crate::cpython;
use crate::ffi::errors;
use crate::ffi::obj::{Global, Raw};

// Found at import: nothing is imported where they are used.
static GETSIGNAL: Global = Global::new();
static DEFAULT_INT_HANDLER: Global = Global::new();

/// The modules of the handlers that wake no waiter.
const HARMLESS: [&str; 3] = ["golib._start", "golib._main_thread", "asyncio.runners"];

/// The largest signal number.
const LAST: i32 = 64;

/// False: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn init() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        let wanted = [
            (c"_signal", c"getsignal", &GETSIGNAL),
            (c"_signal", c"default_int_handler", &DEFAULT_INT_HANDLER),
        ];
        wanted.iter().all(|(module, name, global)| {
            let module = ffi::PyImport_ImportModule(module.as_ptr());
            if module.is_null() {
                return false;
            }
            global.set(ffi::PyObject_GetAttrString(module, name.as_ptr()));
            ffi::Py_DECREF(module);
            !global.get().is_null()
        })
    }
}

/// Some signal would run a Python handler of the program's. Runs no Python code, and keeps the GIL.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn program_handles_any() -> bool {
    // SAFETY: the GIL is held; getsignal is a builtin, called with a small integer.
    unsafe {
        (1..=LAST).any(|number| {
            let number = ffi::PyLong_FromLong(number.into());
            let handler = ffi::PyObject_CallOneArg(GETSIGNAL.get(), number);
            ffi::Py_DECREF(number);
            if handler.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            // SIG_DFL and SIG_IGN are integers; None stands for a handler that Python has not set.
            let counts = ffi::PyCallable_Check(handler) != 0
                && handler != DEFAULT_INT_HANDLER.get()
                && !wakes_nobody(handler);
            ffi::Py_DECREF(handler);
            counts
        })
    }
}

/// A handler that golib has set for SIGQUIT or SIGURG (what `golib.signal` expects is counted by `run::expect_wakeups`), or
/// that of `asyncio.run` for SIGINT: it speaks to its loop only, or raises KeyboardInterrupt as the default does, and that
/// loop stands still while the main thread waits in golib.
unsafe fn wakes_nobody(handler: Raw) -> bool {
    // SAFETY: the GIL is held; `handler` is alive.
    unsafe {
        let module = cpython::object::module_of(handler);
        if module.is_null() {
            return false;
        }
        let wakes_nobody = ffi::PyUnicode_Check(module) != 0
            && HARMLESS.contains(&errors::text_of(module).as_str());
        ffi::Py_DECREF(module);
        wakes_nobody
    }
}

/// A signal will run a Python handler on the main thread: the kernel has not delivered it yet, the thread has just been
/// woken by it, or CPython knows of it. In this order: it leaves each of these only for the next.
pub(crate) fn is_under_way() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mask = |name| field(name).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    let pending = (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigBlk:");
    let awake = field("State:").is_some_and(|state| !state.starts_with('S'));
    pending != 0 || awake || cpython::object::signal_tripped()
}
