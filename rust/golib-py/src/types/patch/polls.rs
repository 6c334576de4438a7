//! The program's descriptors in the runtime's poller, for C, which knows a registration as a pointer.

use std::os::raw::{c_int, c_void};

use go_lib::runtime::embedder::{PollError, PollFd};

use super::waits::{deadline, outcome, RAISED, WOKEN};
use crate::ffi::gil::{guard, Entry, Gil, Record};

/// `GOLIB_WRITE`, `GOLIB_CLOSED`.
const WRITE: c_int = 1;
const CLOSED: c_int = 2;

/// The GIL's token and the registration that C calls with.
///
/// # Safety
/// C has called, and `open` returned the registration, which has not been ended.
unsafe fn of<'a>(registration: *mut c_void) -> (Gil<'a>, PollFd) {
    // SAFETY: as the caller says.
    unsafe { (Gil::assume(), PollFd::from_ptr(registration.cast())) }
}

pub(super) unsafe extern "C" fn open(fd: c_int, registration: *mut *mut c_void) -> c_int {
    // SAFETY: C calls it with the GIL, and with room for a pointer.
    let (gil, registration) = unsafe { (Gil::assume(), &mut *registration) };
    match guard(gil, || PollFd::open(fd)) {
        Ok(Ok(poll_fd)) => {
            *registration = poll_fd.into_ptr().cast();
            0
        }
        Ok(Err(error)) => -error.raw_os_error().unwrap_or(1).abs(),
        Err(_) => RAISED,
    }
}

pub(super) unsafe extern "C" fn rearm(registration: *mut c_void, fd: c_int) -> c_int {
    // SAFETY: C passes a registration that it got from `open`.
    let (_, poll_fd) = unsafe { of(registration) };
    c_int::from(poll_fd.rearm(fd))
}

pub(super) unsafe extern "C" fn prepare(registration: *mut c_void, mode: c_int) -> c_int {
    // SAFETY: C passes a registration that it got from `open`.
    let (_, poll_fd) = unsafe { of(registration) };
    c_int::from(poll_fd.prepare(mode == WRITE))
}

pub(super) unsafe extern "C" fn drained(registration: *mut c_void) {
    // SAFETY: C passes a registration that it got from `open`.
    let (_, poll_fd) = unsafe { of(registration) };
    poll_fd.drained();
}

pub(super) unsafe extern "C-unwind" fn wait(
    registration: *mut c_void,
    mode: c_int,
    until_ns: i64,
    record: Record,
) -> c_int {
    // SAFETY: C calls it with the GIL, and with the record that its entry pushed.
    let mut entry = unsafe { Entry::new(record) };
    loop {
        // SAFETY: C passes a registration that it got from `open`, and ends it after this returns.
        let (_, poll_fd) = unsafe { of(registration) };
        match entry.wait(|| poll_fd.wait(mode == WRITE, deadline(until_ns))) {
            // Busy: only the goroutine that has the turn waits here, so the other is about to leave. The caller tries again.
            Ok(Ok(()) | Err(PollError::Busy)) => return WOKEN,
            Ok(Err(PollError::Closed)) => return CLOSED,
            Ok(Err(PollError::Wait(error))) => {
                if let Some(outcome) = outcome(entry.gil(), error) {
                    return outcome;
                }
            }
            Err(_) => return RAISED,
        }
    }
}

pub(super) unsafe extern "C" fn release(registration: *mut c_void, fd: c_int) {
    // SAFETY: C passes a registration that it got from `open`.
    let (gil, poll_fd) = unsafe { of(registration) };
    let _ = guard(gil, || poll_fd.release(fd));
}

pub(super) unsafe extern "C" fn abandon(registration: *mut c_void) {
    // SAFETY: C passes a registration that it got from `open`.
    let (gil, poll_fd) = unsafe { of(registration) };
    let _ = guard(gil, || poll_fd.abandon());
}
