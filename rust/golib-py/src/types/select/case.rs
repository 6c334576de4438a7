//! The cases of a select: made by `recv(ch)` and `send(ch, value)`; a channel and None are cases too.

use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::Case;
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::ffi::obj::{self, Global, Obj, Raw};
use crate::ffi::raw::{self, arguments, free_instance, instance, Container, Table};
use crate::types::chan::ends::{can_recv, can_send};
use crate::types::chan::hchan;

/// An instance of `golib.Case`.
#[repr(C)]
struct CaseObj {
    ob_base: PyObject,
    /// What has the channel; None for a case that is disabled.
    face: Raw,
    /// What a send case sends; null for a receive.
    value: Raw,
}

/// The type `golib.Case`.
pub(super) static CASE: Global = Global::new();

/// The runtime's form of a case that `select` was given; None: a TypeError is set.
#[inline(always)]
pub(super) unsafe fn case_of<'a>(given: Raw) -> Option<Case<'a, Obj>> {
    // SAFETY: `given` is alive during the select, and so is its channel.
    unsafe {
        let (face, value) = if ffi::Py_TYPE(given).cast() == CASE.get() {
            let case = instance::<CaseObj>(given);
            ((*case).face, (*case).value)
        } else if can_recv(given) || given == ffi::Py_None() {
            (given, ptr::null_mut())
        } else {
            no_case(given);
            return None;
        };
        if face == ffi::Py_None() {
            return Some(Case::Disabled);
        }
        Some(match hchan(face).as_ref() {
            None => Case::Disabled,
            Some(h) if value.is_null() => Case::Recv(h),
            Some(h) => Case::Send(h, Some(Obj::borrowed(value))),
        })
    }
}

#[cold]
unsafe fn no_case(given: Raw) {
    // SAFETY: the GIL is held.
    unsafe {
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"a case is recv(ch), send(ch, value), a channel to receive from, or None, not %s"
                .as_ptr(),
            (*ffi::Py_TYPE(given)).tp_name,
        );
    }
}

/// False: a TypeError is set.
pub(super) unsafe fn is_case(given: Raw) -> bool {
    // SAFETY: the GIL is held. Dropping the case's copy of a value frees nothing.
    unsafe { case_of(given).is_some() }
}

/// A new Case; null with an exception set.
unsafe fn make_case(face: Raw, value: Raw) -> Raw {
    // SAFETY: the GIL is held; `value` is null or alive.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(CASE.get().cast::<PyTypeObject>(), 0);
        if !slf.is_null() {
            let case = instance::<CaseObj>(slf);
            ffi::Py_INCREF(face);
            ffi::Py_XINCREF(value);
            (*case).face = face;
            (*case).value = value;
        }
        slf
    }
}

/// `golib.recv(ch)`.
pub(crate) unsafe extern "C" fn recv(_: Raw, ch: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        if can_recv(ch) || ch == ffi::Py_None() {
            return make_case(ch, ptr::null_mut());
        }
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"recv() takes a channel to receive from, or None, not %s".as_ptr(),
            (*ffi::Py_TYPE(ch)).tp_name,
        )
    }
}

/// `golib.send(ch, value)`.
pub(crate) unsafe extern "C" fn send(_: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let Some([ch, value]) = arguments("send", &[c"ch", c"value"], 2, args, n, kwnames) else {
            return ptr::null_mut();
        };
        if can_send(ch) || ch == ffi::Py_None() {
            return make_case(ch, value);
        }
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"send() takes a channel to send to, or None, not %s".as_ptr(),
            (*ffi::Py_TYPE(ch)).tp_name,
        )
    }
}

unsafe extern "C" fn repr(slf: Raw) -> Raw {
    // SAFETY: a slot of Case.
    unsafe {
        let case = instance::<CaseObj>(slf);
        if (*case).value.is_null() {
            ffi::PyUnicode_FromFormat(c"golib.recv(%R)".as_ptr(), (*case).face)
        } else {
            ffi::PyUnicode_FromFormat(c"golib.send(%R, %R)".as_ptr(), (*case).face, (*case).value)
        }
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let case = instance::<CaseObj>(slf);
        for object in [ffi::Py_TYPE(slf).cast(), (*case).face, (*case).value] {
            let stop = obj::visit(object, visit, arg);
            if stop != 0 {
                return stop;
            }
        }
        0
    }
}

impl Container for CaseObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says.
        unsafe {
            let case = instance::<CaseObj>(slf);
            obj::clear(&raw mut (*case).face);
            obj::clear(&raw mut (*case).value);
            free_instance(slf);
        }
    }
}

static METHODS: Table<[PyMethodDef; 2]> = Table([raw::CLASS_GETITEM, PyMethodDef::zeroed()]);

/// Makes the type. False: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> bool {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<CaseObj> as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_repr, repr as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
    ];
    let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    // SAFETY: the slots are those of CaseObj.
    unsafe {
        CASE.set(raw::make_type::<CaseObj>(c"golib.Case", flags, &mut slots));
    }
    !CASE.get().is_null()
}

const DOC: &std::ffi::CStr = c"A case of select(): made by recv(ch) or send(ch, value).

>>> ch = golib.Chan(1)
>>> case = golib.send(ch, 1)
>>> golib.select(case)
Selected(index=0, value=None, ok=True)";
