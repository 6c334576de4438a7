//! Writes: of all bytes, or of as many as the socket takes.

use std::ptr;

use go_lib::runtime::embedder;
use go_lib::runtime::embedder::net::{Mode, Turn};
use pyo3::ffi;

use super::calls::{arguments, parking};
use super::operate::{operate, steps, wait_of, Bytes};
use super::read::flags_of;
use super::{core, outcome, Core};
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{guard, guard_wait, Record};

parking!(golib_entry_conn_write => conn_write(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let Some([data]) = arguments("write", &[c"data"], 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match send_all(slf, data, 0, record) {
            Some(n) => ffi::PyLong_FromSize_t(n),
            None => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_sendall => conn_sendall(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let names = [c"data", c"flags"];
        let Some([data, flags]) = arguments("sendall", &names, 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(flags) = flags_of(flags) else { return ptr::null_mut() };
        match send_all(slf, data, flags, record) {
            Some(_) => obj::none(),
            None => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_send => conn_send(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a connection.
    unsafe {
        let names = [c"data", c"flags"];
        let Some([data, flags]) = arguments("send", &names, 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(flags) = flags_of(flags) else { return ptr::null_mut() };
        let Some(bytes) = Bytes::of(data, false) else { return ptr::null_mut() };
        let sent = operate(slf, Mode::Write, record, |turn, wait| {
            turn.step(wait, false, |io| io.send(bytes.from(0), flags))
        });
        bytes.release();
        sent.map_or(ptr::null_mut(), |n| ffi::PyLong_FromSize_t(n))
    }
});

/// Sends all of `data` in one turn; how many bytes. None: an exception is set.
unsafe fn send_all(slf: Raw, data: Raw, flags: i32, record: Record) -> Option<usize> {
    // SAFETY: a method of a connection.
    unsafe {
        let bytes = Bytes::of(data, false)?;
        let (core, n) = (core(slf), bytes.len());
        let mut sent = 0;
        let done = loop {
            // A signal handler that came into a write of the same goroutine: it has the turn already.
            let nested = core.handler.get().is_some_and(|g| g == embedder::current_or_thread());
            let turn = if nested {
                core.socket.same_turn(Mode::Write)
            } else {
                match guard_wait(record, || core.socket.turn(Mode::Write)) {
                    Some(Ok(turn)) => turn,
                    Some(Err(error)) => {
                        if outcome::again(error) {
                            continue;
                        }
                        break false;
                    }
                    None => break false,
                }
            };
            let done = send_rest(core, &turn, &bytes, &mut sent, flags, record);
            if !nested {
                guard(|| turn.leave());
            }
            if let Some(done) = done {
                break done;
            }
        };
        bytes.release();
        done.then_some(n)
    }
}

/// Sends from `sent` on; false: an exception is set. None: a signal handler has forked, and this is the child, which
/// has no turn.
unsafe fn send_rest(
    core: &Core,
    turn: &Turn<'_>,
    bytes: &Bytes,
    sent: &mut usize,
    flags: i32,
    record: Record,
) -> Option<bool> {
    let wait = wait_of(core);
    loop {
        let step = |turn: &Turn<'_>, wait| {
            // SAFETY: the GIL is held during a step, but for its wait.
            let n = turn.step(wait, false, |io| io.send(unsafe { bytes.from(*sent) }, flags))?;
            *sent += n.unwrap_or(0);
            Ok(n.filter(|_| *sent == bytes.len()))
        };
        let error = match steps(turn, wait, record, step) {
            Some(Ok(_)) => return Some(true),
            Some(Err(error)) => error,
            None => return Some(false),
        };
        let outer = core.handler.replace(Some(embedder::current_or_thread()));
        // SAFETY: the GIL is held, and no wait is under way.
        let again = unsafe { outcome::again(error) };
        core.handler.set(outer);
        if !again {
            return Some(false);
        }
        if turn.is_stale() {
            return None;
        }
    }
}
