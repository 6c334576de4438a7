//! The two directions of a channel: `SendChan` and `RecvChan`, views of a Chan, and `Sender` and `Receiver`, the ends
//! that `golib.channel()` makes.
//!
//! All four are one struct that begins with the channel's [`Face`], so the methods are those of `Chan`.
//!
//! # Invariants
//! 1. `chan` is the channel's instance, owned until the end of the view.
//! 2. `Chan::senders` counts the open Senders; the step to zero closes the channel.
//! 3. A closed Sender's `hchan` is [`closed_channel`], so its operations meet a closed channel without a check of their own.

use std::ffi::c_int;
use std::mem::offset_of;
use std::ptr;
use std::sync::OnceLock;

use go_lib::runtime::embedder::Hchan;
use pyo3::ffi::{Py_EQ, Py_NE};

use super::object::{self, Chan, Face, CHAN};
use super::{methods, ops};
use crate::core::asyncio;
use crate::ffi::args::Args;
use crate::ffi::class::{Class, Extends, Fresh, Object, TypeCell, Visitor};
use crate::ffi::containers::tuple_taking;
use crate::ffi::errors::{self, fail};
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{Method, Methods, Module, Properties, Property};
use crate::ffi::obj::Obj;
use crate::ffi::python::{boolean, class_name, none, not_implemented, repr_of, unicode};
use crate::ffi::refs::{Field, Held, New, Outcome, Ref, Slot};
use crate::ffi::spec::TypeSpec;

/// The fields of a view of a channel.
#[repr(C)]
pub(crate) struct View {
    face: Face,
    /// By 1.
    chan: Held,
    /// The object that will close the channel or send to it. It lives as long as anything may wait for that.
    keep: Slot,
    /// True for a Sender that has not been closed.
    open: Field<bool>,
}

// SAFETY: repr(C), with the Face first.
unsafe impl Extends<Face> for View {}

impl View {
    /// The channel that this is a view of.
    fn chan<'a>(&'a self, gil: Gil<'_>) -> Option<&'a Object<Chan>> {
        CHAN.cast(gil, self.chan.get())
    }
}

impl Class for View {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Face, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visitor.held(&self.chan);
        visitor.slot(&self.keep);
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        if slf.open.get(gil.exclusive()) {
            close_sender(gil, slf);
        }
        // SAFETY: this is the view's end. By 1 the channel outlives the closing.
        unsafe { slf.chan.end(gil) };
        slf.keep.clear(gil);
    }
}

// Four types share one struct: an instance's type says what it can do.
static SEND_CHAN: TypeCell<View> = TypeCell::new();
static RECV_CHAN: TypeCell<View> = TypeCell::new();
static SENDER: TypeCell<View> = TypeCell::new();
static RECEIVER: TypeCell<View> = TypeCell::new();

/// By 3.
fn closed_channel() -> *const Hchan<Obj> {
    static CLOSED: OnceLock<Option<Hchan<Obj>>> = OnceLock::new();
    let chan = CLOSED.get_or_init(|| {
        let chan = Hchan::try_new(0).ok()?;
        chan.close().ok()?;
        Some(chan)
    });
    chan.as_ref().map_or(ptr::null(), ptr::from_ref)
}

/// The face of a Chan, RecvChan or Receiver: an object to receive from.
#[inline]
pub(crate) fn receivable<'a>(gil: Gil<'_>, object: Ref<'a>) -> Option<&'a Object<Face>> {
    one_of(gil, object, [&RECV_CHAN, &RECEIVER])
}

/// The face of a Chan, SendChan or Sender: an object to send to.
pub(crate) fn sendable<'a>(gil: Gil<'_>, object: Ref<'a>) -> Option<&'a Object<Face>> {
    one_of(gil, object, [&SEND_CHAN, &SENDER])
}

#[inline(always)]
fn one_of<'a>(
    gil: Gil<'_>,
    object: Ref<'a>,
    views: [&TypeCell<View>; 2],
) -> Option<&'a Object<Face>> {
    if CHAN.is_exactly(gil, object) || views.iter().any(|view| view.is_exactly(gil, object)) {
        // SAFETY: an instance of Chan or of a view.
        return Some(unsafe { crate::ffi::class::this(object.as_raw()) });
    }
    CHAN.cast(gil, object).map(Object::base)
}

/// A view of `chan` of the type `class`.
fn make(
    gil: Gil<'_>,
    class: &TypeCell<View>,
    chan: &Object<Chan>,
    keep: Option<New>,
) -> Outcome<Fresh<View>> {
    let class = class.get(gil)?;
    // SAFETY: the channel lives as long as the view, which owns it.
    let face = unsafe { Face::of(chan.face.as_ptr(gil)) };
    let own = Held::new(chan.object().own(gil));
    class.make_or(
        gil,
        View { face, chan: own, keep: Slot::with(keep), open: Field::new(false) },
        |view| {
            // SAFETY: nothing else refers to it.
            unsafe { view.chan.end(gil) };
            view.keep.clear(gil);
        },
    )
}

/// A view for receiving from `chan` that keeps `keep` alive.
pub(crate) fn receiver_of(gil: Gil<'_>, chan: &Object<Chan>, keep: Ref<'_>) -> Outcome<New> {
    Ok(make(gil, &RECV_CHAN, chan, Some(keep.own(gil)))?.into_new())
}

/// A new Sender of `chan`.
fn make_sender(gil: Gil<'_>, chan: &Object<Chan>) -> Outcome<New> {
    let sender = make(gil, &SENDER, chan, None)?;
    let x = gil.exclusive();
    sender.open.set(x, true);
    chan.senders.set(x, chan.senders.get(x) + 1);
    Ok(sender.into_new())
}

/// Gives up this Sender's share of the channel, by 2 and 3.
fn close_sender(gil: Gil<'_>, sender: &Object<View>) {
    let x = gil.exclusive();
    sender.open.set(x, false);
    // SAFETY: the closed channel lives forever.
    unsafe { sender.face.set(gil, closed_channel()) };
    let Some(chan) = sender.chan(gil) else { return };
    let left = chan.senders.get(x) - 1;
    chan.senders.set(x, left);
    if left == 0 {
        if let Some(h) = chan.face.hchan(gil) {
            let _ = guard(gil, || h.close());
        }
    }
}

/// The property `Chan.sender`.
pub(super) fn get_sender(gil: Gil<'_>, chan: &Object<Chan>) -> Outcome<New> {
    Ok(make(gil, &SEND_CHAN, chan, None)?.into_new())
}

/// The property `Chan.receiver`.
pub(super) fn get_receiver(gil: Gil<'_>, chan: &Object<Chan>) -> Outcome<New> {
    Ok(make(gil, &RECV_CHAN, chan, None)?.into_new())
}

/// `golib.channel(capacity=0)`.
fn channel(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [capacity] = args.parse(gil, "channel", &[c"capacity"], 0)?;
    let capacity = object::capacity_of(gil, capacity)?;
    let chan = object::make(gil, CHAN.get(gil)?, capacity)?;
    let ends = make_sender(gil, &chan).and_then(|sender| match make(gil, &RECEIVER, &chan, None) {
        Ok(receiver) => tuple_taking(gil, [sender, receiver.into_new()]),
        Err(raised) => {
            sender.release(gil);
            Err(raised)
        }
    });
    chan.release(gil);
    ends
}

fn sender_close(gil: Gil<'_>, sender: &Object<View>) -> Outcome<New> {
    if !sender.open.get(gil.exclusive()) {
        let class = errors::CLOSE_OF_CLOSED.object();
        return Err(fail(gil, class, "close of closed channel"));
    }
    close_sender(gil, sender);
    Ok(none(gil))
}

fn sender_clone(gil: Gil<'_>, sender: &Object<View>) -> Outcome<New> {
    match sender.chan(gil).filter(|_| sender.open.get(gil.exclusive())) {
        Some(chan) => make_sender(gil, chan),
        None => Err(errors::send_on_closed(gil)),
    }
}

fn sender_exit(gil: Gil<'_>, sender: &Object<View>, _: Args<'_>) -> Outcome<New> {
    if sender.open.get(gil.exclusive()) {
        close_sender(gil, sender);
    }
    Ok(none(gil))
}

/// A closed Sender still knows its channel.
fn get_cap(gil: Gil<'_>, view: &Object<View>) -> Outcome<New> {
    match view.chan(gil) {
        Some(chan) => object::get_cap(gil, chan.base()),
        None => crate::ffi::python::size(gil, 0),
    }
}

fn compare(gil: Gil<'_>, a: &Object<View>, b: Ref<'_>, op: c_int) -> Outcome<New> {
    let class = [&SEND_CHAN, &RECV_CHAN]
        .into_iter()
        .find(|class| class.is_exactly(gil, a.object()) && class.is_exactly(gil, b));
    let other = class.and_then(|class| class.cast(gil, b));
    match (other, op) {
        (Some(b), op) if op == Py_EQ => Ok(boolean(gil, a.chan.get().is(b.chan.get()))),
        (Some(b), op) if op == Py_NE => Ok(boolean(gil, !a.chan.get().is(b.chan.get()))),
        _ => Ok(not_implemented(gil)),
    }
}

/// Instances are aligned, so the low bits of an address are always zero.
fn hash(_: Gil<'_>, view: &Object<View>) -> isize {
    (view.chan.get().as_raw() as usize >> 4) as isize
}

fn repr(gil: Gil<'_>, view: &Object<View>) -> Outcome<New> {
    let closed = view.face.hchan(gil).is_some_and(Hchan::is_closed);
    let state = if closed { "closed " } else { "" };
    let name = class_name(gil, view.object());
    let chan = repr_of(gil, view.chan.get())?;
    unicode(gil, &format!("<{name} {state}of {chan}>"))
}

const CLOSE: Method<View> = Method::noargs(
    c"close",
    ops::close,
    c"close($self, /)
--

Closes the channel, as Chan.close() does.

Raises: CloseOfClosed if it is closed already.",
);

const ENTER: Method<View> = Method::noargs(
    c"__enter__",
    ops::enter,
    c"__enter__($self, /)
--

Itself; it is closed at the end of the block.",
);

const EXIT_DOC: &std::ffi::CStr = c"__exit__($self, /, *exc)
--

Closes it if it is still open.";

static SEND_CHAN_METHODS: Methods<View, 8> = Methods([
    methods::SEND.inherited(),
    methods::TRY_SEND.inherited(),
    CLOSE,
    asyncio::asend_method(),
    ENTER,
    Method::fast(c"__exit__", ops::exit, EXIT_DOC),
    Method::CLASS_GETITEM,
    Method::END,
]);

static RECV_CHAN_METHODS: Methods<View, 6> = Methods([
    methods::RECV.inherited(),
    methods::RECV_OK.inherited(),
    methods::TRY_RECV.inherited(),
    asyncio::arecv_method(),
    Method::CLASS_GETITEM,
    Method::END,
]);

static SENDER_METHODS: Methods<View, 9> = Methods([
    methods::SEND.inherited(),
    methods::TRY_SEND.inherited(),
    Method::noargs(
        c"close",
        sender_close,
        c"close($self, /)
--

Gives up this sender; the channel closes with its last one.

Raises: CloseOfClosed if this sender is closed already.

>>> tx, rx = golib.channel(1)
>>> tx.send(1); tx.close()
>>> list(rx)
[1]",
    ),
    Method::noargs(
        c"clone",
        sender_clone,
        c"clone($self, /)
--

Another sender of the same channel, which stays open until all are closed or dropped.

Raises: SendOnClosed if this sender is closed.

>>> tx, rx = golib.channel(1)
>>> other = tx.clone(); tx.close()
>>> other.send(1)
>>> rx.recv()
1",
    ),
    asyncio::asend_method(),
    ENTER,
    Method::fast(c"__exit__", sender_exit, EXIT_DOC),
    Method::CLASS_GETITEM,
    Method::END,
]);

static PROPERTIES: Properties<View, 3> = Properties([
    methods::CLOSED.inherited(),
    Property::new(c"cap", get_cap, c"How many values the channel buffers."),
    Property::END,
]);

/// The function `channel`.
pub(crate) const fn channel_function(doc: &'static std::ffi::CStr) -> Method<Module> {
    Method::keywords(c"channel", channel, doc)
}

/// What all four types have in common.
fn spec(name: &'static std::ffi::CStr, doc: &'static std::ffi::CStr) -> TypeSpec<View> {
    TypeSpec::new(name, doc)
        .without_constructor()
        .repr(repr)
        .length(object::length::<View>)
        .truth(object::truth::<View>)
        .properties(&PROPERTIES)
}

/// A type with the methods that receive.
fn receiving(name: &'static std::ffi::CStr, doc: &'static std::ffi::CStr) -> TypeSpec<View> {
    spec(name, doc)
        .iterates()
        .next(&ops::CHAN_NEXT.inherited())
        .aiter(asyncio::aiter::<View>)
        .anext(asyncio::anext::<View>)
        .methods(&RECV_CHAN_METHODS)
}

/// Makes the four types, with their names in the module. Called once, after `Chan`'s has been made.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<[(&'static std::ffi::CStr, New); 4]> {
    let send_chan = spec(c"golib.SendChan", SEND_CHAN_DOC).methods(&SEND_CHAN_METHODS);
    let recv_chan = receiving(c"golib.RecvChan", RECV_CHAN_DOC);
    let sender = spec(c"golib.Sender", SENDER_DOC).methods(&SENDER_METHODS);
    Ok([
        (c"SendChan", send_chan.compare(compare).hash(hash).make(gil, &SEND_CHAN)?),
        (c"RecvChan", recv_chan.compare(compare).hash(hash).make(gil, &RECV_CHAN)?),
        (c"Sender", sender.make(gil, &SENDER)?),
        (c"Receiver", receiving(c"golib.Receiver", RECEIVER_DOC).make(gil, &RECEIVER)?),
    ])
}

const SEND_CHAN_DOC: &std::ffi::CStr =
    c"A view of a channel that can only send and close: Go's chan<- T.

Made by Chan.sender. Two views of one channel are equal.

>>> ch = golib.Chan(1)
>>> ch.sender.send(1)
>>> ch.recv()
1";

const RECV_CHAN_DOC: &std::ffi::CStr = c"A view of a channel that can only receive: Go's <-chan T.

Made by Chan.receiver. Two views of one channel are equal.

>>> ch = golib.Chan(1)
>>> ch.send(1)
>>> ch.receiver.recv()
1";

const SENDER_DOC: &std::ffi::CStr = c"The sending end of golib.channel().

The channel closes when its last Sender is closed or dropped; Go has nothing like it.

>>> tx, rx = golib.channel(1)
>>> with tx:
...     tx.send(1)
>>> list(rx)
[1]";

const RECEIVER_DOC: &std::ffi::CStr = c"The receiving end of golib.channel().

Dropping it does nothing: senders of a channel without a receiver wait.

>>> tx, rx = golib.channel(1)
>>> tx.send(1)
>>> rx.recv()
1";
