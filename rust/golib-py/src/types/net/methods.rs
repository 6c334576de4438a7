//! The methods and properties of the types, with their docstrings.

use std::ffi::CStr;

use pyo3::ffi::{self, PyGetSetDef, PyMethodDef, PyMethodDefPointer};

use super::accept::golib_entry_listener_accept;
use super::calls::keywords;
use super::common;
use super::lines::{golib_entry_conn_read_until, golib_entry_conn_readline};
use super::packet::{golib_entry_packet_read_from, golib_entry_packet_write_to};
use super::read::{
    golib_entry_conn_read, golib_entry_conn_read_exactly, golib_entry_conn_read_into,
    golib_entry_conn_recv, golib_entry_conn_recv_into, golib_entry_conn_recv_raw,
};
use super::watch::golib_entry_conn_connected;
use super::write::{golib_entry_conn_send, golib_entry_conn_sendall, golib_entry_conn_write};
use crate::ffi::raw::{self, Table};

/// A method of positional arguments, called without a tuple of them.
pub(super) const fn fast(
    name: &'static CStr,
    call: ffi::PyCFunctionFast,
    doc: &'static CStr,
) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunctionFast: call },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

const CLOSE: PyMethodDef = raw::method(
    c"close",
    common::close,
    ffi::METH_NOARGS,
    c"close($self, /)
--

Closes it. Whoever waits in one of its operations gets OSError(EBADF), and so does every later operation.

Blocks: nothing. A second call does nothing.",
);

const ENTER: PyMethodDef = raw::method(
    c"__enter__",
    common::enter,
    ffi::METH_NOARGS,
    c"__enter__($self, /)
--

Itself; it is closed at the end of the block.",
);

const FILENO: PyMethodDef = raw::method(
    c"fileno",
    common::fileno,
    ffi::METH_NOARGS,
    c"fileno($self, /)
--

The descriptor's number; -1 after the close. It does not block: reads and writes past golib may fail with EAGAIN.",
);

const SET_DEADLINE: PyMethodDef = raw::method(
    c"set_deadline",
    common::set_deadline,
    ffi::METH_O,
    c"set_deadline($self, seconds, /)
--

Has operations end with TimeoutError so many seconds from now: those that wait then, and later ones.

It holds until it is set anew; the connection stays usable. None takes it back. Go: SetDeadline.

Blocks: nothing.
Units: seconds from now; 0 or less ends operations at once.
Raises: OSError(EBADF) after the close; ValueError for nan.",
);

const SET_READ_DEADLINE: PyMethodDef = raw::method(
    c"set_read_deadline",
    common::set_read_deadline,
    ffi::METH_O,
    c"set_read_deadline($self, seconds, /)
--

As set_deadline(), for reads and accepts only.",
);

const SET_WRITE_DEADLINE: PyMethodDef = raw::method(
    c"set_write_deadline",
    common::set_write_deadline,
    ffi::METH_O,
    c"set_write_deadline($self, seconds, /)
--

As set_deadline(), for writes only.",
);

pub(super) static CONN: Table<[PyMethodDef; 27]> = Table([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    keywords(
        c"read",
        golib_entry_conn_read,
        c"read($self, /, n=65536)
--

Reads at most n bytes, as soon as there are any; b'' at the end.

Blocks: the goroutine, or the OS thread. Readers of one connection take turns.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError.
Cancel: nothing is lost.
Cost: one system call, and one for each wait.",
    ),
    keywords(
        c"read_into",
        golib_entry_conn_read_into,
        c"read_into($self, /, buf)
--

As read(), into the memory of a bytearray, memoryview or the like; how many bytes, 0 at the end.",
    ),
    keywords(
        c"read_exactly",
        golib_entry_conn_read_exactly,
        c"read_exactly($self, /, n)
--

Reads n bytes, no less.

Blocks: as read().
Raises: EOFError if the connection ends before, with what came as its `partial`; else as read().
Cancel: what has come is read next.",
    ),
    keywords(
        c"read_until",
        golib_entry_conn_read_until,
        c"read_until($self, /, sep, limit=65536)
--

Reads up to the next `sep`, which is included.

Blocks: as read().
Raises: ValueError if the first `limit` bytes hold no whole `sep`, then nothing is consumed; EOFError if the
    connection ends before, with what came as its `partial`; else as read().
Cancel: what has come is read next.",
    ),
    keywords(
        c"readline",
        golib_entry_conn_readline,
        c"readline($self, /, limit=65536)
--

Reads a line, with its b'\\n'; at the end what is left, then b''.

Blocks, Raises, Cancel: as read_until(), but for EOFError.",
    ),
    keywords(
        c"write",
        golib_entry_conn_write,
        c"write($self, /, data)
--

Writes all of data, and returns how many bytes that is. Go: Write.

Blocks: the goroutine, or the OS thread, until the system has taken everything. Writers of one connection
    take turns, each with all its data.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError. A part
    may have been written then.
Cancel: a part may have been written.",
    ),
    keywords(
        c"sendall",
        golib_entry_conn_sendall,
        c"sendall($self, /, data, flags=0)
--

As write(), under a socket's name and without a result.",
    ),
    keywords(
        c"send",
        golib_entry_conn_send,
        c"send($self, /, data, flags=0)
--

Writes as much of data as the system takes at once; how many bytes. As a socket has it.",
    ),
    keywords(
        c"recv",
        golib_entry_conn_recv,
        c"recv($self, /, bufsize, flags=0)
--

As read(), under a socket's name. With MSG_PEEK the bytes are read again.",
    ),
    keywords(
        c"recv_into",
        golib_entry_conn_recv_into,
        c"recv_into($self, /, buffer, nbytes=0, flags=0)
--

As read_into(), under a socket's name; at most nbytes, unless that is 0.",
    ),
    raw::method(
        c"close_read",
        common::close_read,
        ffi::METH_NOARGS,
        c"close_read($self, /)
--

Ends the reading side: reads give what has come, then the end. Go: CloseRead.

Blocks: nothing.",
    ),
    raw::method(
        c"close_write",
        common::close_write,
        ffi::METH_NOARGS,
        c"close_write($self, /)
--

Ends the writing side: the peer reads the end, and may go on writing. Go: CloseWrite.

Blocks: nothing.",
    ),
    raw::method(
        c"settimeout",
        common::settimeout,
        ffi::METH_O,
        c"settimeout($self, seconds, /)
--

Bounds each single operation from now on, as a socket has it: None for ever, 0 not at all (BlockingIOError).

A deadline holds beside it.",
    ),
    raw::method(
        c"gettimeout",
        common::gettimeout,
        ffi::METH_NOARGS,
        c"gettimeout($self, /)
--

What settimeout() set; None at first.",
    ),
    raw::method(
        c"_connected",
        golib_entry_conn_connected,
        ffi::METH_NOARGS,
        c"_connected($self, /)\n--\n\nWaits for the end of a connect.",
    ),
    raw::method(
        c"_recv_raw",
        golib_entry_conn_recv_raw,
        ffi::METH_O,
        c"_recv_raw($self, n, /)\n--\n\nReads past the buffer.",
    ),
    raw::method(
        c"_send_now",
        common::send_now,
        ffi::METH_O,
        c"_send_now($self, data, /)\n--\n\nSends what can be sent without a wait.",
    ),
    raw::method(
        c"_feed",
        common::feed,
        ffi::METH_O,
        c"_feed($self, data, /)\n--\n\nAdds to the buffer.",
    ),
    raw::method(
        c"_take",
        common::take,
        ffi::METH_O,
        c"_take($self, n, /)\n--\n\nTakes at most n bytes from the buffer.",
    ),
    fast(
        c"_take_until",
        common::take_line,
        c"_take_until($self, sep, limit, /)\n--\n\nTakes from the buffer up to sep; None if it is not there yet.",
    ),
    PyMethodDef::zeroed(),
]);

pub(super) static LISTENER: Table<[PyMethodDef; 8]> = Table([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    raw::method(
        c"accept",
        golib_entry_listener_accept,
        ffi::METH_NOARGS,
        c"accept($self, /)
--

Waits for the next connection.

Blocks: the goroutine, or the OS thread.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError, as when the
    process has too many open files.",
    ),
    PyMethodDef::zeroed(),
]);

pub(super) static PACKET: Table<[PyMethodDef; 9]> = Table([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    keywords(
        c"read_from",
        golib_entry_packet_read_from,
        c"read_from($self, /, n=65536)
--

Receives a datagram: (its first n bytes, the sender's address). The rest of a longer one is lost.

Blocks: the goroutine, or the OS thread.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError.",
    ),
    keywords(
        c"_write_to",
        golib_entry_packet_write_to,
        c"_write_to($self, /, data, host, port, flowinfo=0, scope_id=0)\n--\n\nSends to an address in numbers.",
    ),
    PyMethodDef::zeroed(),
]);

pub(super) static PROPERTIES: Table<[PyGetSetDef; 5]> = Table([
    raw::property(
        c"local_addr",
        common::get_local_addr,
        c"The address of this end, as the socket module shows it.",
    ),
    raw::property(
        c"remote_addr",
        common::get_remote_addr,
        c"The address of the other end, as the socket module shows it; None if there is none.",
    ),
    raw::property(
        c"_buffered",
        common::get_buffered,
        c"How many bytes were read and not returned yet.",
    ),
    PyGetSetDef {
        set: Some(common::set_extra),
        ..raw::property(c"_extra", common::get_extra, c"For golib.net.")
    },
    raw::END_OF_PROPERTIES,
]);
