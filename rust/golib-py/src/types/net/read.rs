//! Reads of as many bytes as there are, or of exactly so many.

use std::io;
use std::ptr;

use go_lib::runtime::embedder::net::{Io, Mode, NetError, Turn};
use go_lib::runtime::embedder::Wait;
use pyo3::ffi::{self, Py_ssize_t};

use super::buffer::{self, SCRATCH_BYTES};
use super::calls::{arguments, integer_of, parking};
use super::operate::{operate, Bytes};
use super::{core, Core};
use crate::cpython::object;
use crate::ffi::errors;
use crate::ffi::obj::{clear, Raw};
use crate::ffi::raw::Record;

/// What `read()` reads at most.
const DEFAULT_BYTES: usize = 65536;
/// Reads of more than so many bytes are large: they go straight into the result.
const LARGE_BYTES: usize = 4096;
/// No result is made larger before anything has come.
const ROOM_BYTES: usize = 16 << 20;
/// `errno` for a result that there is no memory for.
const ENOMEM: i32 = 12;

parking!(golib_entry_conn_read => conn_read(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let Some([size]) = arguments("read", &[c"n"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match size_of(size, DEFAULT_BYTES) {
            Some(size) => read(slf, size, 0, record),
            None => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_recv => conn_recv(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let names = [c"bufsize", c"flags"];
        let Some([size, flags]) = arguments("recv", &names, 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match (size_of(size, 0), flags_of(flags)) {
            (Some(size), Some(flags)) => read(slf, size, flags, record),
            _ => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_recv_raw => conn_recv_raw(slf, size; record) {
    // SAFETY: a METH_O method of a connection.
    unsafe {
        let Some(size) = size_of(size, 0) else { return ptr::null_mut() };
        let read = operate(slf, Mode::Read, record, |turn, wait| {
            read_new(core(slf), turn, wait, size, 0)
        });
        read.unwrap_or(ptr::null_mut())
    }
});

parking!(golib_entry_conn_read_into => conn_read_into(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let Some([buf]) = arguments("read_into", &[c"buf"], 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        read_into(slf, buf, 0, 0, record)
    }
});

parking!(golib_entry_conn_recv_into => conn_recv_into(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let names = [c"buffer", c"nbytes", c"flags"];
        let Some([buf, nbytes, flags]) = arguments("recv_into", &names, 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match (size_of(nbytes, 0), flags_of(flags)) {
            (Some(nbytes), Some(flags)) => read_into(slf, buf, nbytes, flags, record),
            _ => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_read_exactly => conn_read_exactly(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let Some([size]) = arguments("read_exactly", &[c"n"], 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match size_of(size, 0) {
            Some(size) => read_exactly(slf, size, record),
            None => ptr::null_mut(),
        }
    }
});

/// A number of bytes; null gives `default`. None: an exception is set.
pub(super) unsafe fn size_of(size: Raw, default: usize) -> Option<usize> {
    if size.is_null() {
        return Some(default);
    }
    // SAFETY: the GIL is held.
    let size = unsafe { integer_of(size)? };
    if size < 0 {
        // SAFETY: the GIL is held.
        unsafe { errors::set(ffi::PyExc_ValueError, "the number of bytes must not be negative") };
        return None;
    }
    Some(size as usize)
}

/// Flags for the system call; null gives none. None: an exception is set.
pub(super) unsafe fn flags_of(flags: Raw) -> Option<i32> {
    if flags.is_null() {
        return Some(0);
    }
    // SAFETY: the GIL is held.
    unsafe { integer_of(flags).map(|flags| flags as i32) }
}

/// At most `size` bytes: those that were read before, else what has come.
unsafe fn read(slf: Raw, size: usize, flags: i32, record: Record) -> Raw {
    // SAFETY: a method of a connection.
    let read = unsafe {
        operate(slf, Mode::Read, record, |turn, wait| {
            let core = core(slf);
            let mut buffer = core.buffer.borrow_mut();
            if buffer.is_empty() && size > 0 {
                drop(buffer);
                return read_new(core, turn, wait, size, flags);
            }
            let n = size.min(buffer.rest().len());
            let bytes = bytes_of(&buffer.rest()[..n]);
            if flags == 0 {
                buffer.advance(n);
            }
            Ok(Some(bytes))
        })
    };
    read.unwrap_or(ptr::null_mut())
}

/// A new `bytes`; null with an exception set.
pub(super) unsafe fn bytes_of(bytes: &[u8]) -> Raw {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as Py_ssize_t) }
}

/// Reads from the socket into a new `bytes` of at most `size`. No room is held while it waits.
#[inline]
unsafe fn read_new(
    core: &Core,
    turn: &Turn<'_>,
    wait: Wait,
    size: usize,
    flags: i32,
) -> Result<Option<Raw>, NetError> {
    let in_vain = core.drains && flags == 0;
    let read = turn.step(wait, in_vain, |io| {
        // SAFETY: the GIL is held during a step, but for its wait.
        unsafe {
            if size > LARGE_BYTES && !core.bulk.get() {
                read_small(core, io, size, flags)
            } else {
                read_large(core, io, size.min(ROOM_BYTES), flags)
            }
        }
    })?;
    Ok(read.map(|(bytes, took_all)| {
        if took_all && in_vain {
            turn.took_all();
        }
        bytes
    }))
}

/// By way of the room that all share: a small read needs a small result.
#[inline]
unsafe fn read_small(core: &Core, io: Io<'_>, size: usize, flags: i32) -> io::Result<(Raw, bool)> {
    // SAFETY: the GIL is held, and a system call does not give it up.
    unsafe {
        buffer::with_scratch(|room| {
            let room = &mut room[..size.min(SCRATCH_BYTES)];
            let n = io.recv(room, flags)?;
            core.bulk.set(n > LARGE_BYTES);
            Ok((bytes_of(buffer::written(room, n)), 0 < n && n < room.len()))
        })
    }
}

/// Straight into the result.
unsafe fn read_large(core: &Core, io: Io<'_>, size: usize, flags: i32) -> io::Result<(Raw, bool)> {
    // SAFETY: the GIL is held; nobody else has the new object.
    unsafe {
        let mut bytes = ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return Err(io::Error::from_raw_os_error(ENOMEM));
        }
        let room =
            std::slice::from_raw_parts_mut(ffi::PyBytes_AS_STRING(bytes).cast_mut().cast(), size);
        match io.recv(room, flags) {
            Ok(n) => {
                core.bulk.set(n > LARGE_BYTES);
                // Null, with an exception set, if it fails.
                if n < size {
                    object::shrink_bytes(&mut bytes, n);
                }
                Ok((bytes, 0 < n && n < size))
            }
            Err(e) => {
                clear(&mut bytes);
                Err(e)
            }
        }
    }
}

/// Into the caller's memory, of which `nbytes` count; 0: all.
unsafe fn read_into(slf: Raw, buf: Raw, nbytes: usize, flags: i32, record: Record) -> Raw {
    // SAFETY: a method of a connection.
    unsafe {
        let Some(mut room) = Bytes::of(buf, true) else { return ptr::null_mut() };
        let size = if nbytes == 0 { room.len() } else { nbytes };
        if size > room.len() {
            room.release();
            return errors::raise(ffi::PyExc_ValueError, "the buffer is smaller than nbytes");
        }
        let read = operate(slf, Mode::Read, record, |turn, wait| {
            let core = core(slf);
            let mut buffer = core.buffer.borrow_mut();
            if buffer.is_empty() && size > 0 {
                drop(buffer);
                let in_vain = core.drains && flags == 0;
                let read = turn.step(wait, in_vain, |io| io.recv(room.room(size), flags))?;
                if in_vain && read.is_some_and(|n| 0 < n && n < size) {
                    turn.took_all();
                }
                return Ok(read);
            }
            let n = size.min(buffer.rest().len());
            let from = buffer.rest().as_ptr();
            ptr::copy_nonoverlapping(from, room.room(n).as_mut_ptr().cast(), n);
            if flags == 0 {
                buffer.advance(n);
            }
            Ok(Some(n))
        });
        room.release();
        read.map_or(ptr::null_mut(), |n| ffi::PyLong_FromSize_t(n))
    }
}

/// Reads once into the buffer; 0: the end.
pub(super) unsafe fn fill(
    core: &Core,
    turn: &Turn<'_>,
    wait: Wait,
) -> Result<Option<usize>, NetError> {
    // SAFETY: the GIL is held during a step, but for its wait.
    let read = turn.step(wait, core.drains, |io| unsafe {
        buffer::with_scratch(|room| {
            let n = io.recv(room, 0)?;
            core.buffer.borrow_mut().push(buffer::written(room, n));
            Ok(n)
        })
    })?;
    if core.drains && read.is_some_and(|n| 0 < n && n < SCRATCH_BYTES) {
        turn.took_all();
    }
    Ok(read)
}

/// Exactly `size` bytes. What a failure leaves behind is read next.
unsafe fn read_exactly(slf: Raw, size: usize, record: Record) -> Raw {
    if size > SCRATCH_BYTES {
        // SAFETY: a method of a connection.
        return unsafe { read_exactly_large(slf, size, record) };
    }
    // SAFETY: a method of a connection.
    let read = unsafe {
        operate(slf, Mode::Read, record, |turn, wait| {
            let core = core(slf);
            if core.buffer.borrow().rest().len() < size {
                return match fill(core, turn, wait)? {
                    Some(0) => Ok(Some(ended(core, size))),
                    _ => Ok(None),
                };
            }
            let mut buffer = core.buffer.borrow_mut();
            let bytes = bytes_of(&buffer.rest()[..size]);
            buffer.advance(size);
            Ok(Some(bytes))
        })
    };
    read.unwrap_or(ptr::null_mut())
}

/// As `read_exactly`, straight into the result.
unsafe fn read_exactly_large(slf: Raw, size: usize, record: Record) -> Raw {
    // SAFETY: a method of a connection; nobody else has the new object.
    unsafe {
        let mut bytes = ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t);
        if bytes.is_null() {
            return bytes;
        }
        let start: *mut u8 = ffi::PyBytes_AS_STRING(bytes).cast_mut().cast();
        let mut filled = 0;
        let read = operate(slf, Mode::Read, record, |turn, wait| {
            let core = core(slf);
            {
                let mut buffer = core.buffer.borrow_mut();
                let n = buffer.rest().len().min(size - filled);
                ptr::copy_nonoverlapping(buffer.rest().as_ptr(), start.add(filled), n);
                buffer.advance(n);
                filled += n;
            }
            if filled == size {
                return Ok(Some(true));
            }
            let room = std::slice::from_raw_parts_mut(start.add(filled).cast(), size - filled);
            let read = turn.step(wait, core.drains, |io| io.recv(room, 0));
            match read {
                Ok(Some(n)) if n > 0 => {
                    if core.drains && n < size - filled {
                        turn.took_all();
                    }
                    filled += n;
                    Ok((filled == size).then_some(true))
                }
                Ok(None) => Ok(None),
                other => {
                    // The next turn begins anew, and may be somebody else's.
                    let part = std::slice::from_raw_parts(start, filled);
                    core.buffer.borrow_mut().unread(part);
                    filled = 0;
                    other.map(|read| read.map(|_| false))
                }
            }
        });
        if read == Some(true) {
            return bytes;
        }
        clear(&mut bytes);
        if read == Some(false) {
            return ended(core(slf), size);
        }
        ptr::null_mut()
    }
}

/// Raises EOFError with what came, which counts as read; always null.
pub(super) unsafe fn ended(core: &Core, size: usize) -> Raw {
    // SAFETY: the GIL is held; the references are ours.
    unsafe {
        let partial = {
            let mut buffer = core.buffer.borrow_mut();
            let n = buffer.rest().len();
            let partial = bytes_of(buffer.rest());
            buffer.advance(n);
            partial
        };
        if partial.is_null() {
            return partial;
        }
        let came = ffi::Py_SIZE(partial);
        let text = match size {
            0 => format!("the connection ended after {came} bytes, before the separator"),
            _ => format!("the connection ended after {came} of {size} bytes"),
        };
        errors::set(ffi::PyExc_EOFError, &text);
        let error = errors::fetch();
        if !error.is_null() {
            if ffi::PyObject_SetAttrString(error, c"partial".as_ptr(), partial) < 0 {
                ffi::PyErr_Clear();
            }
            errors::restore(error);
        }
        ffi::Py_DECREF(partial);
        ptr::null_mut()
    }
}
