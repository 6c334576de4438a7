//! The methods and properties of channels. Those that an end shares have a name.

use super::ends;
use super::object::{get_cap, get_closed, Chan, Face};
use super::ops::{close, enter, exit, try_recv, try_send, CHAN_RECV, CHAN_RECV_OK, CHAN_SEND};
use crate::core::asyncio;
use crate::core::results::CHANNEL_TYPE;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Properties, Property};
use crate::ffi::python::call2;
use crate::ffi::refs::{New, Outcome, Ref};

/// `Chan[item]`.
fn class_getitem(gil: Gil<'_>, class: Ref<'_>, item: Ref<'_>) -> Outcome<New> {
    call2(gil, CHANNEL_TYPE.object(), class, item)
}

/// Methods that send.
pub(crate) const SEND: Method<Face> = Method::parks(
    c"send",
    CHAN_SEND,
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

pub(crate) const TRY_SEND: Method<Face> = Method::one(
    c"try_send",
    try_send,
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

pub(crate) const RECV: Method<Face> = Method::parks(
    c"recv",
    CHAN_RECV,
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

pub(crate) const RECV_OK: Method<Face> = Method::parks(
    c"recv_ok",
    CHAN_RECV_OK,
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

pub(crate) const TRY_RECV: Method<Face> = Method::noargs(
    c"try_recv",
    try_recv,
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

pub(super) const CLOSED: Property<Face> =
    Property::new(c"closed", get_closed, c"True once the channel was closed.");
const CAP: Property<Face> = Property::new(c"cap", get_cap, c"How many values the channel buffers.");

pub(super) static METHODS: Methods<Chan, 12> = Methods([
    SEND.inherited(),
    TRY_SEND.inherited(),
    RECV.inherited(),
    RECV_OK.inherited(),
    TRY_RECV.inherited(),
    Method::noargs(
        c"close",
        close::<Chan>,
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
    Method::noargs(
        c"__enter__",
        enter::<Chan>,
        c"__enter__($self, /)
--

The channel itself; it is closed at the end of the block.",
    ),
    Method::fast(
        c"__exit__",
        exit::<Chan>,
        c"__exit__($self, /, *exc)
--

Closes the channel if it is still open.",
    ),
    asyncio::asend_method(),
    asyncio::arecv_method(),
    Method::of_class(c"__class_getitem__", class_getitem, c"See PEP 585."),
    Method::END,
]);

pub(super) static PROPERTIES: Properties<Chan, 5> = Properties([
    CLOSED.inherited(),
    CAP.inherited(),
    Property::new(c"sender", ends::get_sender, c"A view that can only send and close: a SendChan."),
    Property::new(c"receiver", ends::get_receiver, c"A view that can only receive: a RecvChan."),
    Property::END,
]);
