//! The core of `golib.sync.WaitGroup`.

use std::ptr;

use go_lib::runtime::embedder::WaitGroupCore;
use pyo3::ffi::{self, PyMethodDef};

use super::object::{core, done, make_type, new, waited};
use crate::ffi::obj::Raw;
use crate::ffi::raw::{self, arguments, guard, parking, wait_of, Table};

parking!(golib_entry_wait_group_wait => wait_group_wait(slf, args, n, kwnames; record) {
    // SAFETY: a method of WaitGroup.
    unsafe {
        let Some([timeout]) = arguments("wait", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        let group = core::<WaitGroupCore>(slf);
        waited(record, "wait", timeout, || group.wait(wait))
    }
});

unsafe fn add_to(slf: Raw, delta: i64) -> Raw {
    // SAFETY: a method of WaitGroup.
    unsafe {
        let group = core::<WaitGroupCore>(slf);
        done(ffi::PyExc_ValueError, guard(|| group.add(delta)))
    }
}

unsafe extern "C" fn wait_group_add(slf: Raw, delta: Raw) -> Raw {
    // SAFETY: a METH_O method of WaitGroup.
    unsafe {
        match raw::integer_of(delta) {
            Some(delta) => add_to(slf, delta),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn wait_group_done(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of WaitGroup.
    unsafe { add_to(slf, -1) }
}

static METHODS: Table<[PyMethodDef; 4]> = Table([
    raw::method(
        c"add",
        wait_group_add,
        ffi::METH_O,
        c"add($self, delta, /)
--

Adds delta, which may be negative, to the counter; at zero all who wait go on.

Blocks: nothing.
Raises: ValueError(\"sync: negative WaitGroup counter\"); the counter is then as before.",
    ),
    raw::method(
        c"done",
        wait_group_done,
        ffi::METH_NOARGS,
        c"done($self, /)
--

add(-1).",
    ),
    raw::keywords(
        c"wait",
        golib_entry_wait_group_wait,
        c"wait($self, timeout=None)
--

Waits until the counter is zero.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: TimeoutError after timeout.",
    ),
    PyMethodDef::zeroed(),
]);

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    const DOC: &std::ffi::CStr = c"WaitGroup()\n--\n\nThe core of golib.sync.WaitGroup.";
    // SAFETY: the caller's duty.
    unsafe {
        make_type::<WaitGroupCore>(
            c"golib._golib.WaitGroup",
            DOC,
            ffi::Py_TPFLAGS_BASETYPE,
            new::<WaitGroupCore>,
            &METHODS.0,
            None,
        )
    }
}
