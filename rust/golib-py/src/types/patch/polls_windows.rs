//! Descriptors of the program's that the runtime's poller knows: none on Windows, where no patched builtin waits for one.

use std::os::raw::{c_int, c_void};

use crate::ffi::gil::Record;

/// `GOLIB_CLOSED`, and what `poll_open` answers: -ENOSYS.
const CLOSED: c_int = 2;
const NOT_THERE: c_int = -40;

pub(super) unsafe extern "C" fn open(_fd: c_int, _registration: *mut *mut c_void) -> c_int {
    NOT_THERE
}

pub(super) unsafe extern "C" fn rearm(_registration: *mut c_void, _fd: c_int) -> c_int {
    0
}

pub(super) unsafe extern "C" fn prepare(_registration: *mut c_void, _mode: c_int) -> c_int {
    0
}

pub(super) unsafe extern "C" fn drained(_registration: *mut c_void) {}

pub(super) unsafe extern "C-unwind" fn wait(
    _registration: *mut c_void,
    _mode: c_int,
    _until_ns: i64,
    _record: Record,
) -> c_int {
    CLOSED
}

pub(super) unsafe extern "C" fn release(_registration: *mut c_void, _fd: c_int) {}

pub(super) unsafe extern "C" fn abandon(_registration: *mut c_void) {}
