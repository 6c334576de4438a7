//! Accepts connections.

use go_lib::runtime::embedder::net::{Mode, Socket};

use super::operate::operate;
use super::outcome;
use super::socket::{make, Sock, CONN};
use crate::ffi::errors::fail;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::entry;
use crate::ffi::python::runtime_error;
use crate::ffi::refs::Raised;

entry! { ACCEPT: golib_entry_listener_accept => listener_accept none(entry, listener: Sock) {
    if listener.extra.is_empty(entry.gil().exclusive()) {
        return Err(no_class(entry.gil()));
    }
    let (fd, peer) = operate(entry, listener, Mode::Read, |entry, step| {
        step.attempt(entry, false, |_, io| io.accept())
    })?;
    let gil = entry.gil();
    let socket = guard(gil, || Socket::accepted(fd))?.map_err(|error| outcome::raise(gil, &error))?;
    let class = listener.extra.get(gil).ok_or_else(|| no_class(gil))?;
    let made = match CONN.subclass(gil, class.get()) {
        Some(class) => make(gil, class, socket, peer, listener.drains),
        None => Err(no_class(gil)),
    };
    class.release(gil);
    made
} }

#[cold]
fn no_class(gil: Gil<'_>) -> Raised {
    fail(gil, runtime_error(), "the listener knows no class of connections")
}
