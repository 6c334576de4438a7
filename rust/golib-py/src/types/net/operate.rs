//! An operation that waits: its turn, its steps, its failures.

use std::ptr;

use go_lib::runtime::embedder::net::{Mode, NetError, Turn};
use go_lib::runtime::embedder::{nanotime, Wait};
use pyo3::ffi;

use super::{core, outcome, Core};
use crate::ffi::obj::Raw;
use crate::ffi::raw::{guard, guard_wait, Record};

/// How long an operation that begins now may wait.
#[inline]
pub(super) fn wait_of(core: &Core) -> Wait {
    match core.timeout_ns.get() {
        ..0 => Wait::Block,
        0 => Wait::Try,
        ns => Wait::Until(nanotime().saturating_add(ns)),
    }
}

/// Has `step` called in the turn for `mode` until it gives a result; None: an exception is set.
///
/// Signal handlers run between two turns. `step` leaves the instance whole with each of its errors.
///
/// # Safety
/// A method of these types; the GIL is held.
#[inline]
pub(super) unsafe fn operate<R>(
    slf: Raw,
    mode: Mode,
    record: Record,
    mut step: impl FnMut(&Turn<'_>, Wait) -> Result<Option<R>, NetError>,
) -> Option<R> {
    // SAFETY: the caller's promise.
    let core = unsafe { core(slf) };
    let wait = wait_of(core);
    loop {
        let outcome = match guard_wait(record, || core.socket.turn(mode))? {
            Err(error) => Err(error),
            Ok(turn) => {
                let outcome = steps(&turn, wait, record, &mut step);
                guard(|| turn.leave());
                outcome?
            }
        };
        match outcome {
            Ok(result) => return Some(result),
            Err(error) => {
                // SAFETY: the GIL is held, and no wait is under way.
                if !unsafe { outcome::again(error) } {
                    return None;
                }
            }
        }
    }
}

/// Steps until one has a result or fails; None: an exception is set.
#[inline]
pub(super) fn steps<R>(
    turn: &Turn<'_>,
    wait: Wait,
    record: Record,
    mut step: impl FnMut(&Turn<'_>, Wait) -> Result<Option<R>, NetError>,
) -> Option<Result<R, NetError>> {
    loop {
        match guard_wait(record, || step(turn, wait))? {
            Ok(Some(result)) => return Some(Ok(result)),
            Ok(None) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// The memory of a bytes-like argument, held until [`Bytes::release`].
pub(super) struct Bytes {
    view: ffi::Py_buffer,
    data: *mut u8,
    len: usize,
}

impl Bytes {
    /// Of any bytes-like object, or one that can be written; None: an exception is set.
    ///
    /// # Safety
    /// The GIL is held.
    #[inline]
    pub(super) unsafe fn of(object: Raw, writable: bool) -> Option<Bytes> {
        // SAFETY: the GIL is held; the caller's caller holds the object.
        unsafe {
            let mut bytes = Bytes { view: std::mem::zeroed(), data: ptr::null_mut(), len: 0 };
            if !writable && ffi::PyBytes_CheckExact(object) != 0 {
                bytes.data = ffi::PyBytes_AS_STRING(object).cast_mut().cast();
                bytes.len = ffi::Py_SIZE(object) as usize;
                return Some(bytes);
            }
            let flags = if writable { ffi::PyBUF_WRITABLE } else { ffi::PyBUF_SIMPLE };
            if ffi::PyObject_GetBuffer(object, &mut bytes.view, flags) < 0 {
                return None;
            }
            bytes.data = bytes.view.buf.cast();
            bytes.len = bytes.view.len as usize;
            Some(bytes)
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes from `start` on, to be read within one step.
    ///
    /// # Safety
    /// The GIL is held while they are used.
    #[inline]
    pub(super) unsafe fn from(&self, start: usize) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the object keeps its memory while it is held.
        unsafe { &std::slice::from_raw_parts(self.data, self.len)[start..] }
    }

    /// The first `n` bytes, to be written within one step.
    ///
    /// # Safety
    /// As `from`; it was asked for as writable.
    pub(super) unsafe fn room(&mut self, n: usize) -> &mut [std::mem::MaybeUninit<u8>] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the object keeps its memory while it is held.
        unsafe { &mut std::slice::from_raw_parts_mut(self.data.cast(), self.len)[..n] }
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// The GIL is held.
    pub(super) unsafe fn release(mut self) {
        if !self.view.obj.is_null() {
            // SAFETY: filled in by PyObject_GetBuffer.
            unsafe { ffi::PyBuffer_Release(&mut self.view) };
        }
    }
}
