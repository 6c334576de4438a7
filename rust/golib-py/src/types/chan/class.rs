//! The class `golib.Chan`.

use std::ffi::CStr;
use std::os::raw::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyTypeObject};

use super::methods;
use super::object::{
    capacity_of, core_of, hchan, is_true, length, make, ChanObj, CHAN, FACE_MEMBERS,
};
use super::ops::golib_entry_chan_next;
use crate::core::asyncio;
use crate::ffi::errors;
use crate::ffi::obj::{self, Obj, Raw};
use crate::ffi::raw::{self, arguments, free_instance, instance, Container};

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
        obj::unicode(&text)
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
