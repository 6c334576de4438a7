//! Waits for descriptors that golib does not own, and for the end of a connect.

use go_lib::runtime::embedder::net::{Mode, NetError, Socket};

use super::operate::{in_turn, operate, Failure};
use super::outcome;
use super::socket::Sock;
use crate::core::{goroutine, waits};
use crate::ffi::args::{timeout_of, Timeout};
use crate::ffi::gil::{guard, Entry};
use crate::ffi::methods::{entry, Module};
use crate::ffi::python::{as_descriptor, none, none_ref};
use crate::ffi::refs::{New, Outcome, Ref};

entry! { WAIT_READABLE: golib_entry_wait_readable => wait_readable keywords(entry, _module: Module, args) {
    let [fd, timeout] = args.parse(entry.gil(), "wait_readable", &[c"fd", c"timeout"], 1)?;
    wait_ready(entry, "wait_readable", fd, Mode::Read, timeout)
} }

entry! { WAIT_WRITABLE: golib_entry_wait_writable => wait_writable keywords(entry, _module: Module, args) {
    let [fd, timeout] = args.parse(entry.gil(), "wait_writable", &[c"fd", c"timeout"], 1)?;
    wait_ready(entry, "wait_writable", fd, Mode::Write, timeout)
} }

entry! { CONNECTED: golib_entry_conn_connected => conn_connected none(entry, conn: Sock) {
    let ended = operate(entry, conn, Mode::Write, |entry, step| {
        entry.wait(|| step.turn.wait(step.wait))??;
        step.attempt(entry, false, |_, io| Ok((io.take_error()?, io.peer_address())))
    })?;
    let gil = entry.gil();
    match ended {
        (None, Ok(peer)) => {
            conn.remote.with(gil.exclusive(), |remote| *remote = peer);
            Ok(none(gil))
        }
        (Some(error), _) | (None, Err(error)) => Err(outcome::raise(gil, &error)),
    }
} }

/// Waits until `fd`, a number or an object with fileno(), is ready.
fn wait_ready(
    entry: &mut Entry,
    what: &str,
    fd: Option<Ref<'_>>,
    mode: Mode,
    timeout: Option<Ref<'_>>,
) -> Outcome<New> {
    let gil = entry.gil();
    let fd = as_descriptor(gil, fd.unwrap_or_else(none_ref))?;
    let timeout = timeout_of(gil, timeout)?;
    goroutine::prepare(gil)?;
    let watched = guard(gil, || Socket::watch(fd, mode))?;
    let Some(watched) = watched.map_err(|error| outcome::raise(gil, &error))? else {
        return Ok(none(gil));
    };
    let ready = wait_watched(entry, &watched, what, mode, timeout);
    guard(entry.gil(), || drop(watched))?;
    ready.map(|()| none(entry.gil()))
}

fn wait_watched(
    entry: &mut Entry,
    watched: &Socket,
    what: &str,
    mode: Mode,
    timeout: Timeout,
) -> Outcome<()> {
    loop {
        let waited = in_turn(entry, watched, mode, timeout.wait, |entry, step| {
            Ok(Some(entry.wait(|| step.turn.wait(step.wait))??))
        });
        match waited {
            Ok(()) => return Ok(()),
            Err(Failure::Net(NetError::Wait(error))) => {
                waits::failed(entry.gil(), error, what, timeout)?;
            }
            Err(Failure::Net(error)) => return Err(outcome::failed(entry.gil(), error)),
            Err(Failure::Raised(raised)) => return Err(raised),
        }
    }
}
