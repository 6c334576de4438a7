//! Results of socket operations in Python's terms: exceptions, and addresses as the socket module returns them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use go_lib::runtime::embedder::net::{Address, NetError};
use go_lib::runtime::embedder::WaitError;

use crate::core::waits;
use crate::ffi::bytes::bytes_of;
use crate::ffi::containers::tuple_made;
use crate::ffi::errors::{fail, raise_instance};
use crate::ffi::gil::Gil;
use crate::ffi::python::{call2, int, none, os_error, path, system_error, timeout_error, unicode};
use crate::ffi::refs::{New, Outcome, Raised};

/// `errno` of an operation on a closed socket.
const EBADF: i32 = 9;
/// `errno` of an operation that would have to wait but must not.
const EAGAIN: i32 = 11;

/// Handles a failed operation. Ok: the operation must be tried again. No wait is under way.
#[cold]
#[inline(never)]
pub(super) fn again(gil: Gil<'_>, error: NetError) -> Outcome<()> {
    Err(match error {
        NetError::Wait(WaitError::Interrupted) => return waits::interrupted(gil),
        NetError::Wait(WaitError::Deadlock) => waits::deadlocked(gil),
        NetError::Wait(WaitError::Timeout) => fail(gil, timeout_error(), "timed out"),
        NetError::Wait(WaitError::WouldBlock) => raise_errno(gil, EAGAIN),
        NetError::Closed => raise_errno(gil, EBADF),
        NetError::Io(error) => raise(gil, &error),
    })
}

fn raise_errno(gil: Gil<'_>, errno: i32) -> Raised {
    raise(gil, &io::Error::from_raw_os_error(errno))
}

/// Raises the subclass of OSError that belongs to `error`.
#[cold]
#[inline(never)]
pub(super) fn raise(gil: Gil<'_>, error: &io::Error) -> Raised {
    let text = error.to_string();
    let Some(errno) = error.raw_os_error() else { return fail(gil, os_error(), &text) };
    // The system's text without the number, which is an attribute of the exception.
    let text = text.split(" (os error").next().unwrap_or(&text);
    match exception(gil, errno, text) {
        Ok(exception) => raise_instance(gil, exception),
        Err(raised) => raised,
    }
}

fn exception(gil: Gil<'_>, errno: i32, text: &str) -> Outcome<New> {
    let text = unicode(gil, text)?;
    let exception = int(gil, errno.into()).and_then(|errno| {
        let made = call2(gil, os_error(), errno.get(), text.get());
        errno.release(gil);
        made
    });
    text.release(gil);
    exception
}

/// Raises the error of an operation that never waits, so that there is nothing to try again.
#[cold]
pub(super) fn failed(gil: Gil<'_>, error: NetError) -> Raised {
    match again(gil, error) {
        Err(raised) => raised,
        Ok(()) => fail(gil, system_error(), "golib: interrupted without a wait"),
    }
}

/// None for success.
pub(super) fn done(gil: Gil<'_>, result: Result<(), NetError>) -> Outcome<New> {
    result.map(|()| none(gil)).map_err(|error| failed(gil, error))
}

/// The address as the socket module returns it.
pub(super) fn address(gil: Gil<'_>, address: &Address) -> Outcome<New> {
    match address {
        Address::Unknown => Ok(none(gil)),
        Address::Inet(inet) => inet_tuple(gil, inet),
        Address::Unix(name) if name.first() == Some(&0) => bytes_of(gil, name),
        Address::Unix(name) => path(gil, name),
    }
}

fn inet_tuple(gil: Gil<'_>, inet: &SocketAddr) -> Outcome<New> {
    let host = match inet.ip() {
        // Written as the C library writes it.
        IpAddr::V6(ip) if is_compatible(&ip) => {
            let [.., a, b, c, d] = ip.octets();
            format!("::{a}.{b}.{c}.{d}")
        }
        ip => ip.to_string(),
    };
    let number = |number: u32| int(gil, number.into());
    let (host, port) = (unicode(gil, &host), number(inet.port().into()));
    match inet {
        SocketAddr::V4(_) => tuple_made(gil, [host, port]),
        SocketAddr::V6(a) => {
            tuple_made(gil, [host, port, number(a.flowinfo()), number(a.scope_id())])
        }
    }
}

/// Whether only the last 32 bits are set, which hold an IPv4 address.
fn is_compatible(ip: &Ipv6Addr) -> bool {
    matches!(ip.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0)
}
