//! `golib.net`: connections, listeners and datagram sockets, as far as speed matters; the rest is `golib/net`.
//!
//! | file | holds |
//! |---|---|
//! | `socket` | the instances |
//! | `buffer` | what was read and not returned yet |
//! | `outcome` | results and errors in Python's terms |
//! | `operate` | an operation that waits: its turn, its steps, its failures |
//! | `read`, `lines`, `write`, `accept`, `packet`, `watch` | the operations |
//! | `common` | close, deadlines, addresses: what needs no wait |
//! | `methods` | the tables of methods, with their docstrings |
//!
//! # Invariants
//! 1. The buffer of a connection belongs to the goroutine whose turn it is to read.
//! 2. A turn is given up before Python code runs. One exception: a `sendall` of which a part was sent keeps its turn
//!    while signal handlers run, else what they write would lie in the middle; `handler` lets a handler pass.

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
