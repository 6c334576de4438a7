//! `golib.net`: connections, listeners and datagram sockets, as far as speed matters; the rest is `golib/net`.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | the instance, and the types |
//! | `operate` | an operation that waits: its turn, its steps, its failures |
//! | `read`, `lines`, `write`, `accept`, `packet`, `watch` | the operations |
//! | `calls` | how CPython calls them, and their arguments |
//! | `common` | close, deadlines, addresses: what needs no wait |
//! | `methods` | the tables of methods, with their docstrings |
//! | `buffer` | what was read and not returned yet |
//! | `outcome` | results and errors in Python's terms |
//!
//! # Invariants
//! 1. The buffer of a connection belongs to the goroutine whose turn it is to read, and is used with the GIL held.
//! 2. A turn is given up before Python code runs. One exception: a `sendall` of which a part was sent keeps its turn
//!    while signal handlers run, else what they write would lie in the middle; `handler` lets a handler pass.

mod accept;
mod buffer;
mod calls;
mod common;
mod lines;
mod methods;
mod operate;
mod outcome;
mod packet;
mod read;
mod watch;
mod write;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::net::{Address, Socket};
use go_lib::runtime::embedder::GRef;
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject};

use self::buffer::Buffer;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, free_instance, instance, make_type, Table};
use crate::ffi::refs::{New, Outcome};

pub(crate) use watch::FUNCTIONS;

/// A socket for Python.
#[repr(C)]
struct SocketObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// Owned or null: a connection's TLS state; the class of a listener's connections.
    extra: Raw,
    core: Core,
}

/// What an instance holds besides Python objects.
struct Core {
    socket: Socket,
    /// By 1.
    buffer: RefCell<Buffer>,
    remote: RefCell<Address>,
    /// How long one operation may wait, in ns; negative: for ever.
    timeout_ns: Cell<i64>,
    /// A short read has taken all there was: true of TCP.
    drains: bool,
    /// Of IPv6: addresses of IPv4 are mapped into it.
    v6: bool,
    /// The last read was large: the next goes straight into its result.
    bulk: Cell<bool>,
    /// By 2: the goroutine that runs signal handlers with the turn to write.
    handler: Cell<Option<GRef>>,
}

#[inline(always)]
unsafe fn core<'a>(slf: Raw) -> &'a Core {
    // SAFETY: a method of these types; the caller holds the instance.
    unsafe { &(*instance::<SocketObj>(slf)).core }
}

/// An instance of `class` with `socket`; null with an exception set.
///
/// # Safety
/// The GIL is held; `class` is a subclass of one of these types.
unsafe fn make(class: *mut PyTypeObject, socket: Socket, remote: Address, drains: bool) -> Raw {
    let local = socket.with(|io| io.local_address());
    let core = Core {
        socket,
        v6: matches!(local, Ok(Address::Inet(local)) if local.is_ipv6()),
        buffer: RefCell::default(),
        remote: RefCell::new(remote),
        timeout_ns: Cell::new(-1),
        drains,
        bulk: Cell::new(false),
        handler: Cell::new(None),
    };
    // SAFETY: the caller's promise; a new instance is all zeros behind its header.
    unsafe {
        let Some(alloc) = (*class).tp_alloc else {
            return errors::raise(ffi::PyExc_TypeError, "the class makes no instances");
        };
        let slf = alloc(class, 0);
        if !slf.is_null() {
            ptr::write(&raw mut (*instance::<SocketObj>(slf)).core, core);
        }
        slf
    }
}

/// `_net_make(class, fd, drains)`: an instance that owns `fd`, which is closed if that fails.
unsafe extern "C" fn net_make(_: Raw, args: *mut Raw, n: ffi::Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function, called by golib.net with a class of its own and a descriptor that it gives away.
    unsafe {
        if n != 3 || ffi::PyType_Check(*args) == 0 {
            return errors::raise(ffi::PyExc_TypeError, "_net_make(class, fd, drains)");
        }
        let fd = ffi::PyLong_AsLong(*args.add(1));
        let drains = *args.add(2) == ffi::Py_True();
        if fd < 0 {
            if ffi::PyErr_Occurred().is_null() {
                errors::raise(ffi::PyExc_ValueError, "the descriptor must not be negative");
            }
            return ptr::null_mut();
        }
        let made = raw::guard(|| Socket::new(OwnedFd::from_raw_fd(fd as c_int)));
        match made {
            Some(Ok(socket)) => {
                let remote = socket.with(|io| io.peer_address()).unwrap_or(Address::Unknown);
                make((*args).cast(), socket, remote, drains)
            }
            Some(Err(error)) => {
                outcome::raise(&error);
                ptr::null_mut()
            }
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        let this = instance::<SocketObj>(slf);
        if !(*this).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        obj::clear(&raw mut (*this).extra);
        ptr::drop_in_place(&raw mut (*this).core);
        free_instance(slf);
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe { obj::visit_all(slf, [(*instance::<SocketObj>(slf)).extra], visit, arg) }
}

unsafe extern "C" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear.
    unsafe { obj::clear(&raw mut (*instance::<SocketObj>(slf)).extra) };
    0
}

/// Warns of a socket that nobody closed, as the socket module does; it is closed then.
unsafe extern "C" fn finalize(slf: Raw) {
    // SAFETY: a tp_finalize: the GIL is held and the instance alive.
    unsafe {
        if core(slf).socket.fileno().is_none() {
            return;
        }
        let raised = errors::fetch();
        let text = c"unclosed %R".as_ptr();
        if ffi::PyErr_ResourceWarning(slf, 1, text, slf) < 0 {
            if ffi::PyErr_ExceptionMatches(ffi::PyExc_Warning) != 0 {
                ffi::PyErr_WriteUnraisable(slf);
            }
            ffi::PyErr_Clear();
        }
        let _ = raw::guard(|| core(slf).socket.close());
        if !raised.is_null() {
            errors::restore(raised);
        }
    }
}

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(SocketObj, weaklist)));

unsafe fn make_class(
    name: &'static CStr,
    methods: *const PyMethodDef,
    properties: *const ffi::PyGetSetDef,
) -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_finalize, finalize as *const c_void),
        raw::slot(ffi::Py_tp_methods, methods.cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, properties.cast()),
    ];
    let flags =
        ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    // SAFETY: the slots are those of the instances.
    unsafe { make_type::<SocketObj>(name, flags, &mut slots) }
}

/// Makes the types.
pub(crate) fn init(_gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 3]> {
    let make = |name, methods: *const PyMethodDef| {
        // SAFETY: the token; the tables live for ever.
        unsafe { New::made(make_class(name, methods, methods::PROPERTIES.0.as_ptr())) }
    };
    Ok([
        (c"ConnBase", make(c"golib._golib.ConnBase", methods::CONN.0.as_ptr())?),
        (c"ListenerBase", make(c"golib._golib.ListenerBase", methods::LISTENER.0.as_ptr())?),
        (c"PacketBase", make(c"golib._golib.PacketBase", methods::PACKET.0.as_ptr())?),
    ])
}
