//! Datagrams, from and to any address.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ptr;

use go_lib::runtime::embedder::net::Mode;
use pyo3::ffi;

use super::buffer::{self, SCRATCH_BYTES};
use super::calls::{arguments, integer_of, parking, text_of};
use super::operate::{operate, Bytes};
use super::read::{bytes_of, size_of};
use super::{core, outcome};
use crate::ffi::errors;
use crate::ffi::obj::{clear, Raw};

parking!(golib_entry_packet_read_from => packet_read_from(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a packet connection.
    unsafe {
        let Some([size]) = arguments("read_from", &[c"n"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(size) = size_of(size, SCRATCH_BYTES) else { return ptr::null_mut() };
        let Some((mut bytes, from)) = operate(slf, Mode::Read, record, |turn, wait| {
            turn.step(wait, false, |io| {
                buffer::with_scratch(|room| {
                    let room = &mut room[..size.min(SCRATCH_BYTES)];
                    let (n, from) = io.recv_from(room)?;
                    Ok((bytes_of(buffer::written(room, n)), from))
                })
            })
        }) else {
            return ptr::null_mut();
        };
        let mut from = outcome::address(&from);
        if !bytes.is_null() && !from.is_null() {
            let pair = ffi::PyTuple_New(2);
            if !pair.is_null() {
                ffi::PyTuple_SET_ITEM(pair, 0, bytes);
                ffi::PyTuple_SET_ITEM(pair, 1, from);
                return pair;
            }
        }
        clear(&mut bytes);
        clear(&mut from);
        ptr::null_mut()
    }
});

parking!(golib_entry_packet_write_to => packet_write_to(slf, args, n, kwnames; record) {
    // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method of a packet connection.
    unsafe {
        let names = [c"data", c"host", c"port", c"flowinfo", c"scope_id"];
        let Some([data, host, port, flow, scope]) =
            arguments("_write_to", &names, 3, args, n, kwnames)
        else {
            return ptr::null_mut();
        };
        let Some(mut to) = numeric(host, port, flow, scope) else { return ptr::null_mut() };
        if let (IpAddr::V4(ip), true) = (to.ip(), core(slf).v6) {
            to.set_ip(ip.to_ipv6_mapped().into());
        }
        let Some(bytes) = Bytes::of(data, false) else { return ptr::null_mut() };
        let sent = operate(slf, Mode::Write, record, |turn, wait| {
            turn.step(wait, false, |io| io.send_to(bytes.from(0), &to))
        });
        bytes.release();
        sent.map_or(ptr::null_mut(), |n| ffi::PyLong_FromSize_t(n))
    }
});

/// An address in numbers; None: an exception is set.
unsafe fn numeric(host: Raw, port: Raw, flow: Raw, scope: Raw) -> Option<SocketAddr> {
    // SAFETY: the GIL is held.
    unsafe {
        let number = |object: Raw| if object.is_null() { Some(0) } else { integer_of(object) };
        let (port, flow, scope) = (number(port)?, number(flow)?, number(scope)?);
        if ffi::PyUnicode_Check(host) == 0 {
            errors::set(ffi::PyExc_TypeError, "the host must be a str");
            return None;
        }
        let Ok(port) = u16::try_from(port) else {
            errors::set(ffi::PyExc_OverflowError, "the port must be from 0 to 65535");
            return None;
        };
        match text_of(host).parse() {
            Ok(IpAddr::V4(ip)) => Some(SocketAddr::from((ip, port))),
            Ok(IpAddr::V6(ip)) => {
                Some(SocketAddrV6::new(ip, port, flow as u32, scope as u32).into())
            }
            Err(_) => {
                errors::set(ffi::PyExc_ValueError, "the host is not an address in numbers");
                None
            }
        }
    }
}
