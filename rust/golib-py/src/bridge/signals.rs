//! Signals, as far as they decide whether there is a deadlock: which handlers could run, and which will.

use crate::cpython;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Global;
use crate::ffi::python::{call1, clear_error, import_from, int, is_callable, is_str, text_of};
use crate::ffi::refs::{New, Outcome, Ref};

// Found at import: nothing is imported where they are used.
static GETSIGNAL: Global = Global::new();
static DEFAULT_INT_HANDLER: Global = Global::new();

/// The modules of the handlers that wake no waiter.
const HARMLESS: [&str; 3] = ["golib._start", "golib._main_thread", "asyncio.runners"];

/// The largest signal number.
const LAST: i64 = 64;

/// Finds what is needed.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<()> {
    GETSIGNAL.set(import_from(gil, c"_signal", c"getsignal")?.give());
    DEFAULT_INT_HANDLER.set(import_from(gil, c"_signal", c"default_int_handler")?.give());
    Ok(())
}

/// Some signal would run a Python handler of the program's. Runs no Python code, and keeps the GIL.
pub(crate) fn program_handles_any(gil: Gil<'_>) -> bool {
    (1..=LAST).any(|number| {
        let Ok(handler) = handler_of(gil, number) else {
            clear_error(gil);
            return false;
        };
        // SIG_DFL and SIG_IGN are integers; None means a handler that Python has not set.
        let counts = is_callable(gil, handler.get())
            && handler.get().as_raw() != DEFAULT_INT_HANDLER.get()
            && !wakes_nobody(gil, handler.get());
        handler.release(gil);
        counts
    })
}

/// `signal.getsignal(number)`, which is a builtin.
fn handler_of(gil: Gil<'_>, number: i64) -> Outcome<New> {
    let number = int(gil, number)?;
    // SAFETY: found at import, and kept.
    let handler = call1(gil, unsafe { Ref::borrowed(GETSIGNAL.get()) }, number.get());
    number.release(gil);
    handler
}

/// A handler that golib has set for SIGQUIT or SIGURG (what `golib.signal` expects is counted by
/// `deadlock::expect_wakeups`), or that of `asyncio.run` for SIGINT: it only affects its loop, which stands still
/// while the main thread waits in golib, or raises KeyboardInterrupt as the default does.
fn wakes_nobody(gil: Gil<'_>, handler: Ref<'_>) -> bool {
    // SAFETY: alive; a new reference, or null.
    let module = unsafe { New::nullable(cpython::object::module_of(handler.as_raw())) };
    let Some(module) = module else { return false };
    let wakes_nobody =
        is_str(gil, module.get()) && HARMLESS.contains(&text_of(gil, module.get()).as_str());
    module.release(gil);
    wakes_nobody
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
