//! Memory of Python's: that of bytes-like arguments, and that of a `bytes` which is being filled.

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t};

use crate::cpython::object;
use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::obj::Raw;
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// A new `bytes`.
#[inline]
pub(crate) fn bytes_of(_gil: Gil<'_>, bytes: &[u8]) -> Outcome<New> {
    // SAFETY: the slice is copied.
    unsafe {
        let (start, n) = (bytes.as_ptr().cast(), bytes.len() as Py_ssize_t);
        New::made(ffi::PyBytes_FromStringAndSize(start, n))
    }
}

/// The memory of a bytes-like argument, held until [`Bytes::release`]. The caller of the method holds the object.
#[must_use = "release it: it has no destructor"]
pub(crate) struct Bytes {
    view: ffi::Py_buffer,
    data: *mut u8,
    len: usize,
    is_writable: bool,
}

impl Bytes {
    /// Of any bytes-like object. Runs Python code.
    #[inline]
    pub(crate) fn of(gil: Gil<'_>, object: Ref<'_>) -> Outcome<Bytes> {
        let raw = object.as_raw();
        // SAFETY: alive; a `bytes` keeps its memory where it is.
        unsafe {
            if ffi::PyBytes_CheckExact(raw) == 0 {
                return Bytes::viewed(gil, raw, ffi::PyBUF_SIMPLE);
            }
            Ok(Bytes {
                view: std::mem::zeroed(),
                data: ffi::PyBytes_AS_STRING(raw).cast_mut().cast(),
                len: ffi::Py_SIZE(raw) as usize,
                is_writable: false,
            })
        }
    }

    /// Of one that can be written. Runs Python code.
    #[inline]
    pub(crate) fn writable(gil: Gil<'_>, object: Ref<'_>) -> Outcome<Bytes> {
        Bytes::viewed(gil, object.as_raw(), ffi::PyBUF_WRITABLE)
    }

    fn viewed(_gil: Gil<'_>, raw: Raw, flags: i32) -> Outcome<Bytes> {
        // SAFETY: alive; the view is filled in if that succeeds.
        unsafe {
            let mut view = std::mem::zeroed();
            if ffi::PyObject_GetBuffer(raw, &mut view, flags) < 0 {
                return Err(Raised::assume());
            }
            let (data, len) = (view.buf.cast(), view.len as usize);
            Ok(Bytes { view, data, len, is_writable: flags == ffi::PyBUF_WRITABLE })
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Has the bytes from `start` on read by `look`, which runs no Python code: that could change them.
    #[inline]
    pub(crate) fn from<R>(
        &self,
        _x: Exclusive<'_>,
        start: usize,
        look: impl FnOnce(&[u8]) -> R,
    ) -> R {
        if self.len == 0 {
            return look(&[]);
        }
        // SAFETY: the view, or the caller's reference, keeps the memory.
        look(unsafe { &std::slice::from_raw_parts(self.data, self.len)[start..] })
    }

    /// Has the first `n` bytes written by `fill`, which runs no Python code.
    #[inline]
    pub(crate) fn room<R>(
        &self,
        _x: Exclusive<'_>,
        n: usize,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> R,
    ) -> R {
        assert!(self.is_writable);
        if self.len == 0 {
            return fill(&mut []);
        }
        // SAFETY: the view keeps the memory; with the token nobody else is at it.
        fill(unsafe { &mut std::slice::from_raw_parts_mut(self.data.cast(), self.len)[..n] })
    }

    /// Overwrites its first bytes; how many.
    pub(crate) fn write(&self, x: Exclusive<'_>, bytes: &[u8]) -> usize {
        self.room(x, bytes.len(), |room| write(room, bytes));
        bytes.len()
    }

    /// Gives the memory back. Runs Python code.
    #[inline]
    pub(crate) fn release(mut self, _gil: Gil<'_>) {
        if !self.view.obj.is_null() {
            // SAFETY: filled in by PyObject_GetBuffer.
            unsafe { ffi::PyBuffer_Release(&mut self.view) };
        }
    }
}

fn write(room: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    for (to, from) in room.iter_mut().zip(bytes) {
        to.write(*from);
    }
}

/// A `bytes` of which the first part has been written. Nobody else has it.
#[must_use = "finish or release it: it has no destructor"]
pub(crate) struct NewBytes {
    object: New,
    data: *mut u8,
    size: usize,
    filled: usize,
}

impl NewBytes {
    /// Room for `size` bytes.
    #[inline]
    pub(crate) fn new(_gil: Gil<'_>, size: usize) -> Outcome<NewBytes> {
        // SAFETY: with null for its contents it is room that only we have.
        unsafe {
            let object =
                New::made(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
            let data = ffi::PyBytes_AS_STRING(object.get().as_raw()).cast_mut().cast();
            Ok(NewBytes { object, data, size, filled: 0 })
        }
    }

    /// What has not been written.
    #[inline]
    pub(crate) fn rest(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the object's memory, of which nobody else knows.
        unsafe {
            let rest = self.data.add(self.filled).cast();
            std::slice::from_raw_parts_mut(rest, self.size - self.filled)
        }
    }

    /// `n` more bytes have been written.
    ///
    /// # Safety
    /// They have, into [`rest`](NewBytes::rest).
    #[inline]
    pub(crate) unsafe fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.size - self.filled);
        self.filled += n;
    }

    /// Adds bytes, for which there is room.
    pub(crate) fn push(&mut self, more: &[u8]) {
        write(&mut self.rest()[..more.len()], more);
        self.filled += more.len();
    }

    /// What has been written.
    pub(crate) fn filled(&self) -> &[u8] {
        // SAFETY: so many bytes have been.
        unsafe { std::slice::from_raw_parts(self.data, self.filled) }
    }

    /// Nothing has been.
    pub(crate) fn empty(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.size
    }

    /// The object, as long as what has been written.
    #[inline]
    pub(crate) fn finish(self, _gil: Gil<'_>) -> Outcome<New> {
        if self.filled == self.size {
            return Ok(self.object);
        }
        let mut raw = self.object.give();
        // SAFETY: nobody else has it; it is null, with an exception set, if that fails.
        unsafe {
            object::shrink_bytes(&mut raw, self.filled);
            New::made(raw)
        }
    }

    pub(crate) fn release(self, gil: Gil<'_>) {
        self.object.release(gil);
    }
}
