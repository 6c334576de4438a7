//! The instance: a channel of the runtime's in a Python object.
//!
//! # Invariants
//! 1. `face.hchan` points to a channel that lives as long as the instance; it is null for `nil`, which never proceeds.
//! 2. Whoever waits on a channel is called with a reference to its instance, so that no channel dies under a waiter.
//! 3. Values are moved into and out of the channel; each one's reference belongs to whoever holds the value.

use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::Hchan;
use pyo3::ffi::{self, PyObject, PyTypeObject, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Obj, Raw};
use crate::ffi::raw::{self, instance, Table};

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
    pub(super) core: MaybeUninit<Hchan<Obj>>,
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

/// The core of a channel; None: an exception is set.
pub(super) unsafe fn core_of(capacity: usize) -> Option<Hchan<Obj>> {
    // SAFETY: every method, the collector and the deallocation run with the GIL held.
    unsafe {
        let core = Hchan::<Obj>::try_new_in_host(capacity).ok();
        if core.is_none() {
            let text = "the channel's buffer does not fit into memory";
            errors::set(ffi::PyExc_MemoryError, text);
        }
        core
    }
}

/// A new channel; null with an exception set.
///
/// # Safety
/// The GIL is held; `class` is Chan or a subclass of it.
pub(crate) unsafe fn make(class: *mut PyTypeObject, capacity: usize) -> Raw {
    // SAFETY: the GIL is held.
    let Some(core) = (unsafe { core_of(capacity) }) else { return ptr::null_mut() };
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

/// The members of every type that begins with a [`Face`].
pub(super) static FACE_MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(Face, weaklist)));
