//! `golib.patch`: the module's functions behind it, and what the patched builtins (`cpython/patch_*.c`) ask of the runtime.
//!
//! | file | holds |
//! |---|---|
//! | [`waits`] | waits whose outcome C understands |
//! | [`polls`] | descriptors that the runtime's poller knows |
//! | [`line`] | goroutines that wait for a lock or a queue of CPython's |
//! | [`lot`] | goroutines that wait for an address: a lock, a queue, a turn |

mod line;
mod lot;
mod polls;
mod waits;

use pyo3::ffi::{self, PyMethodDef};

use crate::core::goroutine;
use crate::cpython::patch;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, Table};

static WAITS: patch::Waits = patch::Waits {
    on_goroutine: waits::on_goroutine,
    now: waits::now,
    sleep: waits::sleep,
    gosched: waits::gosched,
    poll_open: polls::open,
    poll_rearm: polls::rearm,
    poll_prepare: polls::prepare,
    poll_drained: polls::drained,
    poll_wait: polls::wait,
    poll_release: polls::release,
    poll_abandon: polls::abandon,
    held: goroutine::held_files,
    lot_wait: lot::wait,
    lot_wake: lot::wake,
    lot_count: lot::COUNT.as_ptr(),
};

/// `_golib._patch(names)`: patches these groups.
unsafe extern "C" fn apply(_: Raw, names: Raw) -> Raw {
    // SAFETY: a METH_O function. The identity patches are installed by the start: they lie below.
    unsafe {
        if goroutine::ensure_started(Gil::assume()).is_err() {
            return std::ptr::null_mut();
        }
        patch::set_waits(&WAITS);
        patch::set_lines(&line::LINES);
        if patch::apply(names) < 0 {
            return std::ptr::null_mut();
        }
        obj::none()
    }
}

/// `_golib._unpatch()`: takes all of it back.
unsafe extern "C" fn take_back(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        patch::take_back();
        obj::none()
    }
}

/// `_golib._patchable()`: the names of all groups.
unsafe extern "C" fn known(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { patch::known() }
}

/// `_golib._patched()`: the names of those that are patched.
unsafe extern "C" fn patched(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { patch::patched() }
}

/// `_golib._thread_failed((error, function))`: reports the exception by which a thread ended, as `_thread` does.
unsafe extern "C" fn thread_failed(_: Raw, pair: Raw) -> Raw {
    // SAFETY: a METH_O function, called with a tuple of an exception and a function.
    unsafe {
        let error = ffi::PyTuple_GET_ITEM(pair, 0);
        ffi::Py_INCREF(error);
        errors::restore(error);
        patch::thread_failed(ffi::PyTuple_GET_ITEM(pair, 1));
        obj::none()
    }
}

const fn private(name: &'static std::ffi::CStr, call: ffi::PyCFunction, flags: i32) -> PyMethodDef {
    raw::method(name, call, flags, c"For the Python part of golib.")
}

/// The module's functions that are about patching.
pub(crate) static FUNCTIONS: Table<[PyMethodDef; 7]> = Table([
    private(c"_patch", apply, ffi::METH_O),
    private(c"_unpatch", take_back, ffi::METH_NOARGS),
    private(c"_patchable", known, ffi::METH_NOARGS),
    private(c"_patched", patched, ffi::METH_NOARGS),
    private(c"_take_lock_back", patch::golib_entry_take_lock_back, ffi::METH_O),
    private(c"_thread_failed", thread_failed, ffi::METH_O),
    PyMethodDef::zeroed(),
]);

/// In a forked child, before CPython has done anything there: nobody of the parent's waits here.
///
/// # Safety
/// Called by the child's only thread.
pub(crate) unsafe fn after_fork() {
    // SAFETY: no other thread is there.
    unsafe {
        lot::after_fork();
        line::after_fork();
        patch::after_fork();
    }
}
