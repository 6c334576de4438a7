//! Operations on a channel (sends, receives, close), for every type that begins with a [`Face`].

use go_lib::runtime::embedder::{Event, Hchan, RecvError, SendError, Wait, WaitReason};

use super::object::Face;
use crate::core::results;
use crate::core::waits;
use crate::ffi::args::{timeout_of, Args, Timeout};
use crate::ffi::class::{Extends, Object};
use crate::ffi::errors::{self, fail};
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::entry;
use crate::ffi::obj::Obj;
use crate::ffi::python::{boolean, none};
use crate::ffi::refs::{New, Outcome, Raised, Ref};

entry! { CHAN_SEND: golib_entry_chan_send => chan_send keywords(entry, chan: Face, args) {
    if let ([value], true) = (args.positional(), args.has_no_names()) {
        if send_at_once(entry.gil(), chan, *value) {
            return Ok(none(entry.gil()));
        }
    }
    let [value, timeout] = args.parse(entry.gil(), "send", &[c"value", c"timeout"], 1)?;
    let value = value.unwrap_or_else(crate::ffi::python::none_ref);
    let timeout = timeout_of(entry.gil(), timeout)?;
    match chan.hchan(entry.gil()) {
        Some(h) => send(entry, h, value, timeout),
        None => Err(on_nil(entry, timeout, WaitReason::ChanSendNil)),
    }
} }

entry! { CHAN_RECV: golib_entry_chan_recv => chan_recv keywords(entry, chan: Face, args) {
    if args.len() == 0 && args.has_no_names() {
        if let Some(value) = recv_at_once(entry.gil(), chan) {
            return Ok(value);
        }
    }
    let [timeout] = args.parse(entry.gil(), "recv", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    match recv(entry, chan, timeout)? {
        Some(value) => Ok(value),
        None => Err(chan_closed(entry.gil())),
    }
} }

entry! { CHAN_RECV_OK: golib_entry_chan_recv_ok => chan_recv_ok keywords(entry, chan: Face, args) {
    let [timeout] = args.parse(entry.gil(), "recv_ok", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    let value = recv(entry, chan, timeout)?;
    let (gil, ok) = (entry.gil(), value.is_some());
    results::pair(gil, value.unwrap_or_else(|| none(gil)), ok)
} }

entry! { CHAN_NEXT: golib_entry_chan_next => chan_next next(entry, chan: Face) {
    match recv_at_once(entry.gil(), chan) {
        Some(value) => Ok(Some(value)),
        None => recv(entry, chan, Timeout::NONE),
    }
} }

/// Sends if that needs no waiting. It needs no [`guard`]: nothing that it calls panics.
#[inline(always)]
fn send_at_once(gil: Gil<'_>, chan: &Face, value: Ref<'_>) -> bool {
    let Some(h) = chan.hchan(gil) else { return false };
    let _whole = gil.unobserved("a sent value's reference is made after the send");
    // SAFETY: the caller holds the value, and nothing else drops a reference to it until we return.
    let unowned = unsafe { Obj::owned(value.as_raw()) };
    match h.send_at_once(unowned) {
        Ok(()) => {
            value.own(gil).give();
            true
        }
        Err(unowned) => {
            unowned.into_raw();
            false
        }
    }
}

/// Receives if that needs no waiting. It needs no [`guard`], as [`send_at_once`] needs none.
#[inline(always)]
fn recv_at_once(gil: Gil<'_>, chan: &Face) -> Option<New> {
    chan.hchan(gil)?.recv_at_once().map(Obj::into_new)
}

#[inline(always)]
fn send(entry: &mut Entry, h: &Hchan<Obj>, value: Ref<'_>, timeout: Timeout) -> Outcome<New> {
    let mut value = value.to_obj(entry.gil());
    loop {
        match entry.wait(|| h.send(value, timeout.wait))? {
            Ok(()) => return Ok(none(entry.gil())),
            Err(error) => value = send_failed(entry.gil(), error, timeout)?,
        }
    }
}

/// Returns the value if the send must be tried again. The caller's caller holds the value too, so dropping ours frees nothing.
#[cold]
#[inline(never)]
fn send_failed(gil: Gil<'_>, error: SendError<Obj>, timeout: Timeout) -> Outcome<Obj> {
    Err(match error {
        SendError::Interrupted(value) => return waits::interrupted(gil).map(|()| value),
        SendError::Closed(_) => errors::send_on_closed(gil),
        SendError::Full(_) | SendError::Timeout(_) => waits::timed_out(gil, "send", timeout),
        SendError::Deadlock(_) => waits::deadlocked(gil),
    })
}

/// Returns the value, or None once the channel is closed and drained.
#[inline(always)]
fn recv(entry: &mut Entry, chan: &Face, timeout: Timeout) -> Outcome<Option<New>> {
    let Some(h) = chan.hchan(entry.gil()) else {
        return Err(on_nil(entry, timeout, WaitReason::ChanReceiveNil));
    };
    loop {
        match entry.wait(|| h.recv(timeout.wait))? {
            Ok(value) => return Ok(value.map(Obj::into_new)),
            Err(error) => recv_failed(entry.gil(), error, timeout)?,
        }
    }
}

/// Ok if the receive must be tried again.
#[cold]
#[inline(never)]
fn recv_failed(gil: Gil<'_>, error: RecvError, timeout: Timeout) -> Outcome<()> {
    match error {
        RecvError::Interrupted => waits::interrupted(gil),
        RecvError::Empty | RecvError::Timeout => Err(waits::timed_out(gil, "receive", timeout)),
        RecvError::Deadlock => Err(waits::deadlocked(gil)),
    }
}

#[cold]
fn chan_closed(gil: Gil<'_>) -> Raised {
    fail(gil, errors::CHAN_CLOSED.object(), "receive on closed channel")
}

fn close_of(gil: Gil<'_>, what: &str) -> Raised {
    fail(gil, errors::CLOSE_OF_CLOSED.object(), what)
}

/// Waits on a channel that never proceeds, until the wait fails.
#[cold]
#[inline(never)]
pub(crate) fn on_nil(entry: &mut Entry, timeout: Timeout, reason: WaitReason) -> Raised {
    let never = Event::new();
    match waits::complete(entry, reason.text(), timeout, || never.wait(timeout.wait, reason)) {
        Ok(()) => fail(entry.gil(), crate::ffi::python::system_error(), "golib: never came"),
        Err(raised) => raised,
    }
}

pub(super) fn try_send(gil: Gil<'_>, chan: &Object<Face>, value: Ref<'_>) -> Outcome<New> {
    let Some(h) = chan.hchan(gil) else { return Ok(boolean(gil, false)) };
    // The caller holds the value, so that dropping ours frees nothing.
    let value = value.to_obj(gil);
    match guard(gil, || h.send(value, Wait::Try))? {
        Ok(()) => Ok(boolean(gil, true)),
        Err(SendError::Closed(_)) => Err(errors::send_on_closed(gil)),
        Err(_) => Ok(boolean(gil, false)),
    }
}

pub(super) fn try_recv(gil: Gil<'_>, chan: &Object<Face>) -> Outcome<New> {
    let Some(h) = chan.hchan(gil) else { return Ok(none(gil)) };
    match guard(gil, || h.recv(Wait::Try))? {
        Ok(Some(value)) => results::recv(gil, value.into_new(), true),
        Ok(None) => results::recv(gil, none(gil), false),
        Err(_) => Ok(none(gil)),
    }
}

pub(super) fn close<T: Extends<Face>>(gil: Gil<'_>, chan: &Object<T>) -> Outcome<New> {
    let Some(h) = chan.base::<Face>().hchan(gil) else {
        return Err(close_of(gil, "close of nil channel"));
    };
    match guard(gil, || h.close())? {
        Ok(()) => Ok(none(gil)),
        Err(_) => Err(close_of(gil, "close of closed channel")),
    }
}

pub(super) fn enter<T>(gil: Gil<'_>, chan: &Object<T>) -> Outcome<New> {
    Ok(chan.object().own(gil))
}

pub(super) fn exit<T: Extends<Face>>(gil: Gil<'_>, chan: &Object<T>, _: Args<'_>) -> Outcome<New> {
    if let Some(h) = chan.base::<Face>().hchan(gil).filter(|h| !h.is_closed()) {
        // If another goroutine closes it first, it is closed all the same.
        let _ = guard(gil, || h.close());
    }
    Ok(none(gil))
}
