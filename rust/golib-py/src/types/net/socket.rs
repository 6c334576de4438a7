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
    /// A connection's TLS state; the class of a listener's connections.
    pub(super) extra: Slot,
    pub(super) socket: Socket,
    /// By 1.
    pub(super) buffer: InPlace<Buffer>,
    pub(super) remote: InPlace<Address>,
    /// How long one operation may wait, in ns; negative: for ever.
    pub(super) timeout_ns: Field<i64>,
    /// A short read has taken all there was: true of TCP.
    pub(super) drains: bool,
    /// Of IPv6: addresses of IPv4 are mapped into it.
    pub(super) v6: bool,
    /// The last read was large: the next goes straight into its result.
    pub(super) bulk: Field<bool>,
    /// By 2: the goroutine that runs signal handlers with the turn to write.
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
    /// How long an operation that begins now may wait.
    #[inline]
    pub(super) fn wait(&self, gil: Gil<'_>) -> Wait {
        match self.timeout_ns.get(gil.exclusive()) {
            ..0 => Wait::Block,
            0 => Wait::Try,
            ns => Wait::Until(nanotime().saturating_add(ns)),
        }
    }
}

/// An instance of `class` with `socket`.
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

/// `_net_make(class, fd, drains)`: an instance that owns the descriptor `fd`, which is closed if that fails.
pub(super) fn net_make(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let wrong = || fail(gil, type_error(), "_net_make(class, fd, drains)");
    let [class, fd, drains] = args.positional() else { return Err(wrong()) };
    let class = class_of(gil, *class).ok_or_else(wrong)?;
    let (fd, drains) = (as_descriptor(gil, *fd)?, truth(gil, *drains)?);
    // SAFETY: golib.net gives it away.
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

/// Warns of a socket that nobody closed, as the socket module does; it is closed then.
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
