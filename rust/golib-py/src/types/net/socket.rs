//! The instances of the three types: their fields, and how one is made and ends.

use std::mem::offset_of;
use std::os::fd::{FromRawFd, OwnedFd};

use go_lib::runtime::embedder::net::{Address, Socket};
use go_lib::runtime::embedder::{nanotime, GRef, Wait};

use super::buffer::Buffer;
use super::outcome;
use crate::core::goroutine;
use crate::ffi::args::Args;
use crate::ffi::class::{Class, Object, TypeCell, TypeOf, Visitor, Weaklist};
use crate::ffi::errors::fail;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::Module;
use crate::ffi::python::{
    as_descriptor, clear_error, error_is, raise_object, take_error, truth, type_error,
    warn_unclosed, warning, write_unraisable,
};
use crate::ffi::refs::{Field, InPlace, New, Outcome, Ref, Slot};

/// The fields of a connection, a listener or a packet connection.
pub(super) struct Sock {
    weaklist: Weaklist,
    /// A connection's TLS state, or the class of a listener's connections.
    pub(super) extra: Slot,
    pub(super) socket: Socket,
    /// Used by 1.
    pub(super) buffer: InPlace<Buffer>,
    pub(super) remote: InPlace<Address>,
    /// How long one operation may wait, in ns; negative for no limit.
    pub(super) timeout_ns: Field<i64>,
    /// Whether a short read has taken all that there was, as with TCP.
    pub(super) drains: bool,
    /// Whether it is an IPv6 socket, on which IPv4 addresses appear as mapped ones.
    pub(super) v6: bool,
    /// Whether the last read was large, so that the next goes straight into its result.
    pub(super) bulk: Field<bool>,
    /// The goroutine that runs signal handlers during its turn to write, by 2.
    pub(super) handler: Field<Option<GRef>>,
}

pub(super) static CONN: TypeCell<Sock> = TypeCell::new();
pub(super) static LISTENER: TypeCell<Sock> = TypeCell::new();
pub(super) static PACKET: TypeCell<Sock> = TypeCell::new();

impl Class for Sock {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Sock, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slot(&self.extra);
    }

    fn clear(&self, gil: Gil<'_>) {
        self.extra.clear(gil);
    }
}

impl Sock {
    /// How long an operation that begins now may wait, as a deadline.
    #[inline]
    pub(super) fn wait(&self, gil: Gil<'_>) -> Wait {
        match self.timeout_ns.get(gil.exclusive()) {
            ..0 => Wait::Block,
            0 => Wait::Try,
            ns => Wait::Until(nanotime().saturating_add(ns)),
        }
    }
}

/// Makes an instance of `class` with `socket`.
pub(super) fn make(
    gil: Gil<'_>,
    class: TypeOf<'_, Sock>,
    socket: Socket,
    remote: Address,
    drains: bool,
) -> Outcome<New> {
    let local = socket.with(|io| io.local_address());
    let fields = Sock {
        weaklist: Weaklist::new(),
        extra: Slot::empty(),
        socket,
        v6: matches!(local, Ok(Address::Inet(local)) if local.is_ipv6()),
        buffer: InPlace::new(Buffer::default()),
        remote: InPlace::new(remote),
        timeout_ns: Field::new(-1),
        drains,
        bulk: Field::new(false),
        handler: Field::new(None),
    };
    Ok(class.make(gil, fields)?.into_new())
}

/// `_net_make(class, fd, drains)`: makes an instance that owns the descriptor `fd`. Closes the descriptor if that fails.
pub(super) fn net_make(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let wrong = || fail(gil, type_error(), "_net_make(class, fd, drains)");
    let [class, fd, drains] = args.positional() else { return Err(wrong()) };
    let class = class_of(gil, *class).ok_or_else(wrong)?;
    let (fd, drains) = (as_descriptor(gil, *fd)?, truth(gil, *drains)?);
    // SAFETY: golib.net gives the descriptor to us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    goroutine::prepare(gil)?;
    match guard(gil, || Socket::new(fd))? {
        Ok(socket) => {
            let remote = socket.with(|io| io.peer_address()).unwrap_or(Address::Unknown);
            make(gil, class, socket, remote, drains)
        }
        Err(error) => Err(outcome::raise(gil, &error)),
    }
}

fn class_of<'a>(gil: Gil<'_>, class: Ref<'a>) -> Option<TypeOf<'a, Sock>> {
    [&CONN, &LISTENER, &PACKET].iter().find_map(|cell| cell.subclass(gil, class))
}

/// Warns about a socket that was not closed, as the socket module does, and closes it.
pub(super) fn finalize(gil: Gil<'_>, slf: &Object<Sock>) {
    if slf.socket.fileno().is_none() {
        return;
    }
    let raised = take_error(gil);
    if warn_unclosed(gil, slf.object()).is_err() {
        if error_is(gil, warning()) {
            write_unraisable(gil, slf.object());
        }
        clear_error(gil);
    }
    let _ = guard(gil, || slf.socket.close());
    if let Some(raised) = raised {
        raise_object(gil, raised);
    }
}
