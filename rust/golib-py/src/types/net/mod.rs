//! The parts of `golib.net` whose speed matters: connections, listeners and datagram sockets. The rest is `python/golib/net`.
//!
//! | file | holds |
//! |---|---|
//! | `socket` | the instances |
//! | `buffer` | the bytes that were read but not returned yet |
//! | `outcome` | results and errors in Python's terms |
//! | `operate` | an operation that waits: its turn, its steps, its failures |
//! | `read`, `lines`, `write`, `accept`, `packet`, `watch` | the operations |
//! | `common` | methods that never wait: close, deadlines, addresses |
//! | `methods` | the tables of methods, with their docstrings |
//!
//! # Invariants
//! 1. A connection's buffer belongs to the goroutine whose turn it is to read.
//! 2. A turn is given up before Python code runs, with one exception: a `sendall` that has sent a part of its bytes keeps its
//!    turn while signal handlers run, so that other writers cannot write in the middle of them. `handler` lets a signal handler
//!    of the same goroutine through.

mod accept;
mod buffer;
mod common;
mod lines;
mod methods;
mod operate;
mod outcome;
mod packet;
mod read;
mod socket;
mod watch;
mod write;

use std::ffi::CStr;

use self::methods::PROPERTIES;
use self::socket::{finalize, Sock, CONN, LISTENER, PACKET};
use crate::ffi::class::TypeCell;
use crate::ffi::gil::Gil;
use crate::ffi::methods::Methods;
use crate::ffi::refs::{New, Outcome};
use crate::ffi::spec::TypeSpec;

pub(crate) use self::methods::FUNCTIONS;

fn class<const N: usize>(
    gil: Gil<'_>,
    name: &'static CStr,
    doc: &'static CStr,
    methods: &'static Methods<Sock, N>,
    cell: &TypeCell<Sock>,
) -> Outcome<New> {
    TypeSpec::new(name, doc)
        .subclassable()
        .without_constructor()
        .finalizer(finalize)
        .methods(methods)
        .properties(&PROPERTIES)
        .make(gil, cell)
}

/// Makes the types.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 3]> {
    let (conn, listener, packet) =
        (c"golib._golib.ConnBase", c"golib._golib.ListenerBase", c"golib._golib.PacketBase");
    let docs = (
        c"The core of golib.net.Conn.",
        c"The core of golib.net.Listener.",
        c"The core of golib.net.PacketConn.",
    );
    Ok([
        (c"ConnBase", class(gil, conn, docs.0, &methods::CONN, &CONN)?),
        (c"ListenerBase", class(gil, listener, docs.1, &methods::LISTENER, &LISTENER)?),
        (c"PacketBase", class(gil, packet, docs.2, &methods::PACKET, &PACKET)?),
    ])
}
