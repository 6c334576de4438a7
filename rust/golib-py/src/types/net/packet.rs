//! Datagrams, from and to any address.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use go_lib::runtime::embedder::net::Mode;

use super::buffer::{self, SCRATCH, SCRATCH_BYTES};
use super::operate::operate;
use super::outcome;
use super::read::size_of;
use super::socket::Sock;
use crate::ffi::args::integer_of;
use crate::ffi::bytes::{bytes_of, Bytes};
use crate::ffi::containers::tuple_made;
use crate::ffi::errors::fail;
use crate::ffi::gil::Gil;
use crate::ffi::methods::entry;
use crate::ffi::python::{
    is_str, none_ref, overflow_error, size, text_of, type_error, value_error,
};
use crate::ffi::refs::{Outcome, Ref};

entry! { READ_FROM: golib_entry_packet_read_from => packet_read_from keywords(entry, packets: Sock, args) {
    let [n] = args.parse(entry.gil(), "read_from", &[c"n"], 0)?;
    let n = size_of(entry.gil(), n, SCRATCH_BYTES)?.min(SCRATCH_BYTES);
    let (bytes, from) = operate(entry, packets, Mode::Read, |entry, step| {
        step.attempt(entry, false, |gil, io| {
            SCRATCH.with(gil.exclusive(), |room| {
                let room = &mut room[..n];
                let (n, from) = io.recv_from(room)?;
                // SAFETY: the system call has written `n` bytes.
                Ok((bytes_of(gil, unsafe { buffer::written(room, n) }), from))
            })
        })
    })?;
    let gil = entry.gil();
    let from = outcome::address(gil, &from);
    tuple_made(gil, [bytes, from])
} }

entry! { WRITE_TO: golib_entry_packet_write_to => packet_write_to keywords(entry, packets: Sock, args) {
    let names = [c"data", c"host", c"port", c"flowinfo", c"scope_id"];
    let [data, host, port, flow, scope] = args.parse(entry.gil(), "_write_to", &names, 3)?;
    let mut to = numeric(entry.gil(), host, port, flow, scope)?;
    if let (IpAddr::V4(ip), true) = (to.ip(), packets.v6) {
        to.set_ip(ip.to_ipv6_mapped().into());
    }
    let bytes = Bytes::of(entry.gil(), data.unwrap_or_else(none_ref))?;
    let sent = operate(entry, packets, Mode::Write, |entry, step| {
        step.attempt(entry, false, |gil, io| {
            bytes.from(gil.exclusive(), 0, |data| io.send_to(data, &to))
        })
    });
    bytes.release(entry.gil());
    size(entry.gil(), sent?)
} }

/// Converts a numeric address. Runs Python code.
fn numeric(
    gil: Gil<'_>,
    host: Option<Ref<'_>>,
    port: Option<Ref<'_>>,
    flow: Option<Ref<'_>>,
    scope: Option<Ref<'_>>,
) -> Outcome<SocketAddr> {
    let number = |object: Option<Ref<'_>>| object.map_or(Ok(0), |object| integer_of(gil, object));
    let (port, flow, scope) = (number(port)?, number(flow)?, number(scope)?);
    let Some(host) = host.filter(|host| is_str(gil, *host)) else {
        return Err(fail(gil, type_error(), "the host must be a str"));
    };
    let Ok(port) = u16::try_from(port) else {
        return Err(fail(gil, overflow_error(), "the port must be from 0 to 65535"));
    };
    match text_of(gil, host).parse() {
        Ok(IpAddr::V4(ip)) => Ok(SocketAddr::from((ip, port))),
        Ok(IpAddr::V6(ip)) => Ok(SocketAddrV6::new(ip, port, flow as u32, scope as u32).into()),
        Err(_) => Err(fail(gil, value_error(), "the host is not a numeric address")),
    }
}
