//! The two directions of a channel: `SendChan` and `RecvChan`, views of a Chan, and `Sender` and `Receiver`, the ends
//! that `golib.channel()` makes.
//!
//! All four are one struct that begins with the channel's [`Face`], so the methods are those of `Chan`.
//!
//! # Invariants
//! 1. `chan` is the channel's instance, owned until the end of the view.
//! 2. `ChanObj::senders` counts the open Senders; the step to zero closes the channel.
//! 3. A closed Sender's `hchan` is [`closed_channel`]: so its operations find a closed channel without asking.

use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use go_lib::runtime::embedder::Hchan;
use pyo3::ffi::{self, PyMethodDef, PyTypeObject};

use super::object::{hchan, ChanObj, Face};
use super::{methods, object, ops};
use crate::core::asyncio;
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Obj, Raw};
use crate::ffi::raw::{self, arguments, guard, instance, Container, Table};

/// A view of a channel.
#[repr(C)]
pub(crate) struct ViewObj {
    face: Face,
    /// By 1.
    chan: Raw,
    /// What will close the channel or send to it, and lives as long as somebody may wait for that; or null.
    keep: Raw,
    /// A Sender that was not closed.
    open: bool,
}

static SEND_CHAN: Global = Global::new();
static RECV_CHAN: Global = Global::new();
static SENDER: Global = Global::new();
static RECEIVER: Global = Global::new();

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

/// True for what one can receive from.
///
/// # Safety
/// The GIL is held; `object` is alive.
#[inline]
pub(crate) unsafe fn can_recv(object: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let class: Raw = ffi::Py_TYPE(object).cast();
        class == object::CHAN.get()
            || class == RECV_CHAN.get()
            || class == RECEIVER.get()
            || ffi::PyType_IsSubtype(class.cast(), object::CHAN.get().cast()) != 0
    }
}

/// True for what one can send to.
///
/// # Safety
/// As [`can_recv`].
pub(crate) unsafe fn can_send(object: Raw) -> bool {
    // SAFETY: the caller's duty.
    unsafe {
        let class: Raw = ffi::Py_TYPE(object).cast();
        class == SEND_CHAN.get()
            || class == SENDER.get()
            || ffi::PyType_IsSubtype(class.cast(), object::CHAN.get().cast()) != 0
    }
}

/// A view of `chan` with the type `class`; null with an exception set.
unsafe fn make(class: &Global, chan: Raw) -> Raw {
    // SAFETY: the GIL is held; `chan` is a Chan.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(class.get().cast(), 0);
        if !slf.is_null() {
            let view = instance::<ViewObj>(slf);
            ffi::Py_INCREF(chan);
            (*view).chan = chan;
            (*view).face.hchan = hchan(chan);
        }
        slf
    }
}

/// A view for receiving from `chan` that keeps `keep` alive; null with an exception set.
///
/// # Safety
/// The GIL is held; `chan` is a Chan.
pub(crate) unsafe fn receiver_of(chan: Raw, keep: Raw) -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let slf = make(&RECV_CHAN, chan);
        if !slf.is_null() {
            ffi::Py_INCREF(keep);
            (*instance::<ViewObj>(slf)).keep = keep;
        }
        slf
    }
}

/// A new Sender of `chan`.
unsafe fn make_sender(chan: Raw) -> Raw {
    // SAFETY: the GIL is held; `chan` is a Chan.
    unsafe {
        let slf = make(&SENDER, chan);
        if !slf.is_null() {
            (*instance::<ViewObj>(slf)).open = true;
            (*instance::<ChanObj>(chan)).senders += 1;
        }
        slf
    }
}

/// Gives up this Sender's share of the channel. By 2 and 3.
unsafe fn close_sender(view: *mut ViewObj) {
    // SAFETY: an open Sender; the GIL is held.
    unsafe {
        (*view).open = false;
        (*view).face.hchan = closed_channel();
        let chan = instance::<ChanObj>((*view).chan);
        (*chan).senders -= 1;
        if (*chan).senders == 0 {
            if let Some(h) = hchan((*view).chan).as_ref() {
                let _ = guard(|| h.close());
            }
        }
    }
}

/// The property `Chan.sender`.
pub(crate) unsafe extern "C" fn get_sender(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Chan.
    unsafe { make(&SEND_CHAN, slf) }
}

/// The property `Chan.receiver`.
pub(crate) unsafe extern "C" fn get_receiver(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Chan.
    unsafe { make(&RECV_CHAN, slf) }
}

/// `golib.channel(capacity=0)`.
pub(crate) unsafe extern "C" fn channel(
    _: Raw,
    args: *const Raw,
    n: ffi::Py_ssize_t,
    kwnames: Raw,
) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let Some([capacity]) = arguments("channel", &[c"capacity"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(capacity) = object::capacity_of(capacity) else { return ptr::null_mut() };
        let chan = object::make(object::CHAN.get().cast::<PyTypeObject>(), capacity);
        if chan.is_null() {
            return chan;
        }
        let sender = make_sender(chan);
        let receiver = make(&RECEIVER, chan);
        ffi::Py_DECREF(chan);
        let ends = if sender.is_null() || receiver.is_null() {
            ptr::null_mut()
        } else {
            ffi::PyTuple_Pack(2, sender, receiver)
        };
        ffi::Py_XDECREF(sender);
        ffi::Py_XDECREF(receiver);
        ends
    }
}

unsafe extern "C" fn sender_close(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method of Sender.
    unsafe {
        let view = instance::<ViewObj>(slf);
        if !(*view).open {
            return errors::raise(errors::CLOSE_OF_CLOSED.get(), "close of closed channel");
        }
        close_sender(view);
        obj::none()
    }
}

unsafe extern "C" fn sender_clone(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method of Sender.
    unsafe {
        let view = instance::<ViewObj>(slf);
        if !(*view).open {
            return errors::send_on_closed();
        }
        make_sender((*view).chan)
    }
}

unsafe extern "C" fn sender_exit(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_VARARGS method of Sender.
    unsafe {
        let view = instance::<ViewObj>(slf);
        if (*view).open {
            close_sender(view);
        }
        obj::none()
    }
}

unsafe extern "C" fn view_exit(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_VARARGS method of SendChan.
    unsafe {
        let h = hchan(slf);
        if !h.is_null() && !(*h).is_closed() {
            let _ = guard(|| (*h).close());
        }
        obj::none()
    }
}

unsafe extern "C" fn get_cap(slf: Raw, closure: *mut c_void) -> Raw {
    // SAFETY: a property of a view: a closed Sender still knows its channel.
    unsafe { object::get_cap((*instance::<ViewObj>(slf)).chan, closure) }
}

unsafe extern "C" fn compare(a: Raw, b: Raw, op: c_int) -> Raw {
    // SAFETY: a slot of SendChan and RecvChan.
    unsafe {
        if ffi::Py_TYPE(a) != ffi::Py_TYPE(b) || (op != ffi::Py_EQ && op != ffi::Py_NE) {
            let not_implemented = ffi::Py_NotImplemented();
            ffi::Py_INCREF(not_implemented);
            return not_implemented;
        }
        let same = (*instance::<ViewObj>(a)).chan == (*instance::<ViewObj>(b)).chan;
        obj::boolean(same == (op == ffi::Py_EQ))
    }
}

unsafe extern "C" fn hash(slf: Raw) -> ffi::Py_hash_t {
    // SAFETY: a slot of SendChan and RecvChan. Instances are aligned: the low bits are always zero.
    unsafe { ((*instance::<ViewObj>(slf)).chan as usize >> 4) as ffi::Py_hash_t }
}

unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of a view.
    unsafe {
        let class: Raw = ffi::Py_TYPE(slf).cast();
        let view = instance::<ViewObj>(slf);
        let state = if hchan(slf).as_ref().is_some_and(Hchan::is_closed) { "closed " } else { "" };
        ffi::PyUnicode_FromFormat(
            c"<%s %sof %R>".as_ptr(),
            (*class.cast::<PyTypeObject>()).tp_name,
            if state.is_empty() { c"".as_ptr() } else { c"closed ".as_ptr() },
            (*view).chan,
        )
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let view = instance::<ViewObj>(slf);
        obj::visit_all(slf, [(*view).chan, (*view).keep], visit, arg)
    }
}

impl Container for ViewObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says. The channel outlives the closing by 1.
        unsafe {
            let view = instance::<ViewObj>(slf);
            if !(*view).face.weaklist.is_null() {
                ffi::PyObject_ClearWeakRefs(slf);
            }
            if (*view).open {
                close_sender(view);
            }
            obj::clear(&raw mut (*view).chan);
            obj::clear(&raw mut (*view).keep);
            raw::free_instance(slf);
        }
    }
}

const CLOSE: PyMethodDef = raw::method(
    c"close",
    ops::close,
    ffi::METH_NOARGS,
    c"close($self, /)
--

Closes the channel, as Chan.close() does.

Raises: CloseOfClosed if it is closed already.",
);

const ENTER: PyMethodDef = raw::method(
    c"__enter__",
    ops::enter,
    ffi::METH_NOARGS,
    c"__enter__($self, /)
--

Itself; it is closed at the end of the block.",
);

const EXIT_DOC: &std::ffi::CStr = c"__exit__($self, /, *exc)
--

Closes it if it is still open.";

static SEND_CHAN_METHODS: Table<[PyMethodDef; 8]> = Table([
    methods::SEND,
    methods::TRY_SEND,
    CLOSE,
    asyncio::ASEND_METHOD,
    ENTER,
    raw::method(c"__exit__", view_exit, ffi::METH_VARARGS, EXIT_DOC),
    raw::CLASS_GETITEM,
    PyMethodDef::zeroed(),
]);

static RECV_CHAN_METHODS: Table<[PyMethodDef; 6]> = Table([
    methods::RECV,
    methods::RECV_OK,
    methods::TRY_RECV,
    asyncio::ARECV_METHOD,
    raw::CLASS_GETITEM,
    PyMethodDef::zeroed(),
]);

static SENDER_METHODS: Table<[PyMethodDef; 9]> = Table([
    methods::SEND,
    methods::TRY_SEND,
    raw::method(
        c"close",
        sender_close,
        ffi::METH_NOARGS,
        c"close($self, /)
--

Gives up this sender; the channel closes with its last one.

Raises: CloseOfClosed if this sender is closed already.

>>> tx, rx = golib.channel(1)
>>> tx.send(1); tx.close()
>>> list(rx)
[1]",
    ),
    raw::method(
        c"clone",
        sender_clone,
        ffi::METH_NOARGS,
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
    asyncio::ASEND_METHOD,
    ENTER,
    raw::method(c"__exit__", sender_exit, ffi::METH_VARARGS, EXIT_DOC),
    raw::CLASS_GETITEM,
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[ffi::PyGetSetDef; 3]> = Table([
    raw::property(c"closed", object::get_closed, c"True once it was closed."),
    raw::property(c"cap", get_cap, c"How many values the channel buffers."),
    raw::END_OF_PROPERTIES,
]);

/// Makes the four types. False: an exception is set.
///
/// # Safety
/// The GIL is held; called once, after `object::init`.
pub(crate) unsafe fn init() -> bool {
    let types: [(&Global, _, &'static std::ffi::CStr, *const PyMethodDef, bool); 4] = [
        (&SEND_CHAN, c"golib.SendChan", SEND_CHAN_DOC, SEND_CHAN_METHODS.0.as_ptr(), false),
        (&RECV_CHAN, c"golib.RecvChan", RECV_CHAN_DOC, RECV_CHAN_METHODS.0.as_ptr(), true),
        (&SENDER, c"golib.Sender", SENDER_DOC, SENDER_METHODS.0.as_ptr(), false),
        (&RECEIVER, c"golib.Receiver", RECEIVER_DOC, RECV_CHAN_METHODS.0.as_ptr(), true),
    ];
    for (i, (global, name, doc, methods, receives)) in types.into_iter().enumerate() {
        let mut slots = vec![
            raw::slot(ffi::Py_tp_doc, doc.as_ptr().cast()),
            raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<ViewObj> as *const c_void),
            raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
            raw::slot(ffi::Py_tp_repr, repr as *const c_void),
            raw::slot(ffi::Py_mp_length, object::length as *const c_void),
            raw::slot(ffi::Py_nb_bool, object::is_true as *const c_void),
            raw::slot(ffi::Py_tp_methods, methods.cast()),
            raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
            raw::slot(ffi::Py_tp_members, object::FACE_MEMBERS.0.as_ptr().cast()),
        ];
        if receives {
            slots.push(raw::slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void));
            slots.push(raw::slot(ffi::Py_tp_iternext, ops::golib_entry_chan_next as *const c_void));
            slots.push(raw::slot(ffi::Py_am_aiter, asyncio::aiter as *const c_void));
            slots.push(raw::slot(ffi::Py_am_anext, asyncio::anext as *const c_void));
        }
        if i < 2 {
            slots.push(raw::slot(ffi::Py_tp_richcompare, compare as *const c_void));
            slots.push(raw::slot(ffi::Py_tp_hash, hash as *const c_void));
        }
        let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        // SAFETY: the slots are those of ViewObj.
        let class = unsafe { raw::make_type::<ViewObj>(name, flags, &mut slots) };
        if class.is_null() {
            return false;
        }
        global.set(class);
    }
    true
}

/// The types with the names they have in the module.
pub(crate) fn types() -> [(&'static std::ffi::CStr, Raw); 4] {
    [
        (c"SendChan", SEND_CHAN.get()),
        (c"RecvChan", RECV_CHAN.get()),
        (c"Sender", SENDER.get()),
        (c"Receiver", RECEIVER.get()),
    ]
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
