//! The methods common to all sockets that never wait: close, deadlines, addresses, and the buffer for TLS.

use std::io::ErrorKind;
use std::net::Shutdown;

use go_lib::runtime::embedder::net::{Mode, NetError};

use super::lines::{limit_of, take_until, Found, Separator};
use super::outcome;
use super::read::{size_of, taken};
use super::socket::Sock;
use crate::ffi::args::{deadline_after, seconds_of, Args, NS};
use crate::ffi::bytes::Bytes;
use crate::ffi::class::Object;
use crate::ffi::errors::fail;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::python::{float, int, none, size, value_error};
use crate::ffi::refs::{release, New, Outcome, Ref};

/// `close()`. A second call does nothing.
pub(super) fn close(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    match guard(gil, || slf.socket.close())? {
        Err(NetError::Closed) => Ok(none(gil)),
        other => outcome::done(gil, other),
    }
}

pub(super) fn enter(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    Ok(slf.object().own(gil))
}

/// `fileno()`; -1 once the socket is closed.
pub(super) fn fileno(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    int(gil, slf.socket.fileno().unwrap_or(-1).into())
}

fn set_deadlines(gil: Gil<'_>, slf: &Sock, seconds: Ref<'_>, modes: &[Mode]) -> Outcome<New> {
    let when_ns = match seconds.is_none() {
        true => None,
        false => deadline_after(seconds_of(gil, seconds)?),
    };
    outcome::done(gil, guard(gil, || slf.socket.set_deadline(modes, when_ns))?)
}

pub(super) fn set_deadline(gil: Gil<'_>, slf: &Object<Sock>, seconds: Ref<'_>) -> Outcome<New> {
    set_deadlines(gil, slf, seconds, &[Mode::Read, Mode::Write])
}

pub(super) fn set_read_deadline(
    gil: Gil<'_>,
    slf: &Object<Sock>,
    seconds: Ref<'_>,
) -> Outcome<New> {
    set_deadlines(gil, slf, seconds, &[Mode::Read])
}

pub(super) fn set_write_deadline(
    gil: Gil<'_>,
    slf: &Object<Sock>,
    seconds: Ref<'_>,
) -> Outcome<New> {
    set_deadlines(gil, slf, seconds, &[Mode::Write])
}

/// `settimeout()`, like a socket's: with None operations wait forever, with 0 not at all.
pub(super) fn settimeout(gil: Gil<'_>, slf: &Object<Sock>, seconds: Ref<'_>) -> Outcome<New> {
    let mut timeout_ns = -1;
    if !seconds.is_none() {
        let seconds = seconds_of(gil, seconds)?;
        if seconds < 0.0 {
            return Err(fail(gil, value_error(), "Timeout value out of range"));
        }
        timeout_ns = (seconds * NS).ceil() as i64;
    }
    slf.timeout_ns.set(gil.exclusive(), timeout_ns);
    Ok(none(gil))
}

pub(super) fn gettimeout(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    match slf.timeout_ns.get(gil.exclusive()) {
        ..0 => Ok(none(gil)),
        ns => float(gil, ns as f64 / NS),
    }
}

fn shut(gil: Gil<'_>, slf: &Sock, how: Shutdown) -> Outcome<New> {
    outcome::done(gil, guard(gil, || slf.socket.with(|io| io.shutdown(how)))?)
}

pub(super) fn close_read(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    shut(gil, slf, Shutdown::Read)
}

pub(super) fn close_write(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    shut(gil, slf, Shutdown::Write)
}

pub(super) fn get_local_addr(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    match guard(gil, || slf.socket.with(|io| io.local_address()))? {
        Ok(address) => outcome::address(gil, &address),
        Err(error) => Err(outcome::failed(gil, error)),
    }
}

pub(super) fn get_remote_addr(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    let remote = slf.remote.with(gil.exclusive(), |remote| remote.clone());
    outcome::address(gil, &remote)
}

/// `_extra`: a connection's TLS state, or the class of a listener's connections.
pub(super) fn get_extra(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    Ok(slf.extra.get(gil).unwrap_or_else(|| none(gil)))
}

pub(super) fn set_extra(gil: Gil<'_>, slf: &Object<Sock>, value: Option<Ref<'_>>) -> Outcome<()> {
    let value = value.map(|value| value.own(gil));
    release(gil, slf.extra.put(gil.exclusive(), value));
    Ok(())
}

/// `_feed(data)`: adds bytes that will be read next.
pub(super) fn feed(gil: Gil<'_>, slf: &Object<Sock>, data: Ref<'_>) -> Outcome<New> {
    let bytes = Bytes::of(gil, data)?;
    bytes.from(gil.exclusive(), 0, |data| {
        slf.buffer.with(gil.exclusive(), |buffer| buffer.push(data));
    });
    bytes.release(gil);
    Ok(none(gil))
}

/// `_take(n)`: takes at most n of the bytes that were read but not returned yet.
pub(super) fn take(gil: Gil<'_>, slf: &Object<Sock>, n: Ref<'_>) -> Outcome<New> {
    let n = size_of(gil, Some(n), 0)?;
    slf.buffer.with(gil.exclusive(), |buffer| taken(gil, buffer, n.min(buffer.rest().len())))
}

/// `_take_until(sep, limit)`: takes the bytes up to a separator; None if none has come yet.
pub(super) fn take_line(gil: Gil<'_>, slf: &Object<Sock>, args: Args<'_>) -> Outcome<New> {
    let [sep, limit] = args.parse(gil, "_take_until", &[c"sep", c"limit"], 2)?;
    let limit = limit_of(gil, limit)?;
    let sep = Separator::of(gil, sep)?;
    let found = take_until(gil, slf, &sep, limit, 0);
    sep.release(gil);
    match found? {
        Found::Line(line) => Ok(line),
        Found::More(_) => Ok(none(gil)),
    }
}

/// `_buffered`: how many bytes were read but not returned yet.
pub(super) fn get_buffered(gil: Gil<'_>, slf: &Object<Sock>) -> Outcome<New> {
    size(gil, slf.buffer.with(gil.exclusive(), |buffer| buffer.rest().len()))
}

/// `_send_now(data)`: sends what can be sent without a wait, and returns how many bytes. The caller has excluded other writers.
pub(super) fn send_now(gil: Gil<'_>, slf: &Object<Sock>, data: Ref<'_>) -> Outcome<New> {
    let bytes = Bytes::of(gil, data)?;
    let sent = guard(gil, || {
        let send = |data: &[u8]| {
            slf.socket.with(|io| match io.send(data, 0) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    Ok(0)
                }
                other => other,
            })
        };
        bytes.from(gil.exclusive(), 0, send)
    });
    bytes.release(gil);
    match sent? {
        Ok(n) => size(gil, n),
        Err(error) => Err(outcome::failed(gil, error)),
    }
}
