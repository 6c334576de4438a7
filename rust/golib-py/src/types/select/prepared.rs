//! `Select`: cases that are kept for many selects.

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use super::case::is_case;
use super::{run, run_many, Options, INLINE};
use crate::ffi::errors;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{
    self, arguments, free_instance, instance, parking, wait_of, Container, Table,
};

/// An instance of `golib.Select`.
#[repr(C)]
struct SelectObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// The cases as they were given: `len` owned references, made by Box. By 2.
    cases: *mut Raw,
    len: usize,
    biased: bool,
}

/// The type `golib.Select`.
pub(super) static SELECT: Global = Global::new();

parking!(golib_entry_select_wait => select_wait(slf, args, n, kwnames; record) {
    // SAFETY: a method of Select.
    unsafe {
        let Some([timeout]) = arguments("wait", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        let select = instance::<SelectObj>(slf);
        let options = Options { wait, timeout, default: false, biased: (*select).biased, record };
        let len = (*select).len;
        if len > INLINE {
            return wait_for_many(select, options);
        }
        // By 1: a case may be replaced while we wait.
        let mut held = [ptr::null_mut(); INLINE];
        for (i, slot) in held.iter_mut().enumerate().take(len) {
            *slot = *(*select).cases.add(i);
            ffi::Py_INCREF(*slot);
        }
        let result = run(held.as_ptr(), len, options);
        for case in held.into_iter().take(len) {
            ffi::Py_DECREF(case);
        }
        result
    }
});

/// `Select.wait` for more cases than fit the stack.
#[cold]
#[inline(never)]
unsafe fn wait_for_many(select: *mut SelectObj, options: Options) -> Raw {
    // SAFETY: a Select; the tuple holds the cases by 1.
    unsafe {
        let held = ffi::PyTuple_New((*select).len as Py_ssize_t);
        if held.is_null() {
            return held;
        }
        for i in 0..(*select).len {
            let case = *(*select).cases.add(i);
            ffi::Py_INCREF(case);
            ffi::PyTuple_SET_ITEM(held, i as Py_ssize_t, case);
        }
        let cases: Vec<Raw> =
            (0..ffi::PyTuple_GET_SIZE(held)).map(|i| ffi::PyTuple_GET_ITEM(held, i)).collect();
        let result = run_many(cases.as_ptr(), cases.len(), options);
        ffi::Py_DECREF(held);
        result
    }
}

/// `Select(*cases, biased=False)`.
unsafe extern "C" fn construct(class: Raw, args: *const Raw, nargsf: usize, kwnames: Raw) -> Raw {
    // SAFETY: a call of the type.
    unsafe {
        let n = ffi::PyVectorcall_NARGS(nargsf);
        let mut biased = 0;
        if !kwnames.is_null() {
            let Some([flag]) =
                arguments("Select", &[c"biased"], 0, args.add(n as usize), 0, kwnames)
            else {
                return ptr::null_mut();
            };
            biased = if flag.is_null() { 0 } else { ffi::PyObject_IsTrue(flag) };
            if biased < 0 {
                return ptr::null_mut();
            }
        }
        let given = std::slice::from_raw_parts(
            if n == 0 { ptr::NonNull::dangling().as_ptr() } else { args },
            n as usize,
        );
        if !given.iter().all(|&case| is_case(case)) {
            return ptr::null_mut();
        }
        let slf = ffi::PyType_GenericAlloc(class.cast::<PyTypeObject>(), 0);
        if slf.is_null() {
            return slf;
        }
        let select = instance::<SelectObj>(slf);
        given.iter().for_each(|&case| ffi::Py_INCREF(case));
        let cases: Box<[Raw]> = given.into();
        (*select).len = cases.len();
        (*select).cases = Box::into_raw(cases).cast();
        (*select).biased = biased == 1;
        slf
    }
}

/// The index that a subscript means; None: an exception is set.
unsafe fn index_of(select: *mut SelectObj, index: Raw) -> Option<usize> {
    // SAFETY: the GIL is held.
    unsafe {
        let i = raw::integer_of(index)?;
        let len = (*select).len as i64;
        let i = if i < 0 { i.saturating_add(len) } else { i };
        if (0..len).contains(&i) {
            return Some(i as usize);
        }
        errors::set(ffi::PyExc_IndexError, "Select index out of range");
        None
    }
}

unsafe extern "C" fn length(slf: Raw) -> Py_ssize_t {
    // SAFETY: a slot of Select.
    unsafe { (*instance::<SelectObj>(slf)).len as Py_ssize_t }
}

unsafe extern "C" fn get(slf: Raw, index: Raw) -> Raw {
    // SAFETY: a slot of Select.
    unsafe {
        let select = instance::<SelectObj>(slf);
        let Some(i) = index_of(select, index) else { return ptr::null_mut() };
        let case = *(*select).cases.add(i);
        ffi::Py_INCREF(case);
        case
    }
}

unsafe extern "C" fn set(slf: Raw, index: Raw, case: Raw) -> c_int {
    // SAFETY: a slot of Select; null means deletion.
    unsafe {
        let select = instance::<SelectObj>(slf);
        let Some(i) = index_of(select, index) else { return -1 };
        if case.is_null() {
            errors::set(
                ffi::PyExc_TypeError,
                "a case cannot be deleted; assign None to disable it",
            );
            return -1;
        }
        if !is_case(case) {
            return -1;
        }
        ffi::Py_INCREF(case);
        let old = ptr::replace((*select).cases.add(i), case);
        ffi::Py_DECREF(old);
        0
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let select = instance::<SelectObj>(slf);
        let mut stop = obj::visit(ffi::Py_TYPE(slf).cast(), visit, arg);
        for i in 0..(*select).len {
            if stop == 0 {
                stop = obj::visit(*(*select).cases.add(i), visit, arg);
            }
        }
        stop
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end; nobody else sees the list any more.
    unsafe {
        let select = instance::<SelectObj>(slf);
        let cases = ptr::replace(&raw mut (*select).cases, ptr::null_mut());
        let len = std::mem::replace(&mut (*select).len, 0);
        if !cases.is_null() {
            for i in 0..len {
                ffi::Py_DECREF(*cases.add(i));
            }
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(cases, len)));
        }
    }
    0
}

impl Container for SelectObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says.
        unsafe {
            if !(*instance::<SelectObj>(slf)).weaklist.is_null() {
                ffi::PyObject_ClearWeakRefs(slf);
            }
            clear(slf);
            free_instance(slf);
        }
    }
}

static METHODS: Table<[PyMethodDef; 2]> = Table([
    raw::keywords(
        c"wait",
        golib_entry_select_wait,
        c"wait($self, timeout=None)
--

Waits until a case can proceed and does it, as select() does.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; SendOnClosed if a send case on a closed channel won.

>>> ch = golib.Chan(1)
>>> s = golib.Select(golib.recv(ch))
>>> ch.send('x')
>>> s.wait()
Selected(index=0, value='x', ok=True)",
    ),
    PyMethodDef::zeroed(),
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(SelectObj, weaklist)));

/// Makes the type. False: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> bool {
    let mut slots = vec![
        raw::slot(ffi::Py_tp_doc, DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<SelectObj> as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_mp_length, length as *const c_void),
        raw::slot(ffi::Py_mp_subscript, get as *const c_void),
        raw::slot(ffi::Py_mp_ass_subscript, set as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    // SAFETY: the slots are those of SelectObj.
    unsafe {
        let class = raw::make_type::<SelectObj>(c"golib.Select", flags, &mut slots);
        if class.is_null() {
            return false;
        }
        (*class.cast::<PyTypeObject>()).tp_vectorcall = Some(construct);
        SELECT.set(class);
    }
    true
}

const DOC: &std::ffi::CStr = c"Select(*cases, biased=False)
--

A prepared select for hot loops: the cases are checked once.

`s[i] = case` replaces a case, `s[i] = None` disables it. Several goroutines may wait on
one Select; each waits for the cases as they were when it began.

Raises: TypeError for what is no case.
Cost: O(1) per case, kept for the object's life.

>>> a, b = golib.Chan(1), golib.Chan(1)
>>> s = golib.Select(golib.recv(a), golib.recv(b))
>>> b.send('x')
>>> s.wait()
Selected(index=1, value='x', ok=True)";
