//! `golib.Chan`: a channel of Python objects.
//!
//! | file | holds |
//! |---|---|
//! | [`ops`] | what is done on a channel: sends, receives, close |
//! | [`methods`] | the methods and properties |
//! | [`ends`] | the directional views, and the two ends made by `channel()` |
//!
//! The instance holds the runtime's channel itself. All types on which channel operations work begin with a [`Face`],
//! so that one body serves `Chan`, its directional views and the ends made by `channel()`.
//!
//! # Invariants
//! 1. `face.hchan` points to a channel that lives as long as the instance; it is null for `nil`, which never proceeds.
//! 2. Whoever waits on a channel is called with a reference to its instance, so that no channel dies under a waiter.
//! 3. Values are moved into and out of the channel; each one's reference belongs to whoever holds the value.

pub(crate) mod ends;
mod methods;
mod ops;

use std::ffi::CStr;
use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::Hchan;
use pyo3::ffi::{self, PyObject, PyTypeObject, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Obj, Raw};
use crate::ffi::raw::{self, arguments, free_instance, instance, Container, Table};
use crate::types::asyncio;

pub(crate) use methods::{RECV, RECV_OK, SEND, TRY_RECV, TRY_SEND};
pub(crate) use ops::{close, enter, golib_entry_chan_next, on_nil};

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
                let class = ffi::Py_TYPE(slf);
                let name = if class.cast() == CHAN.get() {
                    "golib.Chan".into()
                } else {
                    CStr::from_ptr((*class).tp_name).to_string_lossy()
                };
                let state = if h.is_closed() { " closed" } else { "" };
                format!("<{name} {}/{}{state} at {slf:p}>", h.len(), h.cap())
            }
        };
        raw::unicode(&text)
    }
}

/// The core of a channel; None: an exception is set.
unsafe fn core_of(capacity: usize) -> Option<Hchan<Obj>> {
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

/// The argument of `Chan(capacity=0)` in a tuple, and a dict or null. None: an exception is set.
unsafe fn parsed(args: Raw, kwargs: Raw) -> Option<usize> {
    // SAFETY: the GIL is held.
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
            return None;
        }
        capacity_of(capacity)
    }
}

/// True of a subclass with an `__init__` of its own.
unsafe fn has_own_init(class: *mut PyTypeObject) -> bool {
    // SAFETY: `class` is Chan or a subclass of it.
    unsafe { (*class).tp_init.map(|f| f as usize) != Some(init_subclass as *const () as usize) }
}

/// `__new__` for subclasses. The arguments of one that has its own `__init__`, but not its own `__new__`, are meant for that:
/// it calls this class's, with a capacity.
unsafe extern "C" fn new(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new: a tuple, and a dict or null.
    unsafe {
        let own_new = (*class).tp_new.map(|f| f as usize) != Some(new as *const () as usize);
        let capacity = if has_own_init(class) && !own_new { Some(0) } else { parsed(args, kwargs) };
        capacity.map_or(ptr::null_mut(), |n| make(class, n))
    }
}

/// `__init__`, called by that of a subclass: sets the capacity of a channel that nobody has used yet.
unsafe extern "C" fn init_subclass(slf: Raw, args: Raw, kwargs: Raw) -> c_int {
    // SAFETY: a tp_init: a tuple, and a dict or null.
    unsafe {
        // Else `__new__` has had the arguments.
        if !has_own_init(ffi::Py_TYPE(slf)) {
            return 0;
        }
        let Some(capacity) = parsed(args, kwargs) else { return -1 };
        let chan = instance::<ChanObj>(slf);
        let core = (*chan).core.assume_init_mut();
        if core.cap() == capacity {
            return 0;
        }
        if !core.is_idle() {
            errors::set(ffi::PyExc_RuntimeError, "the channel is in use already");
            return -1;
        }
        let Some(new) = core_of(capacity) else { return -1 };
        // By 1 it stays where it is. The old one is empty: dropping it drops no object.
        *core = new;
        0
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

impl Container for ChanObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says. By 2 nobody waits.
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
}

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
        raw::slot(ffi::Py_tp_init, init_subclass as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<ChanObj> as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_repr, repr as *const c_void),
        raw::slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void),
        raw::slot(ffi::Py_tp_iternext, golib_entry_chan_next as *const c_void),
        raw::slot(ffi::Py_am_aiter, asyncio::aiter as *const c_void),
        raw::slot(ffi::Py_am_anext, asyncio::anext as *const c_void),
        raw::slot(ffi::Py_mp_length, length as *const c_void),
        raw::slot(ffi::Py_nb_bool, is_true as *const c_void),
        raw::slot(ffi::Py_tp_methods, methods::METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, methods::PROPERTIES.0.as_ptr().cast()),
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
end. A channel is always true; len() is the number of buffered values. A subclass may have
an __init__ with arguments of its own; it calls super().__init__(capacity).

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
