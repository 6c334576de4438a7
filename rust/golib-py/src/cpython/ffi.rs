//! Declarations of `cpython/golib_shim.h`, in its order.

use std::os::raw::{c_char, c_int, c_ulong, c_void};

use pyo3::ffi::{PyObject, PyThreadState};

use super::entry::Caller;
use super::frames::Places;
use super::patch::{Lines, Waits};
use super::runtime::RuntimeTable;

extern "C" {
    pub(super) fn golib_shim_init() -> c_int;
    pub(super) fn golib_check_interpreter() -> c_int;

    pub(super) fn golib_ts_new() -> *mut PyThreadState;
    pub(super) fn golib_ts_arm(
        ts: *mut PyThreadState,
        lo: *mut c_char,
        hi: *mut c_char,
    ) -> *mut c_char;
    pub(super) fn golib_ts_set_ident(ts: *mut PyThreadState, ident: c_ulong);
    pub(super) fn golib_ts_ident(ts: *mut PyThreadState) -> c_ulong;
    pub(super) fn golib_ident_of(goid: u64) -> c_ulong;
    pub(super) fn golib_ts_retire(ts: *mut PyThreadState) -> c_int;
    pub(super) fn golib_ts_drop(ts: *mut PyThreadState) -> c_int;
    pub(super) fn golib_ts_abandon(ts: *mut PyThreadState);
    pub(super) fn golib_ts_delete_current(ts: *mut PyThreadState);
    pub(super) fn golib_ts_unlink_all(except: *mut PyThreadState);

    pub(super) fn golib_ts_attach(ts: *mut PyThreadState);
    pub(super) fn golib_ts_detach(ts: *mut PyThreadState);
    pub(super) fn golib_thread_save() -> *mut PyThreadState;
    pub(super) fn golib_thread_restore(ts: *mut PyThreadState);
    pub(super) fn golib_ts_swap(from: *mut PyThreadState, to: *mut PyThreadState);
    pub(super) fn golib_ts_swap_at_once(from: *mut PyThreadState, to: *mut PyThreadState) -> c_int;
    pub(super) fn golib_ts_current() -> *mut PyThreadState;
    pub(super) fn golib_swap_is_direct() -> c_int;

    pub(super) fn golib_main_lend(main_state: *mut PyThreadState);
    pub(super) fn golib_main_begin(ts: *mut PyThreadState);
    pub(super) fn golib_main_end();
    pub(super) fn golib_main_take_back();
    pub(super) fn golib_main_give_again();
    pub(super) fn golib_main_tell();
    pub(super) fn golib_main_has_news() -> c_int;
    pub(super) fn golib_is_main_thread() -> c_int;

    pub(super) fn golib_gil_locked() -> c_int;
    pub(super) fn golib_finalizing() -> c_int;

    pub(super) fn golib_vars_copy(out: *mut *mut PyObject) -> c_int;
    pub(super) fn golib_ts_set_vars(ts: *mut PyThreadState, ctx: *mut PyObject);

    pub(super) fn golib_hooks_lend(owner: *const c_void) -> c_int;
    pub(super) fn golib_hooks_after_fork(owner: *const c_void);

    pub(super) fn golib_may_migrate(
        ts: *mut PyThreadState,
        frame_address: *const Caller,
        return_address: *const c_void,
    ) -> c_int;
    pub(super) fn golib_movable_counts(out: *mut u64);

    pub(super) fn golib_set_runtime(runtime: *const RuntimeTable);
    pub(super) fn golib_identity_install() -> c_int;
    pub(super) fn golib_atexit_last() -> c_int;
    pub(super) fn golib_fork_hook_child(hook: *mut PyObject) -> c_int;
    pub(super) fn golib_identity_leave(ts: *mut PyThreadState);
    pub(super) fn golib_identity_mark(ts: *mut PyThreadState) -> c_int;

    // frames.h
    pub(super) fn golib_gil_holder(changes: *mut u64, is_wanted: *mut c_int) -> *mut PyThreadState;
    pub(super) fn golib_gil_holders_thread(ts: *mut PyThreadState) -> c_ulong;
    pub(super) fn golib_places_within(
        ts: *mut PyThreadState,
        name: *mut PyObject,
        function: *mut PyObject,
        out: *mut Places,
    ) -> c_int;
    pub(super) fn golib_places_outside(
        ts: *mut PyThreadState,
        name: *mut PyObject,
        function: *mut PyObject,
        still: unsafe extern "C" fn(*mut c_void) -> c_int,
        arg: *mut c_void,
        out: *mut Places,
    ) -> c_int;

    // patch_groups.h
    pub(super) fn golib_set_waits(waits: *const Waits);
    pub(super) fn golib_set_lines(lines: *const Lines);
    pub(super) fn golib_thread_failed(function: *mut PyObject);
    pub(super) fn golib_groups_apply(names: *mut PyObject) -> c_int;
    pub(super) fn golib_groups_take_back();
    pub(super) fn golib_groups_known() -> *mut PyObject;
    pub(super) fn golib_groups_patched() -> *mut PyObject;
    pub(super) fn golib_groups_in_child();
}

// Python code runs in it: at exit CPython may end the thread there by unwinding it.
extern "C-unwind" {
    pub(super) fn golib_hooks_take_back(owner: *const c_void);
    pub(super) fn golib_call(
        ts: *mut PyThreadState,
        owner: *const c_void,
        function: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
}
