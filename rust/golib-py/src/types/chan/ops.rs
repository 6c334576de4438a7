//! What is done on a channel: sends, receives, close. Of every type that begins with a [`Face`](super::Face).

use std::ptr;

use go_lib::runtime::embedder::{Event, Hchan, RecvError, SendError, Wait, WaitReason};
use pyo3::ffi;

use super::object::hchan;
use crate::core::results;
use crate::core::waits;
use crate::ffi::errors;
use crate::ffi::obj::{self, Obj, Raw};
use crate::ffi::raw::{arguments, guard, guard_wait, parking, wait_of, Record};

parking!(golib_entry_chan_send => chan_send(slf, args, n, kwnames; record) {
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
            return on_nil(wait, timeout, WaitReason::ChanSendNil, record);
        }
        send(&*h, value, wait, timeout, record)
    }
});

parking!(golib_entry_chan_recv => chan_recv(slf, args, n, kwnames; record) {
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
        match recv(slf, wait, timeout, record) {
            Received::Value(value) => value,
            Received::Closed => errors::raise(errors::CHAN_CLOSED.get(), "receive on closed channel"),
            Received::Failed => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_chan_recv_ok => chan_recv_ok(slf, args, n, kwnames; record) {
    // SAFETY: as chan_send.
    unsafe {
        let Some([timeout]) = arguments("recv_ok", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        match recv(slf, wait, timeout, record) {
            Received::Value(value) => results::pair(value, true),
            Received::Closed => results::pair(obj::none(), false),
            Received::Failed => ptr::null_mut(),
        }
    }
});

parking!(golib_entry_chan_next => chan_next(slf; record) {
    // SAFETY: a tp_iternext on a Face.
    unsafe {
        let value = recv_at_once(slf);
        if !value.is_null() {
            return value;
        }
        match recv(slf, Wait::Block, ptr::null_mut(), record) {
            Received::Value(value) => value,
            // Null without an exception ends the iteration.
            Received::Closed | Received::Failed => ptr::null_mut(),
        }
    }
});

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
    // SAFETY: a method on a Face; the GIL is held.
    unsafe {
        let h = hchan(slf);
        // The channel's reference is made when it is sent: until we return, nobody but the caller drops one.
        let sent =
            !h.is_null() && (*h).send_at_once(Obj::owned(value)).map_err(Obj::into_raw).is_ok();
        if sent {
            ffi::Py_INCREF(value);
        }
        sent
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
unsafe fn send(h: &Hchan<Obj>, value: Raw, wait: Wait, timeout: Raw, record: Record) -> Raw {
    // SAFETY: the GIL is held; the caller holds the value.
    unsafe {
        let mut value = Obj::borrowed(value);
        loop {
            match guard_wait(record, || h.send(value, wait)) {
                Some(Ok(())) => return obj::none(),
                None => return ptr::null_mut(),
                Some(Err(error)) => match send_failed(error, timeout) {
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
unsafe fn send_failed(error: SendError<Obj>, timeout: Raw) -> Option<Obj> {
    // SAFETY: the GIL is held. The caller's caller holds the value too: dropping ours frees nothing.
    unsafe {
        match error {
            SendError::Interrupted(value) => {
                if waits::interrupted() {
                    return Some(value);
                }
            }
            SendError::Closed(_) => {
                errors::send_on_closed();
            }
            SendError::Full(_) | SendError::Timeout(_) => {
                waits::timed_out("send", timeout);
            }
            SendError::Deadlock(_) => {
                waits::deadlock();
            }
        }
    }
    None
}

#[inline(always)]
unsafe fn recv(slf: Raw, wait: Wait, timeout: Raw, record: Record) -> Received {
    // SAFETY: a method on a Face.
    unsafe {
        let h = hchan(slf);
        if h.is_null() {
            on_nil(wait, timeout, WaitReason::ChanReceiveNil, record);
            return Received::Failed;
        }
        loop {
            match guard_wait(record, || (*h).recv(wait)) {
                Some(Ok(Some(value))) => return Received::Value(value.into_raw()),
                Some(Ok(None)) => return Received::Closed,
                None => return Received::Failed,
                Some(Err(error)) => {
                    if !recv_failed(error, timeout) {
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
unsafe fn recv_failed(error: RecvError, timeout: Raw) -> bool {
    // SAFETY: the GIL is held, no wait is under way.
    unsafe {
        match error {
            RecvError::Interrupted => return waits::interrupted(),
            RecvError::Empty | RecvError::Timeout => waits::timed_out("receive", timeout),
            RecvError::Deadlock => waits::deadlock(),
        };
    }
    false
}

/// Waits for what never happens; always null with an exception set.
#[cold]
#[inline(never)]
pub(crate) unsafe fn on_nil(wait: Wait, timeout: Raw, reason: WaitReason, record: Record) -> Raw {
    let never = Event::new();
    loop {
        let Some(Err(error)) = guard_wait(record, || never.wait(wait, reason)) else {
            return ptr::null_mut();
        };
        // SAFETY: the GIL is held, no wait is under way.
        if !unsafe { waits::again(error, reason.text(), timeout) } {
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

pub(super) unsafe extern "C" fn exit(slf: Raw, _: Raw) -> Raw {
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
