//! What all sockets have and what needs no wait: close, deadlines, addresses, and the buffer for TLS.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::raw::c_void;
use std::ptr;

use go_lib::runtime::embedder::net::{Address, Mode, NetError};
use pyo3::ffi::{self, Py_ssize_t};

use super::calls::{arguments, seconds_of};
use super::lines::{limit_of, separator, take_until, Found};
use super::operate::Bytes;
use super::read::{bytes_of, size_of};
use super::{core, outcome, SocketObj};
use crate::ffi::args::{deadline_after, NS};
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{guard, instance};

/// `close()`: twice does nothing.
pub(super) unsafe extern "C" fn close(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe {
        match guard(|| core(slf).socket.close()) {
            Some(Err(NetError::Closed)) => obj::none(),
            other => outcome::done(other),
        }
    }
}

pub(super) unsafe extern "C" fn enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        ffi::Py_INCREF(slf);
    }
    slf
}

/// `fileno()`: -1 after the close.
pub(super) unsafe extern "C" fn fileno(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe { ffi::PyLong_FromLong(core(slf).socket.fileno().unwrap_or(-1).into()) }
}

unsafe fn set_deadlines(slf: Raw, seconds: Raw, modes: &[Mode]) -> Raw {
    // SAFETY: a METH_O method.
    unsafe {
        let mut when_ns = None;
        if seconds != ffi::Py_None() {
            let Some(seconds) = seconds_of(seconds) else { return ptr::null_mut() };
            when_ns = deadline_after(seconds);
        }
        outcome::done(guard(|| core(slf).socket.set_deadline(modes, when_ns)))
    }
}

pub(super) unsafe extern "C" fn set_deadline(slf: Raw, seconds: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe { set_deadlines(slf, seconds, &[Mode::Read, Mode::Write]) }
}

pub(super) unsafe extern "C" fn set_read_deadline(slf: Raw, seconds: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe { set_deadlines(slf, seconds, &[Mode::Read]) }
}

pub(super) unsafe extern "C" fn set_write_deadline(slf: Raw, seconds: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe { set_deadlines(slf, seconds, &[Mode::Write]) }
}

/// `settimeout()`, as a socket has it: None waits for ever, 0 not at all.
pub(super) unsafe extern "C" fn settimeout(slf: Raw, seconds: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe {
        let timeout_ns = if seconds == ffi::Py_None() {
            -1
        } else {
            match seconds_of(seconds) {
                Some(seconds) if seconds >= 0.0 => (seconds * NS).ceil() as i64,
                Some(_) => {
                    return errors::raise(ffi::PyExc_ValueError, "Timeout value out of range")
                }
                None => return ptr::null_mut(),
            }
        };
        core(slf).timeout_ns.set(timeout_ns);
        obj::none()
    }
}

pub(super) unsafe extern "C" fn gettimeout(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe {
        match core(slf).timeout_ns.get() {
            ..0 => obj::none(),
            ns => ffi::PyFloat_FromDouble(ns as f64 / NS),
        }
    }
}

unsafe fn shut(slf: Raw, how: Shutdown) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe { outcome::done(guard(|| core(slf).socket.with(|io| io.shutdown(how)))) }
}

pub(super) unsafe extern "C" fn close_read(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe { shut(slf, Shutdown::Read) }
}

pub(super) unsafe extern "C" fn close_write(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method.
    unsafe { shut(slf, Shutdown::Write) }
}

pub(super) unsafe extern "C" fn get_local_addr(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property.
    unsafe {
        match guard(|| core(slf).socket.with(|io| io.local_address())) {
            Some(Ok(address)) => outcome::address(&address),
            other => outcome::done(other.map(|result| result.map(|_: Address| ()))),
        }
    }
}

pub(super) unsafe extern "C" fn get_remote_addr(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property.
    unsafe { outcome::address(&core(slf).remote.borrow()) }
}

/// `_extra`: the TLS state of a connection; the class of a listener's connections.
pub(super) unsafe extern "C" fn get_extra(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property.
    unsafe {
        let extra = (*instance::<SocketObj>(slf)).extra;
        if extra.is_null() {
            return obj::none();
        }
        ffi::Py_INCREF(extra);
        extra
    }
}

pub(super) unsafe extern "C" fn set_extra(slf: Raw, value: Raw, _: *mut c_void) -> i32 {
    // SAFETY: a property; a deletion has no value.
    unsafe {
        ffi::Py_XINCREF(value);
        let old = ptr::replace(&raw mut (*instance::<SocketObj>(slf)).extra, value);
        ffi::Py_XDECREF(old);
    }
    0
}

/// `_feed(data)`: adds to what is read next.
pub(super) unsafe extern "C" fn feed(slf: Raw, data: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe {
        let Some(bytes) = Bytes::of(data, false) else { return ptr::null_mut() };
        core(slf).buffer.borrow_mut().push(bytes.from(0));
        bytes.release();
        obj::none()
    }
}

/// `_take(n)`: at most n bytes of what was read and not returned yet.
pub(super) unsafe extern "C" fn take(slf: Raw, size: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe {
        let Some(size) = size_of(size, 0) else { return ptr::null_mut() };
        let mut buffer = core(slf).buffer.borrow_mut();
        let n = size.min(buffer.rest().len());
        let bytes = bytes_of(&buffer.rest()[..n]);
        buffer.advance(n);
        bytes
    }
}

/// `_take_until(sep, limit)`: the bytes up to a separator; None if none has come yet.
pub(super) unsafe extern "C" fn take_line(slf: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method.
    unsafe {
        let names = [c"sep", c"limit"];
        let Some([sep, limit]) = arguments("_take_until", &names, 2, args, n, ptr::null_mut())
        else {
            return ptr::null_mut();
        };
        let Some(limit) = limit_of(limit) else { return ptr::null_mut() };
        let Some(bytes) = separator(sep) else { return ptr::null_mut() };
        let found = take_until(core(slf), bytes.from(0), limit, 0);
        bytes.release();
        match found {
            Found::Line(line) => line,
            Found::More(_) => obj::none(),
            Found::TooLong => ptr::null_mut(),
        }
    }
}

/// `_buffered`: how many bytes were read and not returned yet.
pub(super) unsafe extern "C" fn get_buffered(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property.
    unsafe { ffi::PyLong_FromSize_t(core(slf).buffer.borrow().rest().len()) }
}

/// `_send_now(data)`: how many bytes could be sent without a wait. The caller has excluded other writers.
pub(super) unsafe extern "C" fn send_now(slf: Raw, data: Raw) -> Raw {
    // SAFETY: a METH_O method.
    unsafe {
        let Some(bytes) = Bytes::of(data, false) else { return ptr::null_mut() };
        let sent = guard(|| {
            core(slf).socket.with(|io| match io.send(bytes.from(0), 0) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    Ok(0)
                }
                other => other,
            })
        });
        bytes.release();
        match sent {
            Some(Ok(n)) => ffi::PyLong_FromSize_t(n),
            Some(Err(error)) => outcome::failed(error),
            None => ptr::null_mut(),
        }
    }
}
