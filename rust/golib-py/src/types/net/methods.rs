//! The methods and properties of the types and the functions of the module, with their docstrings.

use super::accept::ACCEPT;
use super::common;
use super::lines::{READLINE, READ_UNTIL};
use super::packet::{READ_FROM, WRITE_TO};
use super::read::{READ, READ_EXACTLY, READ_INTO, RECV, RECV_INTO, RECV_RAW};
use super::socket::{net_make, Sock};
use super::watch::{CONNECTED, WAIT_READABLE, WAIT_WRITABLE};
use super::write::{SEND, SENDALL, WRITE};
use crate::ffi::methods::{Method, Methods, Module, Properties, Property};

const CLOSE: Method<Sock> = Method::noargs(
    c"close",
    common::close,
    c"close($self, /)
--

Closes it. Whoever waits in one of its operations gets OSError(EBADF), and so does every later operation.

Blocks: nothing. A second call does nothing.",
);

const ENTER: Method<Sock> = Method::noargs(
    c"__enter__",
    common::enter,
    c"__enter__($self, /)
--

Itself; it is closed at the end of the block.",
);

const FILENO: Method<Sock> = Method::noargs(
    c"fileno",
    common::fileno,
    c"fileno($self, /)
--

The descriptor's number; -1 after the close. It does not block: reads and writes past golib may fail with EAGAIN.",
);

const SET_DEADLINE: Method<Sock> = Method::one(
    c"set_deadline",
    common::set_deadline,
    c"set_deadline($self, seconds, /)
--

Has operations end with TimeoutError so many seconds from now: those that wait then, and later ones.

It holds until it is set anew; the connection stays usable. None takes it back. Go: SetDeadline.

Blocks: nothing.
Units: seconds from now; 0 or less ends operations at once.
Raises: OSError(EBADF) after the close; ValueError for nan.",
);

const SET_READ_DEADLINE: Method<Sock> = Method::one(
    c"set_read_deadline",
    common::set_read_deadline,
    c"set_read_deadline($self, seconds, /)
--

As set_deadline(), for reads and accepts only.",
);

const SET_WRITE_DEADLINE: Method<Sock> = Method::one(
    c"set_write_deadline",
    common::set_write_deadline,
    c"set_write_deadline($self, seconds, /)
--

As set_deadline(), for writes only.",
);

pub(super) static CONN: Methods<Sock, 27> = Methods([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    Method::parks(
        c"read",
        READ,
        c"read($self, /, n=65536)
--

Reads at most n bytes, as soon as there are any; b'' at the end.

Blocks: the goroutine, or the OS thread. Readers of one connection take turns.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError.
Cancel: nothing is lost.
Cost: one system call, and one for each wait.",
    ),
    Method::parks(
        c"read_into",
        READ_INTO,
        c"read_into($self, /, buf)
--

As read(), into the memory of a bytearray, memoryview or the like; how many bytes, 0 at the end.",
    ),
    Method::parks(
        c"read_exactly",
        READ_EXACTLY,
        c"read_exactly($self, /, n)
--

Reads n bytes, no less.

Blocks: as read().
Raises: EOFError if the connection ends before, with what came as its `partial`; else as read().
Cancel: what has come is read next.",
    ),
    Method::parks(
        c"read_until",
        READ_UNTIL,
        c"read_until($self, /, sep, limit=65536)
--

Reads up to the next `sep`, which is included.

Blocks: as read().
Raises: ValueError if the first `limit` bytes hold no whole `sep`, then nothing is consumed; EOFError if the
    connection ends before, with what came as its `partial`; else as read().
Cancel: what has come is read next.",
    ),
    Method::parks(
        c"readline",
        READLINE,
        c"readline($self, /, limit=65536)
--

Reads a line, with its b'\\n'; at the end what is left, then b''.

Blocks, Raises, Cancel: as read_until(), but for EOFError.",
    ),
    Method::parks(
        c"write",
        WRITE,
        c"write($self, /, data)
--

Writes all of data, and returns how many bytes that is. Go: Write.

Blocks: the goroutine, or the OS thread, until the system has taken everything. Writers of one connection
    take turns, each with all its data.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError. A part
    may have been written then.
Cancel: a part may have been written.",
    ),
    Method::parks(
        c"sendall",
        SENDALL,
        c"sendall($self, /, data, flags=0)
--

As write(), under a socket's name and without a result.",
    ),
    Method::parks(
        c"send",
        SEND,
        c"send($self, /, data, flags=0)
--

Writes as much of data as the system takes at once; how many bytes. As a socket has it.",
    ),
    Method::parks(
        c"recv",
        RECV,
        c"recv($self, /, bufsize, flags=0)
--

As read(), under a socket's name. With MSG_PEEK the bytes are read again.",
    ),
    Method::parks(
        c"recv_into",
        RECV_INTO,
        c"recv_into($self, /, buffer, nbytes=0, flags=0)
--

As read_into(), under a socket's name; at most nbytes, unless that is 0.",
    ),
    Method::noargs(
        c"close_read",
        common::close_read,
        c"close_read($self, /)
--

Ends the reading side: reads give what has come, then the end. Go: CloseRead.

Blocks: nothing.",
    ),
    Method::noargs(
        c"close_write",
        common::close_write,
        c"close_write($self, /)
--

Ends the writing side: the peer reads the end, and may go on writing. Go: CloseWrite.

Blocks: nothing.",
    ),
    Method::one(
        c"settimeout",
        common::settimeout,
        c"settimeout($self, seconds, /)
--

Bounds each single operation from now on, as a socket has it: None for ever, 0 not at all (BlockingIOError).

A deadline holds beside it.",
    ),
    Method::noargs(
        c"gettimeout",
        common::gettimeout,
        c"gettimeout($self, /)
--

What settimeout() set; None at first.",
    ),
    Method::parks(
        c"_connected",
        CONNECTED,
        c"_connected($self, /)\n--\n\nWaits for the end of a connect.",
    ),
    Method::parks(
        c"_recv_raw",
        RECV_RAW,
        c"_recv_raw($self, n, /)\n--\n\nReads from the socket, not from the buffer.",
    ),
    Method::one(
        c"_send_now",
        common::send_now,
        c"_send_now($self, data, /)\n--\n\nSends what can be sent without a wait.",
    ),
    Method::one(
        c"_feed",
        common::feed,
        c"_feed($self, data, /)\n--\n\nAppends data to the buffer.",
    ),
    Method::one(
        c"_take",
        common::take,
        c"_take($self, n, /)\n--\n\nTakes at most n bytes from the buffer.",
    ),
    Method::fast(
        c"_take_until",
        common::take_line,
        c"_take_until($self, sep, limit, /)\n--\n\nTakes from the buffer up to sep; None if it is not there yet.",
    ),
    Method::END,
]);

pub(super) static LISTENER: Methods<Sock, 8> = Methods([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    Method::parks(
        c"accept",
        ACCEPT,
        c"accept($self, /)
--

Waits for the next connection.

Blocks: the goroutine, or the OS thread.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError, as when the
    process has too many open files.",
    ),
    Method::END,
]);

pub(super) static PACKET: Methods<Sock, 9> = Methods([
    CLOSE,
    ENTER,
    FILENO,
    SET_DEADLINE,
    SET_READ_DEADLINE,
    SET_WRITE_DEADLINE,
    Method::parks(
        c"read_from",
        READ_FROM,
        c"read_from($self, /, n=65536)
--

Receives a datagram: (its first n bytes, the sender's address). The rest of a longer one is lost.

Blocks: the goroutine, or the OS thread.
Raises: TimeoutError after a deadline; OSError(EBADF) after the close; else the system's OSError.",
    ),
    Method::parks(
        c"_write_to",
        WRITE_TO,
        c"_write_to($self, /, data, host, port, flowinfo=0, scope_id=0)\n--\n\nSends to a numeric address.",
    ),
    Method::END,
]);

pub(super) static PROPERTIES: Properties<Sock, 5> = Properties([
    Property::new(
        c"local_addr",
        common::get_local_addr,
        c"The address of this end, as the socket module shows it.",
    ),
    Property::new(
        c"remote_addr",
        common::get_remote_addr,
        c"The address of the other end, as the socket module shows it; None if there is none.",
    ),
    Property::new(
        c"_buffered",
        common::get_buffered,
        c"How many bytes were read but not returned yet.",
    ),
    Property::new(c"_extra", common::get_extra, c"For golib.net.").set_by(common::set_extra),
    Property::END,
]);

/// The module's functions for `golib.net`.
pub(crate) static FUNCTIONS: Methods<Module, 4> = Methods([
    Method::parks(
        c"wait_readable",
        WAIT_READABLE,
        c"wait_readable(fd, timeout=None)
--

Waits until a descriptor can be read without blocking, has ended or is broken.

fd is a number or anything that has a fileno(), of anything that can be polled: for libraries that
ask their caller to wait. The descriptor stays as it is.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less looks once, None waits for ever.
Raises: TimeoutError after timeout; OSError if fd is no descriptor.

>>> import os
>>> r, w = os.pipe()
>>> g = golib.go(golib.net.wait_readable, r)
>>> os.write(w, b'x')
1
>>> g.join()
>>> os.close(r); os.close(w)",
    ),
    Method::parks(
        c"wait_writable",
        WAIT_WRITABLE,
        c"wait_writable(fd, timeout=None)
--

Waits until a descriptor can be written to without blocking, or is broken.

As wait_readable() in everything else.

>>> import os
>>> r, w = os.pipe()
>>> golib.net.wait_writable(w, 1)
>>> os.close(r); os.close(w)",
    ),
    Method::fast(
        c"_net_make",
        net_make,
        c"_net_make(class, fd, drains, /)\n--\n\nAn instance that owns fd.",
    ),
    Method::END,
]);
