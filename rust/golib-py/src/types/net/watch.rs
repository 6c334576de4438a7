//! Waits for descriptors of others, and for a connect's end.

use std::ptr;

use go_lib::runtime::embedder::net::{Mode, NetError, Socket, Turn};
use go_lib::runtime::embedder::Wait;
use pyo3::ffi::{self, PyMethodDef};

use super::calls::{arguments, keywords, optional, parking, wait_of};
use super::methods::fast;
use super::operate::{operate, steps};
use super::{core, net_make, outcome};
use crate::core::waits;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{guard, guard_wait, Record, Table};

parking!(golib_entry_wait_readable => wait_readable(_slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let names = [c"fd", c"timeout"];
        match arguments("wait_readable", &names, 1, args, n, kwnames) {
            Some([fd, timeout]) => wait_ready("wait_readable", fd, Mode::Read, timeout, record),
            None => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_wait_writable => wait_writable(_slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let names = [c"fd", c"timeout"];
        match arguments("wait_writable", &names, 1, args, n, kwnames) {
            Some([fd, timeout]) => wait_ready("wait_writable", fd, Mode::Write, timeout, record),
            None => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_conn_connected => conn_connected(slf, _arg; record) {
    // SAFETY: a METH_NOARGS method of a connection.
    unsafe {
        let ended = operate(slf, Mode::Write, record, |turn, wait| {
            turn.wait(wait)?;
            turn.step(wait, false, |io| Ok((io.take_error()?, io.peer_address())))
        });
        match ended {
            Some((None, Ok(peer))) => {
                *core(slf).remote.borrow_mut() = peer;
                obj::none()
            }
            Some((Some(error), _) | (None, Err(error))) => {
                outcome::raise(&error);
                ptr::null_mut()
            }
            None => ptr::null_mut(),
        }
    }
});

/// Waits until `fd`, a number or what has a fileno(), is ready.
unsafe fn wait_ready(what: &str, fd: Raw, mode: Mode, timeout: Raw, record: Record) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        let fd = ffi::PyObject_AsFileDescriptor(fd);
        if fd < 0 {
            return ptr::null_mut();
        }
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        let watched = match guard(|| Socket::watch(fd, mode)) {
            Some(Ok(Some(watched))) => watched,
            Some(Ok(None)) => return obj::none(),
            Some(Err(error)) => {
                outcome::raise(&error);
                return ptr::null_mut();
            }
            None => return ptr::null_mut(),
        };
        let ready = wait_watched(&watched, what, mode, wait, timeout, record);
        guard(|| drop(watched));
        ready
    }
}

unsafe fn wait_watched(
    watched: &Socket,
    what: &str,
    mode: Mode,
    wait: Wait,
    timeout: Raw,
    record: Record,
) -> Raw {
    loop {
        let step = |turn: &Turn<'_>, wait| turn.wait(wait).map(Some);
        let waited = match guard_wait(record, || watched.turn(mode)) {
            Some(Ok(turn)) => {
                let waited = steps(&turn, wait, record, step);
                guard(|| turn.leave());
                waited
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        // SAFETY: the GIL is held, and no wait is under way.
        unsafe {
            match waited {
                Some(Ok(())) => return obj::none(),
                Some(Err(NetError::Wait(error))) => {
                    if waits::failed(Gil::assume(), error, what, optional(timeout)).is_err() {
                        return ptr::null_mut();
                    }
                }
                Some(Err(error)) => return outcome::failed(error),
                None => return ptr::null_mut(),
            }
        }
    }
}

/// The module's functions for `golib.net`.
pub(crate) static FUNCTIONS: Table<[PyMethodDef; 4]> = Table([
    keywords(
        c"wait_readable",
        golib_entry_wait_readable,
        c"wait_readable(fd, timeout=None)
--

Waits until a descriptor can be read without blocking, has ended or is broken.

fd is a number or anything that has a fileno(), of anything that can be polled: for libraries that
ask their caller to wait. The descriptor stays as it is.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less looks once, None waits for ever.
Raises: TimeoutError after timeout; OSError if fd is no descriptor.

>>> import os
>>> r, w = os.pipe()
>>> g = golib.go(golib.net.wait_readable, r)
>>> os.write(w, b'x')
1
>>> g.join()
>>> os.close(r); os.close(w)",
    ),
    keywords(
        c"wait_writable",
        golib_entry_wait_writable,
        c"wait_writable(fd, timeout=None)
--

Waits until a descriptor can be written to without blocking, or is broken.

As wait_readable() in everything else.

>>> import os
>>> r, w = os.pipe()
>>> golib.net.wait_writable(w, 1)
>>> os.close(r); os.close(w)",
    ),
    fast(
        c"_net_make",
        net_make,
        c"_net_make(class, fd, drains, /)\n--\n\nAn instance that owns fd.",
    ),
    PyMethodDef::zeroed(),
]);
