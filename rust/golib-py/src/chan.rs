//! `golib.Chan`: a channel of Python objects.
//!
//! The instance holds the runtime's channel itself. All types on which channel operations work begin with a [`Face`],
//! so that one body serves `Chan`, its directional views and the ends made by `channel()` (`ends.rs`).
//!
//! # Invariants
//! 1. `face.hchan` points to a channel that lives as long as the instance; it is null for `nil`, which never proceeds.
//! 2. Whoever waits on a channel is called with a reference to its instance, so that no channel dies under a waiter.
//! 3. Values are moved into and out of the channel; each one's reference belongs to whoever holds the value.

use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::{Event, Hchan, RecvError, SendError, Wait, WaitReason};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::asyncio;
use crate::cpython::object;
use crate::errors;
use crate::obj::{self, Global, Obj, Raw};
use crate::raw::{self, arguments, guard, instance, parking, wait_of, Table};
use crate::results;

/// What every type with channel operations begins with.
#[repr(C)]
pub(crate) struct Face {
    ob_base: PyObject,
    /// By 1.
    pub(crate) hchan: *const Hchan<Obj>,
    pub(crate) weaklist: Raw,
}

/// An instance of `golib.Chan`.
#[repr(C)]
pub(crate) struct ChanObj {
    pub(crate) face: Face,
    /// Open `Sender`s, for a channel that `channel()` made.
    pub(crate) senders: usize,
    /// Initialised unless `hchan` is null.
    core: MaybeUninit<Hchan<Obj>>,
}

// CPython aligns instances to 16 bytes.
const _: () = assert!(align_of::<ChanObj>() <= 16);

/// The type `golib.Chan`.
pub(crate) static CHAN: Global = Global::new();
/// The channel `golib.nil`.
static NIL: Global = Global::new();

/// `golib.nil`, borrowed.
pub(crate) fn nil() -> Raw {
    NIL.get()
}

/// The channel behind an instance of any type with a [`Face`]; null for `nil`.
///
/// # Safety
/// `slf` is such an instance.
#[inline(always)]
pub(crate) unsafe fn hchan(slf: Raw) -> *const Hchan<Obj> {
    // SAFETY: the caller's duty.
    unsafe { (*instance::<Face>(slf)).hchan }
}

/// The operations that can park.
mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    parking!(golib_entry_chan_send => chan_send(slf, args, n, kwnames) {
        // SAFETY: the arguments of a METH_FASTCALL | METH_KEYWORDS method on a Face.
        unsafe {
            if n == 1 && kwnames.is_null() && send_at_once(slf, *args) {
                return obj::none();
            }
            let Some([value, timeout]) = arguments("send", &[c"value", c"timeout"], 1, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            let h = hchan(slf);
            if h.is_null() {
                return on_nil(wait, WaitReason::ChanSendNil);
            }
            send(&*h, value, wait)
        }
    });

    parking!(golib_entry_chan_recv => chan_recv(slf, args, n, kwnames) {
        // SAFETY: as chan_send.
        unsafe {
            if n == 0 && kwnames.is_null() {
                let value = recv_at_once(slf);
                if !value.is_null() {
                    return value;
                }
            }
            let Some([timeout]) = arguments("recv", &[c"timeout"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            match recv(slf, wait) {
                Received::Value(value) => value,
                Received::Closed => errors::raise(errors::CHAN_CLOSED.get(), "receive on closed channel"),
                Received::Failed => ptr::null_mut(),
            }
        }
    });

    parking!(golib_entry_chan_recv_ok => chan_recv_ok(slf, args, n, kwnames) {
        // SAFETY: as chan_send.
        unsafe {
            let Some([timeout]) = arguments("recv_ok", &[c"timeout"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            match recv(slf, wait) {
                Received::Value(value) => results::pair(value, true),
                Received::Closed => results::pair(obj::none(), false),
                Received::Failed => ptr::null_mut(),
            }
        }
    });

    parking!(golib_entry_chan_next => chan_next(slf) {
        // SAFETY: a tp_iternext on a Face.
        unsafe {
            let value = recv_at_once(slf);
            if !value.is_null() {
                return value;
            }
            match recv(slf, Wait::Block) {
                Received::Value(value) => value,
                // Null without an exception ends the iteration.
                Received::Closed | Received::Failed => ptr::null_mut(),
            }
        }
    });
}

pub(crate) use parks::{
    golib_entry_chan_next, golib_entry_chan_recv, golib_entry_chan_recv_ok, golib_entry_chan_send,
};

/// What a receive came to.
enum Received {
    /// A new reference.
    Value(Raw),
    Closed,
    /// An exception is set.
    Failed,
}

/// Sends if that needs no waiting. Without [`guard`]: what it calls does not panic.
#[inline(always)]
unsafe fn send_at_once(slf: Raw, value: Raw) -> bool {
    // SAFETY: a method on a Face; the GIL is held, and the caller holds the value: dropping ours frees nothing.
    unsafe {
        let h = hchan(slf);
        !h.is_null() && (*h).send_at_once(Obj::borrowed(value)).is_ok()
    }
}

/// Receives if that needs no waiting; else null, without an exception. Without [`guard`], as [`send_at_once`].
#[inline(always)]
unsafe fn recv_at_once(slf: Raw) -> Raw {
    // SAFETY: a method on a Face.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            return ptr::null_mut();
        }
        (*h).recv_at_once().map_or(ptr::null_mut(), Obj::into_raw)
    }
}

#[inline(always)]
unsafe fn send(h: &Hchan<Obj>, value: Raw, wait: Wait) -> Raw {
    // SAFETY: the GIL is held; the caller holds the value.
    unsafe {
        let mut value = Obj::borrowed(value);
        loop {
            match guard(|| h.send(value, wait)) {
                Some(Ok(())) => return obj::none(),
                None => return ptr::null_mut(),
                Some(Err(error)) => match send_failed(error) {
                    Some(again) => value = again,
                    None => return ptr::null_mut(),
                },
            }
        }
    }
}

/// The value, if the send is to be tried again; else an exception is set.
#[cold]
#[inline(never)]
unsafe fn send_failed(error: SendError<Obj>) -> Option<Obj> {
    // SAFETY: the GIL is held. The caller's caller holds the value too: dropping ours frees nothing.
    unsafe {
        match error {
            SendError::Interrupted(value) => {
                if errors::interrupted() {
                    return Some(value);
                }
            }
            SendError::Closed(_) => {
                errors::send_on_closed();
            }
            SendError::Full(_) | SendError::Timeout(_) => {
                errors::timed_out("send");
            }
            SendError::Deadlock(_) => {
                errors::deadlock();
            }
        }
    }
    None
}

#[inline(always)]
unsafe fn recv(slf: Raw, wait: Wait) -> Received {
    // SAFETY: a method on a Face.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            on_nil(wait, WaitReason::ChanReceiveNil);
            return Received::Failed;
        }
        loop {
            match guard(|| (*h).recv(wait)) {
                Some(Ok(Some(value))) => return Received::Value(value.into_raw()),
                Some(Ok(None)) => return Received::Closed,
                None => return Received::Failed,
                Some(Err(error)) => {
                    if !recv_failed(error) {
                        return Received::Failed;
                    }
                }
            }
        }
    }
}

/// True: try again; else an exception is set.
#[cold]
#[inline(never)]
unsafe fn recv_failed(error: RecvError) -> bool {
    // SAFETY: the GIL is held, no wait is under way.
    unsafe {
        match error {
            RecvError::Interrupted => return errors::interrupted(),
            RecvError::Empty | RecvError::Timeout => errors::timed_out("receive"),
            RecvError::Deadlock => errors::deadlock(),
        };
    }
    false
}

/// Waits for what never happens; always null with an exception set.
#[cold]
#[inline(never)]
pub(crate) unsafe fn on_nil(wait: Wait, reason: WaitReason) -> Raw {
    let never = Event::new();
    loop {
        let Some(Err(error)) = guard(|| never.wait(wait, reason)) else { return ptr::null_mut() };
        // SAFETY: the GIL is held, no wait is under way.
        if !unsafe { errors::again(error, reason.text()) } {
            return ptr::null_mut();
        }
    }
}

pub(crate) unsafe extern "C" fn try_send(slf: Raw, value: Raw) -> Raw {
    // SAFETY: a METH_O method on a Face; the caller holds the value, so dropping ours frees nothing.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            return obj::boolean(false);
        }
        let value = Obj::borrowed(value);
        match guard(|| (*h).send(value, Wait::Try)) {
            Some(Ok(())) => obj::boolean(true),
            Some(Err(SendError::Closed(_))) => errors::send_on_closed(),
            Some(Err(_)) => obj::boolean(false),
            None => ptr::null_mut(),
        }
    }
}

pub(crate) unsafe extern "C" fn try_recv(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method on a Face.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            return obj::none();
        }
        match guard(|| (*h).recv(Wait::Try)) {
            Some(Ok(Some(value))) => results::recv(value.into_raw(), true),
            Some(Ok(None)) => results::recv(obj::none(), false),
            Some(Err(_)) => obj::none(),
            None => ptr::null_mut(),
        }
    }
}

pub(crate) unsafe extern "C" fn close(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method on a Face.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            return errors::raise(errors::CLOSE_OF_CLOSED.get(), "close of nil channel");
        }
        match guard(|| (*h).close()) {
            Some(Ok(())) => obj::none(),
            Some(Err(_)) => errors::raise(errors::CLOSE_OF_CLOSED.get(), "close of closed channel"),
            None => ptr::null_mut(),
        }
    }
}

pub(crate) unsafe extern "C" fn enter(slf: Raw, _: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe {
        ffi::Py_INCREF(slf);
    }
    slf
}

unsafe extern "C" fn exit(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_VARARGS method on a Face.
    unsafe {
        let h = hchan(slf);
        if !h.is_null() && !(*h).is_closed() {
            // Somebody else may close it first: then it is closed, as wished.
            let _ = guard(|| (*h).close());
        }
        obj::none()
    }
}

pub(crate) unsafe extern "C" fn get_closed(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of a Face.
    unsafe { obj::boolean(hchan(slf).as_ref().is_some_and(Hchan::is_closed)) }
}

pub(crate) unsafe extern "C" fn get_cap(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of a Face.
    unsafe { ffi::PyLong_FromSize_t(hchan(slf).as_ref().map_or(0, Hchan::cap)) }
}

pub(crate) unsafe extern "C" fn length(slf: Raw) -> Py_ssize_t {
    // SAFETY: a slot of a Face.
    unsafe { hchan(slf).as_ref().map_or(0, Hchan::len) as Py_ssize_t }
}

/// `bool()` of a channel: it has a length, but an empty one is no less a channel.
pub(crate) unsafe extern "C" fn is_true(_: Raw) -> c_int {
    1
}

unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of a Chan.
    unsafe {
        let text = match hchan(slf).as_ref() {
            None => "golib.nil".to_owned(),
            Some(h) => {
                let state = if h.is_closed() { " closed" } else { "" };
                format!("<golib.Chan {}/{}{state} at {slf:p}>", h.len(), h.cap())
            }
        };
        raw::unicode(&text)
    }
}

/// A new channel; null with an exception set.
///
/// # Safety
/// The GIL is held; `class` is Chan or a subclass of it.
pub(crate) unsafe fn make(class: *mut PyTypeObject, capacity: usize) -> Raw {
    // SAFETY: every method, the collector and the deallocation run with the GIL held.
    let Ok(core) = (unsafe { Hchan::<Obj>::try_new_in_host(capacity) }) else {
        // SAFETY: the GIL is held.
        return unsafe {
            errors::raise(ffi::PyExc_MemoryError, "the channel's buffer does not fit into memory")
        };
    };
    // SAFETY: the caller's duty; a fresh instance is zeroed, and Hchan does not move any more.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if slf.is_null() {
            return slf;
        }
        let chan = instance::<ChanObj>(slf);
        (*chan).core.write(core);
        (*chan).face.hchan = (*chan).core.as_ptr();
        slf
    }
}

/// Makes the channel that never proceeds.
///
/// # Safety
/// The GIL is held, the type exists.
pub(crate) unsafe fn make_nil() -> Raw {
    // SAFETY: the caller's duty; a zeroed instance has a null channel.
    unsafe { NIL.set(ffi::PyType_GenericAlloc(CHAN.get().cast(), 0)) };
    NIL.get()
}

/// A capacity argument; None: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn capacity_of(capacity: Raw) -> Option<usize> {
    if capacity.is_null() {
        return Some(0);
    }
    // SAFETY: the GIL is held.
    unsafe {
        let n = raw::integer_of(capacity)?;
        if n < 0 {
            errors::set(ffi::PyExc_ValueError, "the capacity must not be negative");
            return None;
        }
        Some(n as usize)
    }
}

/// `Chan(capacity=0)`, by the vectorcall protocol.
unsafe extern "C" fn construct(class: Raw, args: *const Raw, nargsf: usize, kwnames: Raw) -> Raw {
    // SAFETY: a call of the type.
    unsafe {
        let n = ffi::PyVectorcall_NARGS(nargsf);
        let Some([capacity]) = arguments("Chan", &[c"capacity"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match capacity_of(capacity) {
            Some(n) => make(class.cast(), n),
            None => ptr::null_mut(),
        }
    }
}

/// `__new__` for subclasses.
unsafe extern "C" fn new(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new: a tuple, and a dict or null.
    unsafe {
        let mut capacity: Raw = ptr::null_mut();
        let names = [c"capacity".as_ptr(), ptr::null()];
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|O:Chan".as_ptr(),
            names.as_ptr().cast_mut().cast(),
            &mut capacity,
        );
        if parsed == 0 {
            return ptr::null_mut();
        }
        match capacity_of(capacity) {
            Some(n) => make(class, n),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse; visitprocs neither park nor use channels.
    unsafe {
        let mut result = obj::visit(ffi::Py_TYPE(slf).cast(), visit, arg);
        if let Some(h) = hchan(slf).as_ref() {
            h.visit(&mut |value: &Obj| {
                if result == 0 {
                    result = visit(value.as_raw(), arg);
                }
            });
        }
        result
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear. The values are dropped after they have left the channel.
    unsafe {
        if let Some(h) = hchan(slf).as_ref() {
            drop(h.drain());
        }
    }
    0
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone; channels in channels nest deallocations.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        object::trashcan(slf, dealloc, free);
    }
}

unsafe extern "C-unwind" fn free(slf: Raw) {
    // SAFETY: called by dealloc. By 2 nobody waits.
    unsafe {
        let chan = instance::<ChanObj>(slf);
        if !(*chan).face.weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        if !(*chan).face.hchan.is_null() {
            (*chan).core.assume_init_drop();
        }
        free_instance(slf);
    }
}

/// Gives an instance of a heap type back.
///
/// # Safety
/// Its fields have been dropped; nobody uses it any more.
pub(crate) unsafe fn free_instance(slf: Raw) {
    // SAFETY: the caller's duty; instances of heap types own a reference to their type.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        if let Some(free) = (*class).tp_free {
            free(slf.cast());
        }
        ffi::Py_DECREF(class.cast());
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

static METHODS: Table<[PyMethodDef; 12]> = Table([
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
    raw::CLASS_GETITEM,
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[ffi::PyGetSetDef; 5]> = Table([
    raw::property(c"closed", get_closed, c"True once the channel was closed."),
    raw::property(c"cap", get_cap, c"How many values the channel buffers."),
    raw::property(
        c"sender",
        crate::ends::get_sender,
        c"A view that can only send and close: a SendChan.",
    ),
    raw::property(
        c"receiver",
        crate::ends::get_receiver,
        c"A view that can only receive: a RecvChan.",
    ),
    raw::END_OF_PROPERTIES,
]);

/// The members of every type that begins with a [`Face`].
pub(crate) static FACE_MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(Face, weaklist)));

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_new, new as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, repr as *const c_void),
        raw::slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void),
        raw::slot(ffi::Py_tp_iternext, golib_entry_chan_next as *const c_void),
        raw::slot(ffi::Py_am_aiter, asyncio::aiter as *const c_void),
        raw::slot(ffi::Py_am_anext, asyncio::anext as *const c_void),
        raw::slot(ffi::Py_mp_length, length as *const c_void),
        raw::slot(ffi::Py_nb_bool, is_true as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, FACE_MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of ChanObj.
    unsafe {
        let class = raw::make_type::<ChanObj>(
            c"golib.Chan",
            ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_BASETYPE,
            &mut slots,
        );
        if !class.is_null() {
            // Not inherited: a subclass goes through `new`.
            (*class.cast::<PyTypeObject>()).tp_vectorcall = Some(construct);
            CHAN.set(class);
        }
        class
    }
}

const DOC: &std::ffi::CStr = c"Chan(capacity=0)
--

A channel, as in Go: a queue on which goroutines and OS threads wait.

With capacity 0 every send meets a receive; otherwise so many values are buffered.
Iterating receives until the channel is closed and drained; `with ch:` closes it at the
end. A channel is always true; len() is the number of buffered values.

Blocks: nothing; the operations say what they block.
Shape: capacity values are buffered.
Raises: ValueError if capacity is negative, TypeError if it is no integer, MemoryError if
    the buffer does not fit.
Cost: 8 bytes per slot, allocated at once.
Go: make(chan T, capacity)

>>> ch = golib.Chan[int](2)
>>> ch.send(1); ch.send(2); ch.close()
>>> sum(ch)
3";
