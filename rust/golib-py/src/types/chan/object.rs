//! The instance: a Python object that contains one of the runtime's channels.
//!
//! # Invariants
//! 1. `face.hchan` points to a channel that lives as long as the instance; it is null for `nil`, which never proceeds.
//! 2. A method that waits on a channel is called with a reference to its instance, so that no channel dies under a
//!    waiter.
//! 3. Values are moved into and out of the channel; the holder of a value owns its reference.

use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::ptr;

use go_lib::runtime::embedder::Hchan;

use crate::ffi::args::integer_of;
use crate::ffi::class::{Class, Extends, Fresh, Object, TypeCell, TypeOf, Visitor, Weaklist};
use crate::ffi::errors::fail;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{Global, Obj};
use crate::ffi::python::{memory_error, size, value_error};
use crate::ffi::refs::{Field, New, Outcome, Ref};

/// The first fields of every type with channel operations.
#[repr(C)]
pub(crate) struct Face {
    /// By 1.
    hchan: Field<*const Hchan<Obj>>,
    pub(super) weaklist: Weaklist,
}

impl Face {
    /// # Safety
    /// By 1.
    pub(super) unsafe fn of(hchan: *const Hchan<Obj>) -> Face {
        Face { hchan: Field::new(hchan), weaklist: Weaklist::new() }
    }

    /// # Safety
    /// By 1.
    pub(super) unsafe fn set(&self, gil: Gil<'_>, hchan: *const Hchan<Obj>) {
        self.hchan.set(gil.exclusive(), hchan);
    }

    /// The channel; None for `nil`.
    #[inline(always)]
    pub(crate) fn hchan<'a>(&'a self, gil: Gil<'_>) -> Option<&'a Hchan<Obj>> {
        // SAFETY: by 1.
        unsafe { self.hchan.get(gil.exclusive()).as_ref() }
    }

    pub(super) fn as_ptr(&self, gil: Gil<'_>) -> *const Hchan<Obj> {
        self.hchan.get(gil.exclusive())
    }
}

/// The fields of `golib.Chan`.
#[repr(C)]
pub(crate) struct Chan {
    pub(crate) face: Face,
    /// Open `Sender`s, for a channel that `channel()` made.
    pub(super) senders: Field<usize>,
    /// None in `nil`.
    core: UnsafeCell<Option<Hchan<Obj>>>,
}

// SAFETY: repr(C), with the Face first.
unsafe impl Extends<Face> for Chan {}

impl Chan {
    /// A channel that never proceeds.
    fn nil() -> Chan {
        // SAFETY: null is nil's, by 1.
        let face = unsafe { Face::of(ptr::null()) };
        Chan { face, senders: Field::new(0), core: UnsafeCell::new(None) }
    }
}

impl Class for Chan {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Face, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        // SAFETY: the collector holds the GIL; a visit neither parks nor uses channels.
        unsafe {
            if let Some(h) = self.face.hchan(visitor.gil()) {
                h.visit(&mut |value: &Obj| visitor.value(value));
            }
        }
    }

    #[inline(never)]
    fn clear(&self, gil: Gil<'_>) {
        if let Some(h) = self.face.hchan(gil) {
            // The values have left the channel before they are dropped.
            drop(h.drain());
        }
    }

    /// By 2 nothing waits here. Buffered values are dropped with the fields.
    fn end(_: &Object<Self>, _: Gil<'_>) {}
}

/// The type `golib.Chan`.
pub(crate) static CHAN: TypeCell<Chan> = TypeCell::new();
/// The channel `golib.nil`.
static NIL: Global = Global::new();

/// `golib.nil`.
pub(crate) fn nil(gil: Gil<'_>) -> Option<&'static Object<Chan>> {
    CHAN.cast(gil, NIL.object())
}

pub(super) fn get_closed(gil: Gil<'_>, chan: &Object<Face>) -> Outcome<New> {
    Ok(crate::ffi::python::boolean(gil, chan.hchan(gil).is_some_and(Hchan::is_closed)))
}

pub(super) fn get_cap(gil: Gil<'_>, chan: &Object<Face>) -> Outcome<New> {
    size(gil, chan.hchan(gil).map_or(0, Hchan::cap))
}

pub(super) fn length<T: Extends<Face>>(gil: Gil<'_>, chan: &Object<T>) -> usize {
    chan.base::<Face>().hchan(gil).map_or(0, Hchan::len)
}

/// `bool()` of a channel is always true: it has a length, but an empty one is a channel too.
pub(super) fn truth<T>(_: Gil<'_>, _: &Object<T>) -> bool {
    true
}

/// The core of a channel.
fn core_of(gil: Gil<'_>, capacity: usize) -> Outcome<Hchan<Obj>> {
    // SAFETY: every method, the collector and the deallocation run with the GIL held.
    unsafe { Hchan::<Obj>::try_new_in_host(capacity) }
        .map_err(|_| fail(gil, memory_error(), "the channel's buffer does not fit into memory"))
}

/// A new channel.
pub(crate) fn make(gil: Gil<'_>, class: TypeOf<'_, Chan>, capacity: usize) -> Outcome<Fresh<Chan>> {
    let core = core_of(gil, capacity)?;
    let chan = class.make(gil, Chan { core: UnsafeCell::new(Some(core)), ..Chan::nil() })?;
    // SAFETY: nothing else refers to it yet, and by 1 it no longer moves.
    unsafe {
        let hchan = (*chan.core.get()).as_ref().map_or(ptr::null(), ptr::from_ref);
        chan.face.set(gil, hchan);
    }
    Ok(chan)
}

/// Changes the capacity of a channel that has not been used yet.
///
/// # Errors
/// The channel is in use, or there is not enough memory.
pub(super) fn set_capacity(gil: Gil<'_>, chan: &Object<Chan>, capacity: usize) -> Outcome<()> {
    let Some(h) = chan.face.hchan(gil).filter(|h| h.cap() != capacity) else { return Ok(()) };
    // SAFETY: the token shows that the GIL is held.
    if !unsafe { h.is_idle() } {
        let text = "the channel is in use already";
        return Err(fail(gil, crate::ffi::python::runtime_error(), text));
    }
    let new = core_of(gil, capacity)?;
    let _whole = gil.unobserved("an unused channel's core is replaced where it is");
    // SAFETY: only `hchan` refers to an idle channel, and stays valid, since the core stays where it is. The old core is empty,
    // so dropping it drops no object.
    unsafe { *chan.core.get() = Some(new) };
    Ok(())
}

/// Makes the channel that never proceeds.
pub(crate) fn make_nil(gil: Gil<'_>) -> Outcome<New> {
    let nil = CHAN.get(gil)?.make(gil, Chan::nil())?.into_new();
    NIL.fill(Ok(nil.get().own(gil)))?;
    Ok(nil)
}

/// Converts a capacity argument.
pub(super) fn capacity_of(gil: Gil<'_>, capacity: Option<Ref<'_>>) -> Outcome<usize> {
    let n = capacity.map_or(Ok(0), |capacity| integer_of(gil, capacity))?;
    usize::try_from(n).map_err(|_| fail(gil, value_error(), "the capacity must not be negative"))
}
