//! Accepts connections.

use std::ptr;

use go_lib::runtime::embedder::net::{Mode, Socket};
use pyo3::ffi;

use super::calls::parking;
use super::operate::operate;
use super::{core, make, outcome, SocketObj};
use crate::ffi::errors;
use crate::ffi::raw::{guard, instance};

parking!(golib_entry_listener_accept => listener_accept(slf, _arg; record) {
    // SAFETY: a METH_NOARGS method of a listener.
    unsafe {
        let class = (*instance::<SocketObj>(slf)).extra;
        if class.is_null() {
            return errors::raise(ffi::PyExc_RuntimeError, "the listener knows no class of connections");
        }
        let Some((fd, peer)) = operate(slf, Mode::Read, record, |turn, wait| {
            turn.step(wait, false, |io| io.accept())
        }) else {
            return ptr::null_mut();
        };
        match guard(|| Socket::accepted(fd)) {
            Some(Ok(socket)) => make(class.cast(), socket, peer, core(slf).drains),
            Some(Err(error)) => {
                outcome::raise(&error);
                ptr::null_mut()
            }
            None => ptr::null_mut(),
        }
    }
});
