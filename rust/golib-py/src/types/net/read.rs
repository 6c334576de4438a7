//! Reads of as many bytes as have come, or of exactly n bytes.

use std::io;

use go_lib::runtime::embedder::net::{Io, Mode};

use super::buffer::{self, Buffer, SCRATCH, SCRATCH_BYTES};
use super::operate::{operate, Failure, Step};
use super::socket::Sock;
use crate::ffi::args::integer_of;
use crate::ffi::bytes::{bytes_of, Bytes, NewBytes};
use crate::ffi::errors::fail;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::entry;
use crate::ffi::python::{
    clear_error, eof_error, none_ref, raise_object, set_attribute, size as int_of, take_error,
    value_error,
};
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// How many bytes `read()` reads at most.
const DEFAULT_BYTES: usize = 65536;
/// Reads of more bytes than this are large: they go straight into the result.
const LARGE_BYTES: usize = 4096;
/// How large a result may be before anything has come.
const ROOM_BYTES: usize = 16 << 20;
/// `errno` for a result for which there is no memory.
const ENOMEM: i32 = 12;

entry! { READ: golib_entry_conn_read => conn_read keywords(entry, conn: Sock, args) {
    let [size] = args.parse(entry.gil(), "read", &[c"n"], 0)?;
    let size = size_of(entry.gil(), size, DEFAULT_BYTES)?;
    read(entry, conn, size, 0)
} }

entry! { RECV: golib_entry_conn_recv => conn_recv keywords(entry, conn: Sock, args) {
    let [size, flags] = args.parse(entry.gil(), "recv", &[c"bufsize", c"flags"], 1)?;
    let (size, flags) = (size_of(entry.gil(), size, 0)?, flags_of(entry.gil(), flags)?);
    read(entry, conn, size, flags)
} }

entry! { RECV_RAW: golib_entry_conn_recv_raw => conn_recv_raw one(entry, conn: Sock, size) {
    let size = size_of(entry.gil(), Some(size), 0)?;
    operate(entry, conn, Mode::Read, |entry, step| read_new(entry, conn, step, size, 0))
} }

entry! { READ_INTO: golib_entry_conn_read_into => conn_read_into keywords(entry, conn: Sock, args) {
    let [buf] = args.parse(entry.gil(), "read_into", &[c"buf"], 1)?;
    read_into(entry, conn, buf, 0, 0)
} }

entry! { RECV_INTO: golib_entry_conn_recv_into => conn_recv_into keywords(entry, conn: Sock, args) {
    let names = [c"buffer", c"nbytes", c"flags"];
    let [buf, nbytes, flags] = args.parse(entry.gil(), "recv_into", &names, 1)?;
    let (nbytes, flags) = (size_of(entry.gil(), nbytes, 0)?, flags_of(entry.gil(), flags)?);
    read_into(entry, conn, buf, nbytes, flags)
} }

entry! { READ_EXACTLY: golib_entry_conn_read_exactly => conn_read_exactly keywords(entry, conn: Sock, args) {
    let [size] = args.parse(entry.gil(), "read_exactly", &[c"n"], 1)?;
    match size_of(entry.gil(), size, 0)? {
        size if size > SCRATCH_BYTES => read_exactly_large(entry, conn, size),
        size => read_exactly(entry, conn, size),
    }
} }

/// Converts a number of bytes, or takes the `default`. Runs Python code.
#[inline]
pub(super) fn size_of(gil: Gil<'_>, size: Option<Ref<'_>>, default: usize) -> Outcome<usize> {
    let Some(size) = size else { return Ok(default) };
    let size = integer_of(gil, size)?;
    usize::try_from(size)
        .map_err(|_| fail(gil, value_error(), "the number of bytes must not be negative"))
}

/// Converts the flags for the system call; none by default. Runs Python code.
#[inline]
pub(super) fn flags_of(gil: Gil<'_>, flags: Option<Ref<'_>>) -> Outcome<i32> {
    flags.map_or(Ok(0), |flags| integer_of(gil, flags).map(|flags| flags as i32))
}

/// Returns at most `size` of the buffered bytes; None if there are none. They stay in the buffer if there are `flags`, because
/// the only flag that concerns bytes of a stream which have already come is MSG_PEEK.
#[inline]
fn take_buffered<R>(
    gil: Gil<'_>,
    conn: &Sock,
    size: usize,
    flags: i32,
    take: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    conn.buffer.with(gil.exclusive(), |buffer| {
        if buffer.is_empty() && size > 0 {
            return None;
        }
        let n = size.min(buffer.rest().len());
        let taken = take(&buffer.rest()[..n]);
        if flags == 0 {
            buffer.advance(n);
        }
        Some(taken)
    })
}

/// Reads at most `size` bytes: from the buffer, or from the socket if the buffer is empty.
fn read(entry: &mut Entry, conn: &Sock, size: usize, flags: i32) -> Outcome<New> {
    operate(entry, conn, Mode::Read, |entry, step| {
        let gil = entry.gil();
        match take_buffered(gil, conn, size, flags, |bytes| bytes_of(gil, bytes)) {
            Some(bytes) => Ok(Some(bytes?)),
            None => read_new(entry, conn, step, size, flags),
        }
    })
}

/// Reads from the socket into a new `bytes` of at most `size`. It holds no memory while it waits.
#[inline]
fn read_new(
    entry: &mut Entry,
    conn: &Sock,
    step: Step<'_>,
    size: usize,
    flags: i32,
) -> Result<Option<New>, Failure> {
    let in_vain = conn.drains && flags == 0;
    let read = step.attempt(entry, in_vain, |gil, io| {
        if size > LARGE_BYTES && !conn.bulk.get(gil.exclusive()) {
            read_small(gil, conn, io, size, flags)
        } else {
            read_large(gil, conn, io, size.min(ROOM_BYTES), flags)
        }
    })?;
    let Some((bytes, took_all)) = read else { return Ok(None) };
    if took_all && in_vain {
        step.turn.took_all();
    }
    Ok(Some(bytes?))
}

/// Reads by way of the shared scratch space, so that a small read gets a small result.
#[inline]
fn read_small(
    gil: Gil<'_>,
    conn: &Sock,
    io: Io<'_>,
    size: usize,
    flags: i32,
) -> io::Result<(Outcome<New>, bool)> {
    SCRATCH.with(gil.exclusive(), |room| {
        let room = &mut room[..size.min(SCRATCH_BYTES)];
        let most = room.len();
        let came = buffer::recv(io, room, flags)?;
        conn.bulk.set(gil.exclusive(), came.len() > LARGE_BYTES);
        Ok((bytes_of(gil, came), !came.is_empty() && came.len() < most))
    })
}

/// Reads straight into the result.
fn read_large(
    gil: Gil<'_>,
    conn: &Sock,
    io: Io<'_>,
    size: usize,
    flags: i32,
) -> io::Result<(Outcome<New>, bool)> {
    let Ok(mut bytes) = NewBytes::new(gil, size) else {
        clear_error(gil);
        return Err(io::Error::from_raw_os_error(ENOMEM));
    };
    match io.recv(bytes.rest(), flags) {
        Ok(n) => {
            conn.bulk.set(gil.exclusive(), n > LARGE_BYTES);
            // SAFETY: so many were received.
            unsafe { bytes.advance(n) };
            Ok((bytes.finish(gil), 0 < n && n < size))
        }
        Err(error) => {
            bytes.release(gil);
            Err(error)
        }
    }
}

/// Reads into the first `nbytes` of the caller's memory (0: all of it). Returns how many bytes were read.
fn read_into(
    entry: &mut Entry,
    conn: &Sock,
    buf: Option<Ref<'_>>,
    nbytes: usize,
    flags: i32,
) -> Outcome<New> {
    let room = Bytes::writable(entry.gil(), buf.unwrap_or_else(none_ref))?;
    let size = if nbytes == 0 { room.len() } else { nbytes };
    if size > room.len() {
        room.release(entry.gil());
        return Err(fail(entry.gil(), value_error(), "the buffer is smaller than nbytes"));
    }
    let in_vain = conn.drains && flags == 0;
    let read = operate(entry, conn, Mode::Read, |entry, step| {
        let gil = entry.gil();
        let buffered =
            take_buffered(gil, conn, size, flags, |bytes| room.write(gil.exclusive(), bytes));
        if buffered.is_some() {
            return Ok(buffered);
        }
        let read = step.attempt(entry, in_vain, |gil, io| {
            room.room(gil.exclusive(), size, |room| io.recv(room, flags))
        })?;
        if in_vain && read.is_some_and(|n| 0 < n && n < size) {
            step.turn.took_all();
        }
        Ok(read)
    });
    room.release(entry.gil());
    int_of(entry.gil(), read?)
}

/// Reads once into the buffer; 0 at the end of the stream.
pub(super) fn fill(
    entry: &mut Entry,
    conn: &Sock,
    step: Step<'_>,
) -> Result<Option<usize>, Failure> {
    let read = step.attempt(entry, conn.drains, |gil, io| {
        SCRATCH.with(gil.exclusive(), |room| {
            let came = buffer::recv(io, room, 0)?;
            conn.buffer.with(gil.exclusive(), |buffer| buffer.push(came));
            Ok(came.len())
        })
    })?;
    if conn.drains && read.is_some_and(|n| 0 < n && n < SCRATCH_BYTES) {
        step.turn.took_all();
    }
    Ok(read)
}

/// Reads exactly `size` bytes. Bytes that came before a failure are read next.
fn read_exactly(entry: &mut Entry, conn: &Sock, size: usize) -> Outcome<New> {
    operate(entry, conn, Mode::Read, |entry, step| {
        let gil = entry.gil();
        let whole = conn.buffer.with(gil.exclusive(), |buffer| {
            (buffer.rest().len() >= size).then(|| taken(gil, buffer, size))
        });
        match whole {
            Some(bytes) => Ok(Some(bytes?)),
            None if fill(entry, conn, step)? == Some(0) => {
                Err(ended(entry.gil(), conn, size).into())
            }
            None => Ok(None),
        }
    })
}

/// Takes the first `n` bytes of the buffer.
#[inline]
pub(super) fn taken(gil: Gil<'_>, buffer: &mut Buffer, n: usize) -> Outcome<New> {
    let bytes = bytes_of(gil, &buffer.rest()[..n]);
    buffer.advance(n);
    bytes
}

/// Takes all bytes of the buffer.
pub(super) fn take_rest(gil: Gil<'_>, conn: &Sock) -> Outcome<New> {
    conn.buffer.with(gil.exclusive(), |buffer| taken(gil, buffer, buffer.rest().len()))
}

/// Like `read_exactly`, but reads straight into the result.
fn read_exactly_large(entry: &mut Entry, conn: &Sock, size: usize) -> Outcome<New> {
    let mut bytes = NewBytes::new(entry.gil(), size)?;
    let whole =
        operate(entry, conn, Mode::Read, |entry, step| fill_up(entry, conn, step, &mut bytes));
    match whole {
        Ok(true) => bytes.finish(entry.gil()),
        Ok(false) => {
            bytes.release(entry.gil());
            Err(ended(entry.gil(), conn, size))
        }
        Err(raised) => {
            bytes.release(entry.gil());
            Err(raised)
        }
    }
}

/// A step of `read_exactly_large`: true once `bytes` is full, false at the end of the stream. A failure puts the bytes that
/// have come back into the buffer, since the next turn may belong to another goroutine.
fn fill_up(
    entry: &mut Entry,
    conn: &Sock,
    step: Step<'_>,
    bytes: &mut NewBytes,
) -> Result<Option<bool>, Failure> {
    conn.buffer.with(entry.gil().exclusive(), |buffer| {
        let n = buffer.rest().len().min(bytes.rest().len());
        bytes.push(&buffer.rest()[..n]);
        buffer.advance(n);
    });
    if bytes.is_full() {
        return Ok(Some(true));
    }
    match step.attempt(entry, conn.drains, |_, io| io.recv(bytes.rest(), 0)) {
        Ok(Some(n)) if n > 0 => {
            // SAFETY: so many were received.
            unsafe { bytes.advance(n) };
            if conn.drains && !bytes.is_full() {
                step.turn.took_all();
            }
            Ok(bytes.is_full().then_some(true))
        }
        Ok(None) => Ok(None),
        other => {
            conn.buffer.with(entry.gil().exclusive(), |buffer| buffer.unread(bytes.filled()));
            bytes.empty();
            other.map(|read| read.map(|_| false))
        }
    }
}

/// Raises EOFError with the bytes that came, which count as read. `size` is the number of bytes asked for; 0 if a separator
/// was.
pub(super) fn ended(gil: Gil<'_>, conn: &Sock, size: usize) -> Raised {
    let came = conn.buffer.with(gil.exclusive(), |buffer| buffer.rest().len());
    let partial = match take_rest(gil, conn) {
        Ok(partial) => partial,
        Err(raised) => return raised,
    };
    let text = match size {
        0 => format!("the connection ended after {came} bytes, before the separator"),
        _ => format!("the connection ended after {came} of {size} bytes"),
    };
    let mut raised = fail(gil, eof_error(), &text);
    if let Some(error) = take_error(gil) {
        if set_attribute(gil, error.get(), c"partial", partial.get()).is_err() {
            clear_error(gil);
        }
        raised = raise_object(gil, error);
    }
    partial.release(gil);
    raised
}
