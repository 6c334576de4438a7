//! Descriptors of the program's that the runtime's poller knows, for C: a registration is a pointer there.

use std::os::raw::{c_int, c_void};

use go_lib::runtime::embedder::{PollError, PollFd};

use super::waits::{deadline, outcome, RAISED, WOKEN};
use crate::ffi::raw::{guard, guard_wait, Record};

/// `GOLIB_WRITE`, `GOLIB_CLOSED`.
const WRITE: c_int = 1;
const CLOSED: c_int = 2;

unsafe fn of(registration: *mut c_void) -> PollFd {
    // SAFETY: `open` gave it.
    unsafe { PollFd::from_ptr(registration.cast()) }
}

pub(super) unsafe extern "C" fn open(fd: c_int, registration: *mut *mut c_void) -> c_int {
    match guard(|| PollFd::open(fd)) {
        Some(Ok(poll_fd)) => {
            // SAFETY: the caller's room for a pointer.
            unsafe { *registration = poll_fd.into_ptr().cast() };
            0
        }
        Some(Err(error)) => -error.raw_os_error().unwrap_or(1).abs(),
        None => RAISED,
    }
}

pub(super) unsafe extern "C" fn rearm(registration: *mut c_void, fd: c_int) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { of(registration) }.rearm(fd))
}

pub(super) unsafe extern "C" fn prepare(registration: *mut c_void, mode: c_int) -> c_int {
    // SAFETY: the caller's.
    c_int::from(unsafe { of(registration) }.prepare(mode == WRITE))
}

pub(super) unsafe extern "C" fn drained(registration: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { of(registration) }.drained();
}

pub(super) unsafe extern "C-unwind" fn wait(
    registration: *mut c_void,
    mode: c_int,
    until_ns: i64,
    record: Record,
) -> c_int {
    loop {
        // SAFETY: the caller's.
        let poll_fd = unsafe { of(registration) };
        match guard_wait(record, || poll_fd.wait(mode == WRITE, deadline(until_ns))) {
            // Busy: there is a turn, so it is somebody who is about to leave. To try again is right.
            Some(Ok(()) | Err(PollError::Busy)) => return WOKEN,
            Some(Err(PollError::Closed)) => return CLOSED,
            Some(Err(PollError::Wait(error))) => {
                // SAFETY: the GIL is held; that wait is over.
                if let Some(outcome) = unsafe { outcome(error) } {
                    return outcome;
                }
            }
            None => return RAISED,
        }
    }
}

pub(super) unsafe extern "C" fn release(registration: *mut c_void, fd: c_int) {
    // SAFETY: the caller's.
    guard(|| unsafe { of(registration) }.release(fd));
}

pub(super) unsafe extern "C" fn abandon(registration: *mut c_void) {
    // SAFETY: the caller's.
    guard(|| unsafe { of(registration) }.abandon());
}
