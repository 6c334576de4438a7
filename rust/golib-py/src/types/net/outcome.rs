//! How operations on sockets end in Python: exceptions, and addresses as the socket module has them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ptr;

use go_lib::runtime::embedder::net::{Address, NetError};
use go_lib::runtime::embedder::WaitError;
use pyo3::ffi::{self, Py_ssize_t};

use crate::core::waits;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, unicode, Raw};

/// `errno` for an operation on what was closed.
const EBADF: i32 = 9;
/// `errno` for one that would have to wait and must not.
const EAGAIN: i32 = 11;

/// After an operation failed: true if it is to be tried again; else an exception is set.
///
/// # Safety
/// The GIL is held, no wait is under way.
#[cold]
#[inline(never)]
pub(super) unsafe fn again(error: NetError) -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        match error {
            NetError::Wait(WaitError::Interrupted) => {
                return waits::interrupted(Gil::assume()).is_ok()
            }
            NetError::Wait(WaitError::Deadlock) => {
                waits::deadlocked(Gil::assume());
            }
            NetError::Wait(WaitError::Timeout) => {
                errors::raise(ffi::PyExc_TimeoutError, "timed out");
            }
            NetError::Wait(WaitError::WouldBlock) => raise(&io::Error::from_raw_os_error(EAGAIN)),
            NetError::Closed => raise(&io::Error::from_raw_os_error(EBADF)),
            NetError::Io(error) => raise(&error),
        }
    }
    false
}

/// Raises the subclass of OSError that belongs to `error`.
///
/// # Safety
/// The GIL is held.
#[cold]
#[inline(never)]
pub(super) unsafe fn raise(error: &io::Error) {
    let text = error.to_string();
    // The system's text, as Python has it: without the number, which is an attribute.
    let text = text.split(" (os error").next().unwrap_or(&text);
    // SAFETY: the GIL is held; the references are ours.
    unsafe {
        let Some(errno) = error.raw_os_error() else {
            errors::raise(ffi::PyExc_OSError, text);
            return;
        };
        let (errno, text) = (ffi::PyLong_FromLong(errno.into()), unicode(text));
        if !errno.is_null() && !text.is_null() {
            let end = ptr::null_mut::<ffi::PyObject>();
            let exception = ffi::PyObject_CallFunctionObjArgs(ffi::PyExc_OSError, errno, text, end);
            if !exception.is_null() {
                ffi::PyErr_SetObject(ffi::Py_TYPE(exception).cast(), exception);
                ffi::Py_DECREF(exception);
            }
        }
        ffi::Py_XDECREF(errno);
        ffi::Py_XDECREF(text);
    }
}

/// Raises the error of what does not wait, so that there is nothing to try again; null.
///
/// # Safety
/// The GIL is held.
#[cold]
pub(super) unsafe fn failed(error: NetError) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        if again(error) {
            errors::raise(ffi::PyExc_SystemError, "golib: interrupted without a wait");
        }
    }
    ptr::null_mut()
}

/// None for success; else null with an exception set.
///
/// # Safety
/// The GIL is held.
pub(super) unsafe fn done(result: Option<Result<(), NetError>>) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        match result {
            Some(Ok(())) => obj::none(),
            Some(Err(error)) => failed(error),
            None => ptr::null_mut(),
        }
    }
}

/// The address as the socket module shows it; null with an exception set.
///
/// # Safety
/// The GIL is held.
pub(super) unsafe fn address(address: &Address) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        match address {
            Address::Unknown => obj::none(),
            Address::Inet(inet) => inet_tuple(inet),
            Address::Unix(path) => {
                let (start, n) = (path.as_ptr().cast(), path.len() as Py_ssize_t);
                if path.first() == Some(&0) {
                    return ffi::PyBytes_FromStringAndSize(start, n);
                }
                ffi::PyUnicode_DecodeFSDefaultAndSize(start, n)
            }
        }
    }
}

unsafe fn inet_tuple(inet: &SocketAddr) -> Raw {
    let host = match inet.ip() {
        // As the C library writes them.
        IpAddr::V6(ip) if is_compatible(&ip) => {
            let [.., a, b, c, d] = ip.octets();
            format!("::{a}.{b}.{c}.{d}")
        }
        ip => ip.to_string(),
    };
    // SAFETY: the GIL is held; a tuple takes its items over, and a null is caught below.
    unsafe {
        let host = unicode(&host);
        let numbers: &[u32] = match inet {
            SocketAddr::V4(a) => &[a.port().into()],
            SocketAddr::V6(a) => &[a.port().into(), a.flowinfo(), a.scope_id()],
        };
        let tuple = ffi::PyTuple_New(1 + numbers.len() as Py_ssize_t);
        if tuple.is_null() || host.is_null() {
            ffi::Py_XDECREF(host);
            ffi::Py_XDECREF(tuple);
            return ptr::null_mut();
        }
        ffi::PyTuple_SET_ITEM(tuple, 0, host);
        for (i, &number) in numbers.iter().enumerate() {
            let number = ffi::PyLong_FromUnsignedLong(number.into());
            if number.is_null() {
                ffi::Py_DECREF(tuple);
                return number;
            }
            ffi::PyTuple_SET_ITEM(tuple, 1 + i as Py_ssize_t, number);
        }
        tuple
    }
}

/// An IPv4 address in the last 32 bits, and nothing before.
fn is_compatible(ip: &Ipv6Addr) -> bool {
    matches!(ip.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0)
}
