//! Reads up to a separator.

use go_lib::runtime::embedder::net::Mode;
use memchr::memmem;

use super::operate::operate;
use super::read::{ended, fill, size_of, take_rest, taken};
use super::socket::Sock;
use crate::ffi::bytes::Bytes;
use crate::ffi::errors::fail;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::entry;
use crate::ffi::python::{none_ref, value_error};
use crate::ffi::refs::{New, Outcome, Ref};

/// How many bytes a line may have, with its separator, unless the caller gives another limit.
const LIMIT_BYTES: usize = 65536;

entry! { READ_UNTIL: golib_entry_conn_read_until => conn_read_until keywords(entry, conn: Sock, args) {
    let [sep, limit] = args.parse(entry.gil(), "read_until", &[c"sep", c"limit"], 1)?;
    let limit = limit_of(entry.gil(), limit)?;
    let sep = Separator::of(entry.gil(), sep)?;
    let line = read_until(entry, conn, &sep, limit, false);
    sep.release(entry.gil());
    line
} }

entry! { READLINE: golib_entry_conn_readline => conn_readline keywords(entry, conn: Sock, args) {
    let [limit] = args.parse(entry.gil(), "readline", &[c"limit"], 0)?;
    let limit = limit_of(entry.gil(), limit)?;
    read_until(entry, conn, &Separator::Newline, limit, true)
} }

/// What ends a line.
pub(super) enum Separator {
    Newline,
    Given(Bytes),
}

impl Separator {
    /// Converts the argument. Runs Python code.
    pub(super) fn of(gil: Gil<'_>, sep: Option<Ref<'_>>) -> Outcome<Separator> {
        let bytes = Bytes::of(gil, sep.unwrap_or_else(none_ref))?;
        if bytes.len() == 0 {
            bytes.release(gil);
            return Err(fail(gil, value_error(), "the separator must not be empty"));
        }
        Ok(Separator::Given(bytes))
    }

    pub(super) fn release(self, gil: Gil<'_>) {
        if let Separator::Given(bytes) = self {
            bytes.release(gil);
        }
    }

    #[inline]
    fn with<R>(&self, gil: Gil<'_>, look: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Separator::Newline => look(b"\n"),
            Separator::Given(bytes) => bytes.from(gil.exclusive(), 0, look),
        }
    }
}

/// Converts a limit. Runs Python code.
pub(super) fn limit_of(gil: Gil<'_>, limit: Option<Ref<'_>>) -> Outcome<usize> {
    match size_of(gil, limit, LIMIT_BYTES)? {
        0 => Err(fail(gil, value_error(), "the limit must be at least 1")),
        limit => Ok(limit),
    }
}

/// What a look at the buffer has found.
pub(super) enum Found {
    Line(New),
    /// No separator yet; the next look may begin at this index.
    More(usize),
}

/// Takes the bytes up to `sep` from the buffer. No separator ends in the first `looked` bytes.
pub(super) fn take_until(
    gil: Gil<'_>,
    conn: &Sock,
    sep: &Separator,
    limit: usize,
    looked: usize,
) -> Outcome<Found> {
    let found = conn.buffer.with(gil.exclusive(), |buffer| {
        let rest = buffer.rest();
        let start = looked.min(rest.len());
        let (at, len) = sep.with(gil, |sep| match sep {
            [byte] => (memchr::memchr(*byte, &rest[start..]), 1),
            _ => (memmem::find(&rest[start..], sep), sep.len()),
        });
        match at.map(|at| start + at + len) {
            Some(end) if end <= limit => Some(taken(gil, buffer, end).map(Found::Line)),
            None if rest.len() < limit => {
                Some(Ok(Found::More((rest.len() + 1).saturating_sub(len))))
            }
            _ => None,
        }
    });
    found.unwrap_or_else(|| {
        let text = format!("no separator in the first {limit} bytes");
        Err(fail(gil, value_error(), &text))
    })
}

/// Reads up to `sep`. With `rest_too`, the bytes that are left when the connection ends count as a line.
fn read_until(
    entry: &mut Entry,
    conn: &Sock,
    sep: &Separator,
    limit: usize,
    rest_too: bool,
) -> Outcome<New> {
    let mut looked = 0;
    operate(entry, conn, Mode::Read, |entry, step| {
        match take_until(entry.gil(), conn, sep, limit, looked)? {
            Found::Line(line) => return Ok(Some(line)),
            Found::More(next) => looked = next,
        }
        // Another reader may take the buffered bytes before our next turn.
        match fill(entry, conn, step).inspect_err(|_| looked = 0)? {
            Some(0) if rest_too => Ok(Some(take_rest(entry.gil(), conn)?)),
            Some(0) => Err(ended(entry.gil(), conn, 0).into()),
            _ => Ok(None),
        }
    })
}
