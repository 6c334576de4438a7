//! Writes of all bytes, or of as many as the socket takes.

use go_lib::runtime::embedder;
use go_lib::runtime::embedder::net::{Mode, Turn};

use super::operate::{operate, steps, Failure, Step};
use super::outcome;
use super::read::flags_of;
use super::socket::Sock;
use crate::ffi::bytes::Bytes;
use crate::ffi::gil::{guard, Entry};
use crate::ffi::methods::entry;
use crate::ffi::python::{none, none_ref, size};
use crate::ffi::refs::{Outcome, Ref};

entry! { WRITE: golib_entry_conn_write => conn_write keywords(entry, conn: Sock, args) {
    let [data] = args.parse(entry.gil(), "write", &[c"data"], 1)?;
    let n = send_all(entry, conn, data, 0)?;
    size(entry.gil(), n)
} }

entry! { SENDALL: golib_entry_conn_sendall => conn_sendall keywords(entry, conn: Sock, args) {
    let [data, flags] = args.parse(entry.gil(), "sendall", &[c"data", c"flags"], 1)?;
    let flags = flags_of(entry.gil(), flags)?;
    send_all(entry, conn, data, flags)?;
    Ok(none(entry.gil()))
} }

entry! { SEND: golib_entry_conn_send => conn_send keywords(entry, conn: Sock, args) {
    let [data, flags] = args.parse(entry.gil(), "send", &[c"data", c"flags"], 1)?;
    let flags = flags_of(entry.gil(), flags)?;
    let bytes = Bytes::of(entry.gil(), data.unwrap_or_else(none_ref))?;
    let sent = operate(entry, conn, Mode::Write, |entry, step| {
        step.attempt(entry, false, |gil, io| {
            bytes.from(gil.exclusive(), 0, |data| io.send(data, flags))
        })
    });
    bytes.release(entry.gil());
    size(entry.gil(), sent?)
} }

/// Sends all of `data` in one turn and returns how many bytes that are.
fn send_all(entry: &mut Entry, conn: &Sock, data: Option<Ref<'_>>, flags: i32) -> Outcome<usize> {
    let bytes = Bytes::of(entry.gil(), data.unwrap_or_else(none_ref))?;
    let mut sent = 0;
    let done = loop {
        match send_in_turn(entry, conn, &bytes, &mut sent, flags) {
            Ok(true) => break Ok(bytes.len()),
            Ok(false) => {}
            Err(raised) => break Err(raised),
        }
    };
    bytes.release(entry.gil());
    done
}

/// Sends from `sent` on. Returns false if it had to leave the turn, or never had it: the caller calls it again.
#[inline]
fn send_in_turn(
    entry: &mut Entry,
    conn: &Sock,
    bytes: &Bytes,
    sent: &mut usize,
    flags: i32,
) -> Outcome<bool> {
    // A signal handler that runs inside a write of the same goroutine already has the turn.
    let handler = conn.handler.get(entry.gil().exclusive());
    if handler.is_some_and(|g| g == embedder::current_or_thread()) {
        let turn = conn.socket.same_turn(Mode::Write);
        return send_rest(entry, conn, &turn, bytes, sent, flags);
    }
    let turn = match entry.wait(|| conn.socket.turn(Mode::Write))? {
        Ok(turn) => turn,
        Err(error) => return outcome::again(entry.gil(), error).map(|()| false),
    };
    let done = send_rest(entry, conn, &turn, bytes, sent, flags);
    guard(entry.gil(), || turn.leave())?;
    done
}

/// Sends from `sent` on, in the turn. Returns false if a signal handler has forked and this is the child, which has no turn.
fn send_rest(
    entry: &mut Entry,
    conn: &Sock,
    turn: &Turn<'_>,
    bytes: &Bytes,
    sent: &mut usize,
    flags: i32,
) -> Outcome<bool> {
    let step = Step { turn, wait: conn.wait(entry.gil()) };
    loop {
        let result = steps(entry, step, |entry, step| {
            let n = step.attempt(entry, false, |gil, io| {
                bytes.from(gil.exclusive(), *sent, |data| io.send(data, flags))
            })?;
            *sent += n.unwrap_or(0);
            Ok(n.filter(|_| *sent == bytes.len()))
        });
        let error = match result {
            Ok(_) => return Ok(true),
            Err(Failure::Net(error)) => error,
            Err(Failure::Raised(raised)) => return Err(raised),
        };
        let gil = entry.gil();
        let here = Some(embedder::current_or_thread());
        let outer = conn.handler.replace(gil.exclusive(), here);
        let again = outcome::again(gil, error);
        conn.handler.set(gil.exclusive(), outer);
        again?;
        if turn.is_stale() {
            return Ok(false);
        }
    }
}
