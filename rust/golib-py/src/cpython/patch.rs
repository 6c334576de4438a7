//! Builtins that block, made to park on goroutines (`cpython/patch_groups.c`), and what they ask of the runtime.

use std::os::raw::{c_int, c_void};

use pyo3::ffi::PyObject;

use super::entry::Caller;
use super::ffi;

/// The runtime's part of the patched builtins: `golib_waits` of `cpython/patch_groups.h`, which says what each one does. All
/// are called with the GIL held.
#[repr(C)]
#[derive(Debug)]
pub struct Waits {
    /// The caller runs on a goroutine's stack.
    pub on_goroutine: unsafe extern "C" fn() -> c_int,
    /// Nanoseconds of the monotonic clock.
    pub now: unsafe extern "C" fn() -> i64,
    /// Sleeps until then.
    pub sleep: unsafe extern "C-unwind" fn(until_ns: i64, record: *const Caller) -> c_int,
    /// Lets others run.
    pub gosched: unsafe extern "C-unwind" fn(record: *const Caller) -> c_int,
    /// A registration for a descriptor; 0 or -errno.
    pub poll_open: unsafe extern "C" fn(fd: c_int, registration: *mut *mut c_void) -> c_int,
    /// The kernel still has it under that number.
    pub poll_rearm: unsafe extern "C" fn(registration: *mut c_void, fd: c_int) -> c_int,
    /// An operation begins; 1: it would be in vain.
    pub poll_prepare: unsafe extern "C" fn(registration: *mut c_void, mode: c_int) -> c_int,
    /// A read has taken all there was.
    pub poll_drained: unsafe extern "C" fn(registration: *mut c_void),
    /// Waits for an edge.
    pub poll_wait: unsafe extern "C-unwind" fn(
        registration: *mut c_void,
        mode: c_int,
        until_ns: i64,
        record: *const Caller,
    ) -> c_int,
    /// Ends it before its number is closed.
    pub poll_release: unsafe extern "C" fn(registration: *mut c_void, fd: c_int),
    /// Ends it after its number was closed.
    pub poll_abandon: unsafe extern "C" fn(registration: *mut c_void),
    /// Where the running goroutine keeps its list of files that it is inside of; null on an ordinary thread.
    pub held: unsafe extern "C" fn() -> *mut *mut c_void,
    /// Waits until somebody wakes the address.
    pub lot_wait: unsafe extern "C-unwind" fn(
        address: *const c_void,
        until_ns: i64,
        reason: c_int,
        ways: c_int,
        record: *const Caller,
    ) -> c_int,
    /// Wakes the first `n` who wait there.
    pub lot_wake: unsafe extern "C" fn(address: *const c_void, n: c_int),
    /// How many wait in the lot.
    pub lot_count: *const i64,
}

// SAFETY: lot_count is the address of a static atomic.
unsafe impl Sync for Waits {}

/// Tells the builtins whom to ask. Before [`apply`].
///
/// # Safety
/// The GIL is held.
pub unsafe fn set_waits(waits: &'static Waits) {
    // SAFETY: the table lives forever; the GIL serialises this with its readers.
    unsafe { ffi::golib_set_waits(waits) }
}

/// How a goroutine waits in a line: `golib_waiting` of `cpython/patch_line.h`, which says what each member means.
#[repr(C)]
#[derive(Debug)]
pub struct Waiting {
    /// Takes the object if it can be had.
    pub attempt: unsafe extern "C" fn(argument: *mut c_void) -> c_int,
    /// For `attempt`.
    pub argument: *mut c_void,
    /// On the runtime's clock.
    pub until_ns: i64,
    /// `GOLIB_FOR_LOCK`, …
    pub reason: c_int,
    /// Only a deadlock ends the wait.
    pub takes_back: c_int,
}

/// Lines for locks and queues: `golib_lines` of `cpython/patch_line.h`, which says what each one does. All are called with the
/// GIL held.
#[repr(C)]
#[derive(Debug)]
pub struct Lines {
    /// Waits for the object at the address.
    pub wait: unsafe extern "C-unwind" fn(
        address: *const c_void,
        waiting: *const Waiting,
        record: *const Caller,
    ) -> c_int,
    /// Wakes the first in line.
    pub wake: unsafe extern "C" fn(address: *const c_void),
    /// The object is kept for one that has waited for long.
    pub is_kept: unsafe extern "C" fn(address: *const c_void) -> c_int,
    /// Has everybody finish by the original functions.
    pub empty: unsafe extern "C" fn(),
    /// How many addresses have a line.
    pub count: *const usize,
}

// SAFETY: count is the address of a static atomic.
unsafe impl Sync for Lines {}

/// Tells the builtins of the lines. Before [`apply`].
///
/// # Safety
/// The GIL is held.
pub unsafe fn set_lines(lines: &'static Lines) {
    // SAFETY: the table lives for ever; the GIL serialises this with its readers.
    unsafe { ffi::golib_set_lines(lines) }
}

/// Reports the exception that is set as the one by which a thread of `function` ended.
///
/// # Safety
/// The GIL is held.
pub unsafe fn thread_failed(function: *mut PyObject) {
    // SAFETY: `function` is alive; the exception that is set is reported and cleared.
    unsafe { ffi::golib_thread_failed(function) }
}

extern "C" {
    /// `_golib._take_lock_back(lock)`: see `cpython/patch_locks.c`.
    pub fn golib_entry_take_lock_back(module: *mut PyObject, lock: *mut PyObject) -> *mut PyObject;
    /// `_golib._wait_begins(condition)`: see `cpython/patch_condition.c`, as for the next two.
    pub fn golib_wait_begins(module: *mut PyObject, condition: *mut PyObject) -> *mut PyObject;
    /// `_golib._event_wait_begins(event)`.
    pub fn golib_event_wait_begins(module: *mut PyObject, event: *mut PyObject) -> *mut PyObject;
    /// `_golib._condition_methods(Condition, Event, Mutex, notify, set, clear)`.
    pub fn golib_condition_methods(
        module: *mut PyObject,
        args: *mut *mut PyObject,
        n: pyo3::ffi::Py_ssize_t,
    ) -> *mut PyObject;
}

/// Patches the groups named in a sequence, all or none.
///
/// # Errors
/// -1: a Python exception is set.
///
/// # Safety
/// The GIL is held, and the identity patches are installed.
pub unsafe fn apply(names: *mut PyObject) -> c_int {
    // SAFETY: the identity patches, which lie below, are installed.
    unsafe { ffi::golib_groups_apply(names) }
}

/// Restores every pointer.
///
/// # Safety
/// The GIL is held.
pub unsafe fn take_back() {
    // SAFETY: with the GIL nobody calls a builtin while it is swapped.
    unsafe { ffi::golib_groups_take_back() }
}

/// A new tuple of the groups that there are; null: an exception is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn known() -> *mut PyObject {
    // SAFETY: makes a list, for which the GIL suffices.
    unsafe { ffi::golib_groups_known() }
}

/// A new tuple of the groups that are patched; null: an exception is set.
///
/// # Safety
/// The GIL is held.
pub unsafe fn patched() -> *mut PyObject {
    // SAFETY: makes a list, for which the GIL suffices.
    unsafe { ffi::golib_groups_patched() }
}

/// In a forked child, before CPython has done anything there.
///
/// # Safety
/// Called by the child's only thread.
pub unsafe fn after_fork() {
    // SAFETY: no other thread is there.
    unsafe { ffi::golib_groups_in_child() }
}
