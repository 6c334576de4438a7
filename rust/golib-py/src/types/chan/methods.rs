//! The methods and properties of channels; those that an end has too are named.

use pyo3::ffi::{self, PyMethodDef};

use super::object::{get_cap, get_closed};
use super::ops::{
    close, enter, exit, golib_entry_chan_recv, golib_entry_chan_recv_ok, golib_entry_chan_send,
    try_recv, try_send,
};
use crate::core::asyncio;
use crate::core::results::CHANNEL_TYPE;
use crate::ffi::obj::Raw;
use crate::ffi::raw::{self, Table};
use crate::types::chan::ends;

/// `Chan[item]`.
unsafe extern "C" fn class_getitem(class: Raw, item: Raw) -> Raw {
    // SAFETY: a METH_O class method.
    unsafe {
        ffi::PyObject_CallFunctionObjArgs(
            CHANNEL_TYPE.get(),
            class,
            item,
            std::ptr::null_mut::<ffi::PyObject>(),
        )
    }
}

/// Methods that send.
pub(crate) const SEND: PyMethodDef = raw::keywords(
    c"send",
    golib_entry_chan_send,
    c"send($self, value, timeout=None)
--

Sends a value, waiting for room or for a receiver.

Like Go's `ch <- value`, with a timeout.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: SendOnClosed if the channel is closed; TimeoutError after timeout, then the
    value was not sent.
Cost: O(1), no allocation.

>>> ch = golib.Chan(1)
>>> ch.send('hello')
>>> ch.recv()
'hello'",
);

pub(crate) const TRY_SEND: PyMethodDef = raw::method(
    c"try_send",
    try_send,
    ffi::METH_O,
    c"try_send($self, value, /)
--

Sends a value if that is possible at once; says whether it was.

Like a Go select with a send and a default.

Blocks: nothing.
Raises: SendOnClosed if the channel is closed.

>>> ch = golib.Chan(1)
>>> ch.try_send(1), ch.try_send(2)
(True, False)",
);

pub(crate) const RECV: PyMethodDef = raw::keywords(
    c"recv",
    golib_entry_chan_recv,
    c"recv($self, timeout=None)
--

Receives a value, waiting for one. Values sent before a close are received first.

Unlike Go's `<-ch`, a closed channel raises instead of giving a zero value; see recv_ok().

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: ChanClosed if the channel is closed and drained; TimeoutError after timeout.
Cost: O(1), no allocation.

>>> ch = golib.Chan()
>>> g = golib.go(ch.send, 'hello')
>>> ch.recv()
'hello'",
);

pub(crate) const RECV_OK: PyMethodDef = raw::keywords(
    c"recv_ok",
    golib_entry_chan_recv_ok,
    c"recv_ok($self, timeout=None)
--

Receives like Go's `v, ok := <-ch`: (value, True), or (None, False) once closed and drained.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout.

>>> ch = golib.Chan(1)
>>> ch.send(1); ch.close()
>>> ch.recv_ok(), ch.recv_ok()
((1, True), (None, False))",
);

pub(crate) const TRY_RECV: PyMethodDef = raw::method(
    c"try_recv",
    try_recv,
    ffi::METH_NOARGS,
    c"try_recv($self, /)
--

Receives if that is possible at once: a Recv, or None if it would have to wait.

Closed and drained gives Recv(None, False). Like a Go select with a receive and a default.

Blocks: nothing.

>>> ch = golib.Chan(1)
>>> ch.try_recv()
>>> ch.send(1)
>>> ch.try_recv()
Recv(value=1, ok=True)",
);

pub(super) static METHODS: Table<[PyMethodDef; 12]> = Table([
    SEND,
    TRY_SEND,
    RECV,
    RECV_OK,
    TRY_RECV,
    raw::method(
        c"close",
        close,
        ffi::METH_NOARGS,
        c"close($self, /)
--

Closes the channel: receivers get what is buffered, then the end; senders get SendOnClosed.

Wakes all who wait.

Blocks: nothing.
Raises: CloseOfClosed if it is closed already.

>>> ch = golib.Chan(2)
>>> ch.send(1); ch.close()
>>> list(ch)
[1]",
    ),
    raw::method(
        c"__enter__",
        enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

The channel itself; it is closed at the end of the block.",
    ),
    raw::method(
        c"__exit__",
        exit,
        ffi::METH_VARARGS,
        c"__exit__($self, /, *exc)
--

Closes the channel if it is still open.",
    ),
    asyncio::ASEND_METHOD,
    asyncio::ARECV_METHOD,
    raw::method(
        c"__class_getitem__",
        class_getitem,
        ffi::METH_O | ffi::METH_CLASS,
        c"See PEP 585.",
    ),
    PyMethodDef::zeroed(),
]);

pub(super) static PROPERTIES: Table<[ffi::PyGetSetDef; 5]> = Table([
    raw::property(c"closed", get_closed, c"True once the channel was closed."),
    raw::property(c"cap", get_cap, c"How many values the channel buffers."),
    raw::property(c"sender", ends::get_sender, c"A view that can only send and close: a SendChan."),
    raw::property(c"receiver", ends::get_receiver, c"A view that can only receive: a RecvChan."),
    raw::END_OF_PROPERTIES,
]);
