//! The functions that `golib.runtime` and the other Python parts of golib are made of.

use std::ptr;

use go_lib::runtime::embedder;
use pyo3::ffi;

use super::{exit, fork, run};
use crate::bridge::{self, alarm, deadlock};
use crate::core::context::ambient;
use crate::core::goroutine::{is_unread, vars_for_spawn};
use crate::cpython::{self, main_thread, movable, tstate, ThreadState};
use crate::ffi::args::integer_of;
use crate::ffi::args::NS;
use crate::ffi::class::Object;
use crate::ffi::containers::{append, clear, dict, list, list_items, set_item};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::obj::Raw;
use crate::ffi::python::{
    boolean, call0, float, int, interned, none, raise_object, size, truth, unicode, unsigned,
    value_error,
};
use crate::ffi::refs::{release, New, Outcome, Raised, Ref, Slot};
use crate::types::{sync, timer};

/// `_golib._is_cancelled()`: an operation that would wait here raises Cancelled.
fn is_cancelled(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(boolean(gil, ambient::cancelled(gil).is_some()))
}

/// `_golib._check_interpreter()`: raises ImportError in another interpreter than the main one.
fn check_interpreter(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: the token; an exception is set if it fails.
    unsafe {
        if cpython::check_interpreter() < 0 {
            return Err(Raised::assume());
        }
    }
    Ok(none(gil))
}

/// `golib` as it was imported first.
static PACKAGE: Slot = Slot::empty();

/// `_golib._package(module)`: notes the package, the first time; returns what is noted, or None. For None it notes nothing.
fn package(gil: Gil<'_>, _: &Object<Module>, module: Ref<'_>) -> Outcome<New> {
    let x = gil.exclusive();
    if !module.is_none() && PACKAGE.is_empty(x) {
        release(gil, PACKAGE.put(x, Some(module.own(gil))));
    }
    Ok(PACKAGE.get(gil).unwrap_or_else(|| none(gil)))
}

fn in_goroutine(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(boolean(gil, !embedder::current_host().is_null()))
}

fn current(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: the running goroutine's payload is its handle.
    let handle = unsafe { Ref::nullable(host) };
    Ok(handle.map_or_else(|| none(gil), |handle| handle.own(gil)))
}

/// `_golib._mark_thread()`: the calling goroutine has an entry in threading's table.
fn mark_thread(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: the caller's state is attached; an exception is set if it fails.
    unsafe {
        match ThreadState::current().map(|ts| ts.mark_thread()) {
            Some(Err(())) => Err(Raised::assume()),
            _ => Ok(none(gil)),
        }
    }
}

/// `_golib._is_async(fn)`: calling it gives a coroutine or an asynchronous generator.
fn is_async(gil: Gil<'_>, _: &Object<Module>, function: Ref<'_>) -> Outcome<New> {
    // SAFETY: alive.
    Ok(boolean(gil, unsafe { cpython::object::is_async(function.as_raw()) }))
}

/// `_golib._copy_context()`: a copy of the caller's context variables; None if it has none.
fn copy_context(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(vars_for_spawn(gil)?.unwrap_or_else(|| none(gil)))
}

/// `_golib._use_context(context)`: makes a copy of context variables, or none, those of the calling goroutine from now on.
fn use_context(gil: Gil<'_>, _: &Object<Module>, context: Ref<'_>) -> Outcome<New> {
    let vars = if context.is_none() { ptr::null_mut() } else { context.own(gil).give() };
    // SAFETY: what `_copy_context` gave, in a goroutine that has entered no other.
    unsafe {
        if let Some(ts) = ThreadState::current() {
            ts.set_vars(vars);
        }
    }
    Ok(none(gil))
}

fn goroutines(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    let found = list(gil)?;
    let handles = handles(gil);
    let mut filled = Ok(());
    for handle in handles {
        if filled.is_ok() {
            filled = append(gil, found.get(), handle.get());
        }
        handle.release(gil);
    }
    match filled {
        Ok(()) => Ok(found),
        Err(raised) => {
            found.release(gil);
            Err(raised)
        }
    }
}

/// `_golib._let_go(goroutines)`: empties a list of handles. Returns those of goroutines that have failed and whose exception
/// nobody has read: whoever releases the last reference to such a handle reports the exception.
fn let_go(gil: Gil<'_>, _: &Object<Module>, goroutines: Ref<'_>) -> Outcome<New> {
    let failed = list(gil)?;
    // SAFETY: a list of the Python layer, which no other thread knows, and of handles alone.
    let unread = unsafe { list_items(goroutines).iter().filter(|g| is_unread(gil, **g)) };
    for &g in unread {
        if let Err(raised) = append(gil, failed.get(), g) {
            failed.release(gil);
            return Err(raised);
        }
    }
    clear(gil, goroutines);
    Ok(failed)
}

/// The handles of all goroutines.
fn handles(gil: Gil<'_>) -> Vec<New> {
    let mut found = Vec::new();
    embedder::for_each_g(&mut |g| {
        // SAFETY: a payload is forgotten before its handle can die, with the GIL.
        if let Some(handle) = unsafe { Ref::nullable(g.host().cast()) } {
            found.push(handle.own(gil));
        }
    });
    found
}

fn entersyscall(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    embedder::entersyscall();
    Ok(none(gil))
}

fn exitsyscall(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    embedder::exitsyscall();
    Ok(none(gil))
}

fn lock_os_thread(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    embedder::lock_os_thread();
    Ok(none(gil))
}

fn unlock_os_thread(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    embedder::unlock_os_thread();
    Ok(none(gil))
}

fn stats(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    let s = embedder::stats();
    let [movable, walked, pinned] = movable::counts();
    let entries = [
        (c"procs", s.procs as u64),
        (c"idle_procs", s.idle_procs as u64),
        (c"goroutines", s.goroutines as u64),
        (c"threads", s.threads as u64),
        (c"max_threads", s.max_threads as u64),
        (c"idle_threads", s.idle_threads as u64),
        (c"locked_threads", s.locked_threads as u64),
        (c"handoffs", s.handoffs),
        (c"parks_movable", movable),
        (c"parks_movable_after_walk", walked),
        (c"parks_pinned", pinned),
        (c"direct_swap", u64::from(tstate::swap_is_direct())),
    ];
    let all = dict(gil)?;
    for (name, value) in entries {
        if let Err(raised) = set_number(gil, all.get(), name, value) {
            all.release(gil);
            return Err(raised);
        }
    }
    Ok(all)
}

/// `dict[name] = value`.
fn set_number(gil: Gil<'_>, dict: Ref<'_>, name: &std::ffi::CStr, value: u64) -> Outcome<()> {
    let value = unsigned(gil, value)?;
    let set = interned(gil, name).and_then(|name| {
        let set = set_item(gil, dict, name.get(), value.get());
        name.release(gil);
        set
    });
    value.release(gil);
    set
}

fn set_max_threads(gil: Gil<'_>, _: &Object<Module>, n: Ref<'_>) -> Outcome<New> {
    match integer_of(gil, n)? {
        n if n < 1 => Err(errors::fail(gil, value_error(), "the limit must be positive")),
        n => size(gil, embedder::set_max_threads(n as usize)),
    }
}

fn set_debug_migrate(gil: Gil<'_>, _: &Object<Module>, on: Ref<'_>) -> Outcome<New> {
    embedder::set_debug_migrate(truth(gil, on)?);
    Ok(none(gil))
}

/// `_call_soon(fn)`: calls `fn()` on the main thread when it next runs Python code, or now if it waits in golib.
fn call_soon(gil: Gil<'_>, _: &Object<Module>, function: Ref<'_>) -> Outcome<New> {
    extern "C" fn call(function: *mut std::os::raw::c_void) -> i32 {
        // SAFETY: a pending call with our reference, the GIL held.
        let (gil, function) = unsafe { (Gil::assume(), New::owned(function.cast())) };
        let result = call0(gil, function.get());
        function.release(gil);
        result.map_or(-1, |result| {
            result.release(gil);
            0
        })
    }
    let own = function.own(gil).give();
    // SAFETY: the call takes the reference over, if it is noted.
    unsafe {
        if ffi::Py_AddPendingCall(Some(call), own.cast()) < 0 {
            New::owned(own).release(gil);
            return Ok(boolean(gil, false));
        }
    }
    bridge::main_thread::interrupt();
    Ok(boolean(gil, true))
}

/// `_is_main_thread()`: whether the caller may do what only the main thread may do.
fn is_main_thread(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: the token.
    Ok(boolean(gil, unsafe { main_thread::is_here() }))
}

/// `_golib._monotonic()`: the clock of the runtime's deadlines in seconds; that of the `time` module, unless somebody has
/// replaced its functions.
fn monotonic(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    float(gil, embedder::nanotime() as f64 / NS)
}

/// `_golib._strangers()`: how many OS threads of the process golib does not know, sysmon among them; -1 where the system
/// does not tell.
fn strangers(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    int(gil, embedder::strangers().map_or(-1, |n| n as i64))
}

/// `_golib._last_wait()`: for what the caller waited until a moment ago, as a dump had it between brackets.
fn last_wait(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    unicode(gil, &embedder::last_wait())
}

/// `_golib._print_error(error)`: reports an exception as the interpreter does with one that ends a program.
///
/// `sys.excepthook` may end the process by SystemExit: only the main thread calls this.
fn print_error(gil: Gil<'_>, _: &Object<Module>, error: Ref<'_>) -> Outcome<New> {
    let _ = raise_object(gil, error.own(gil));
    // SAFETY: the token, and the exception is set.
    unsafe { ffi::PyErr_Print() };
    Ok(none(gil))
}

const DOC: &std::ffi::CStr = c"For the Python part of golib.";

/// The functions.
pub(super) static FUNCTIONS: Methods<Module, 35> = Methods([
    Method::noargs(c"_check_interpreter", check_interpreter, DOC),
    Method::one(c"_package", package, DOC),
    Method::noargs(c"goroutines", goroutines, DOC),
    Method::one(c"_let_go", let_go, DOC),
    Method::noargs(c"stats", stats, DOC),
    Method::one(c"set_max_threads", set_max_threads, DOC),
    Method::noargs(c"_lock_os_thread", lock_os_thread, DOC),
    Method::noargs(c"_unlock_os_thread", unlock_os_thread, DOC),
    Method::noargs(c"_entersyscall", entersyscall, DOC),
    Method::noargs(c"_exitsyscall", exitsyscall, DOC),
    Method::noargs(c"_in_goroutine", in_goroutine, DOC),
    Method::noargs(c"_current", current, DOC),
    Method::noargs(c"_mark_thread", mark_thread, DOC),
    Method::one(c"_is_async", is_async, DOC),
    Method::noargs(c"_copy_context", copy_context, DOC),
    Method::one(c"_use_context", use_context, DOC),
    Method::one(c"_call_soon", call_soon, DOC),
    exit::AT_EXIT,
    exit::REPORT_UNREAD,
    fork::AFTER_FORK,
    fork::HOOK_CHILD,
    Method::one(c"_set_debug_migrate", set_debug_migrate, DOC),
    Method::noargs(c"_is_main_thread", is_main_thread, DOC),
    run::RUN_MAIN,
    alarm::SERVE_ALARMS,
    timer::TIMER_FUNC,
    Method::noargs(c"_is_cancelled", is_cancelled, DOC),
    deadlock::SET_IDLE_THREADS,
    deadlock::EXPECT_WAKEUPS,
    Method::noargs(c"_monotonic", monotonic, DOC),
    sync::ITEMS,
    Method::noargs(c"_strangers", strangers, DOC),
    Method::noargs(c"_last_wait", last_wait, DOC),
    Method::one(c"_print_error", print_error, DOC),
    Method::END,
]);
