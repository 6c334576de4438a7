//! Reads up to a separator.

use std::ptr;

use go_lib::runtime::embedder::net::Mode;
use memchr::memmem;
use pyo3::ffi;

use super::calls::{arguments, parking};
use super::operate::{operate, Bytes};
use super::read::{bytes_of, ended, fill, size_of};
use super::{core, Core};
use crate::ffi::errors;
use crate::ffi::obj::Raw;
use crate::ffi::raw::Record;

/// How many bytes may come before the separator's end, unless the caller says otherwise.
const LIMIT_BYTES: usize = 65536;

parking!(golib_entry_conn_read_until => conn_read_until(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let names = [c"sep", c"limit"];
        let Some([sep, limit]) = arguments("read_until", &names, 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(limit) = limit_of(limit) else { return ptr::null_mut() };
        let Some(bytes) = separator(sep) else { return ptr::null_mut() };
        let line = read_until(slf, bytes.from(0), limit, false, record);
        bytes.release();
        line
    }
});

parking!(golib_entry_conn_readline => conn_readline(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let Some([limit]) = arguments("readline", &[c"limit"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(limit) = limit_of(limit) else { return ptr::null_mut() };
        read_until(slf, b"\n", limit, true, record)
    }
});

/// The separator's bytes; None: an exception is set.
pub(super) unsafe fn separator(sep: Raw) -> Option<Bytes> {
    // SAFETY: the GIL is held.
    unsafe {
        let bytes = Bytes::of(sep, false)?;
        if bytes.len() == 0 {
            bytes.release();
            errors::set(ffi::PyExc_ValueError, "the separator must not be empty");
            return None;
        }
        Some(bytes)
    }
}

/// A limit; None: an exception is set.
pub(super) unsafe fn limit_of(limit: Raw) -> Option<usize> {
    // SAFETY: the GIL is held.
    unsafe {
        let limit = size_of(limit, LIMIT_BYTES)?;
        if limit == 0 {
            errors::set(ffi::PyExc_ValueError, "the limit must be at least 1");
            return None;
        }
        Some(limit)
    }
}

/// What the buffer holds.
pub(super) enum Found {
    /// A new reference, or null with an exception set.
    Line(Raw),
    /// No separator yet; the next look may begin here.
    More(usize),
    /// No separator within the limit: an exception is set.
    TooLong,
}

/// Takes the bytes up to `sep` from the buffer; the first `looked` hold no end of one.
pub(super) unsafe fn take_until(core: &Core, sep: &[u8], limit: usize, looked: usize) -> Found {
    let mut buffer = core.buffer.borrow_mut();
    let rest = buffer.rest();
    let start = looked.min(rest.len());
    let found = match sep {
        [byte] => memchr::memchr(*byte, &rest[start..]),
        _ => memmem::find(&rest[start..], sep),
    };
    // SAFETY: the GIL is held.
    unsafe {
        match found.map(|at| start + at + sep.len()) {
            Some(end) if end <= limit => {
                let line = bytes_of(&rest[..end]);
                buffer.advance(end);
                Found::Line(line)
            }
            None if rest.len() < limit => Found::More((rest.len() + 1).saturating_sub(sep.len())),
            _ => {
                let text = format!("no separator in the first {limit} bytes");
                errors::set(ffi::PyExc_ValueError, &text);
                Found::TooLong
            }
        }
    }
}

/// The bytes up to `sep`. `rest_too`: at the end, what is left counts as a line.
unsafe fn read_until(slf: Raw, sep: &[u8], limit: usize, rest_too: bool, record: Record) -> Raw {
    let mut looked = 0;
    // SAFETY: a method of a connection.
    let read = unsafe {
        operate(slf, Mode::Read, record, |turn, wait| {
            let core = core(slf);
            match take_until(core, sep, limit, looked) {
                Found::Line(line) => return Ok(Some(line)),
                Found::TooLong => return Ok(Some(ptr::null_mut())),
                Found::More(next) => looked = next,
            }
            // Another reader may take what is there before the next turn.
            match fill(core, turn, wait).inspect_err(|_| looked = 0)? {
                Some(0) if rest_too => {
                    let mut buffer = core.buffer.borrow_mut();
                    let n = buffer.rest().len();
                    let line = bytes_of(buffer.rest());
                    buffer.advance(n);
                    Ok(Some(line))
                }
                Some(0) => Ok(Some(ended(core, 0))),
                _ => Ok(None),
            }
        })
    };
    read.unwrap_or(ptr::null_mut())
}
