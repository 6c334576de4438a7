//! `recv`, `send`, `select` and `Select`.
//!
//! # Invariants
//! 1. During a select every case's channel is held alive by a reference: the caller's arguments, or those that
//!    `Select.wait` takes for the time of the wait.
//! 2. A Case never changes; a Select's list of cases is changed under the GIL only.

use std::mem::{offset_of, MaybeUninit};
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::{selectgo, Case, SelectError, Wait, WaitReason};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::chan::{free_instance, hchan, on_nil};
use crate::ends::{can_recv, can_send};
use crate::errors;
use crate::obj::{self, Global, Obj, Raw};
use crate::raw::{self, arguments, guard, instance, parking, wait_of, Table};
use crate::results;

/// An instance of `golib.Case`.
#[repr(C)]
struct CaseObj {
    ob_base: PyObject,
    /// What has the channel.
    face: Raw,
    /// What a send case sends; null for a receive.
    value: Raw,
}

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

static CASE: Global = Global::new();
static SELECT: Global = Global::new();

/// So many cases need no allocation.
const INLINE: usize = 16;

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    parking!(golib_entry_select => select(_module, args, n, kwnames) {
        // SAFETY: a METH_FASTCALL | METH_KEYWORDS function; the arguments hold the channels.
        unsafe {
            let Some(options) = options("select", args, n, kwnames) else { return ptr::null_mut() };
            run(args, n as usize, options)
        }
    });

    parking!(golib_entry_select_wait => select_wait(slf, args, n, kwnames) {
        // SAFETY: a method of Select.
        unsafe {
            let Some([timeout]) = arguments("wait", &[c"timeout"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            let select = instance::<SelectObj>(slf);
            let options = Options { wait, default: false, biased: (*select).biased };
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
}

pub(crate) use parks::golib_entry_select;
use parks::golib_entry_select_wait;

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
        let result = run(cases.as_ptr(), cases.len(), options);
        ffi::Py_DECREF(held);
        result
    }
}

/// How to select.
#[derive(Clone, Copy)]
struct Options {
    wait: Wait,
    default: bool,
    biased: bool,
}

/// The keyword arguments of `select`; None: an exception is set.
#[inline(always)]
unsafe fn options(
    function: &'static str,
    args: *const Raw,
    n: Py_ssize_t,
    kwnames: Raw,
) -> Option<Options> {
    if kwnames.is_null() {
        return Some(Options { wait: Wait::Block, default: false, biased: false });
    }
    // SAFETY: the vectorcall protocol: the values of the keywords follow the n positional arguments.
    unsafe {
        let names = [c"default", c"timeout", c"biased"];
        let [default, timeout, biased] =
            arguments(function, &names, 0, args.add(n as usize), 0, kwnames)?;
        let truth = |flag: Raw| if flag.is_null() { 0 } else { ffi::PyObject_IsTrue(flag) };
        let (default, biased) = (truth(default), truth(biased));
        if default < 0 || biased < 0 {
            return None;
        }
        let wait = wait_of(timeout)?;
        let wait = if default == 1 { Wait::Try } else { wait };
        Some(Options { wait, default: default == 1, biased: biased == 1 })
    }
}

/// The runtime's form of a case that `select` was given; None: a TypeError is set.
#[inline(always)]
unsafe fn case_of<'a>(given: Raw) -> Option<Case<'a, Obj>> {
    // SAFETY: `given` is alive during the select, and so is its channel.
    unsafe {
        let (face, value) = if ffi::Py_TYPE(given).cast() == CASE.get() {
            let case = instance::<CaseObj>(given);
            ((*case).face, (*case).value)
        } else if can_recv(given) {
            (given, ptr::null_mut())
        } else if given == ffi::Py_None() {
            return Some(Case::Disabled);
        } else {
            no_case(given);
            return None;
        };
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

/// Selects among the `n` cases at `given`.
#[inline(always)]
unsafe fn run(given: *const Raw, n: usize, options: Options) -> Raw {
    if n <= INLINE {
        let mut cases = [const { MaybeUninit::<Case<'_, Obj>>::uninit() }; INLINE];
        // SAFETY: the caller's arguments.
        unsafe { run_in(&mut cases[..n], given, options) }
    } else {
        let mut cases: Vec<_> = (0..n).map(|_| MaybeUninit::<Case<'_, Obj>>::uninit()).collect();
        // SAFETY: as above.
        unsafe { run_in(&mut cases, given, options) }
    }
}

#[inline(always)]
unsafe fn run_in(
    room: &mut [MaybeUninit<Case<'_, Obj>>],
    given: *const Raw,
    options: Options,
) -> Raw {
    let mut disabled = 0;
    for i in 0..room.len() {
        // SAFETY: `given` has as many elements as the room.
        match unsafe { case_of(*given.add(i)) } {
            Some(case) => {
                disabled += usize::from(matches!(case, Case::Disabled));
                room[i].write(case);
            }
            None => {
                drop_cases(&mut room[..i]);
                return ptr::null_mut();
            }
        }
    }
    // SAFETY: all of them were written; a MaybeUninit has its content's layout.
    let cases = unsafe {
        std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<Case<'_, Obj>>(), room.len())
    };
    // SAFETY: the GIL is held, no wait is under way.
    let result = unsafe {
        if disabled < cases.len() {
            wait_in(cases, options)
        } else if options.default {
            results::selected(-1, obj::none(), false)
        } else {
            on_nil(options.wait, WaitReason::SelectNoCases)
        }
    };
    drop_cases(room);
    result
}

/// Drops the values that were not sent. Their cases hold them too, so this frees nothing.
#[inline]
fn drop_cases(cases: &mut [MaybeUninit<Case<'_, Obj>>]) {
    for case in cases {
        // SAFETY: the caller's cases are written.
        unsafe { case.assume_init_drop() };
    }
}

#[inline(always)]
unsafe fn wait_in(cases: &mut [Case<'_, Obj>], options: Options) -> Raw {
    loop {
        // SAFETY: the GIL is held, no wait is under way.
        unsafe {
            match guard(|| selectgo(cases, options.wait, options.biased)) {
                Some(Ok(selected)) => {
                    let value = selected.value.map_or_else(|| obj::none(), Obj::into_raw);
                    return results::selected(selected.index as i64, value, selected.ok);
                }
                Some(Err(error)) => {
                    if let Some(result) = select_failed(error, options) {
                        return result;
                    }
                }
                None => return ptr::null_mut(),
            }
        }
    }
}

/// What a select without a winner returns; None: try again.
#[cold]
#[inline(never)]
unsafe fn select_failed(error: SelectError, options: Options) -> Option<Raw> {
    // SAFETY: the GIL is held, no wait is under way.
    unsafe {
        Some(match error {
            SelectError::WouldBlock if options.default => results::selected(-1, obj::none(), false),
            SelectError::WouldBlock | SelectError::Timeout => errors::timed_out("select"),
            SelectError::SendOnClosed(_) => errors::send_on_closed(),
            SelectError::Deadlock => errors::deadlock(),
            SelectError::Interrupted if errors::interrupted() => return None,
            SelectError::Interrupted => ptr::null_mut(),
        })
    }
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
        if can_recv(ch) {
            return make_case(ch, ptr::null_mut());
        }
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"recv() takes a channel to receive from, not %s".as_ptr(),
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
        if can_send(ch) {
            return make_case(ch, value);
        }
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"send() takes a channel to send to, not %s".as_ptr(),
            (*ffi::Py_TYPE(ch)).tp_name,
        )
    }
}

unsafe extern "C" fn case_repr(slf: Raw) -> Raw {
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

unsafe extern "C" fn case_traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
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

unsafe extern "C-unwind" fn case_dealloc(slf: Raw) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        let case = instance::<CaseObj>(slf);
        obj::clear(&raw mut (*case).face);
        obj::clear(&raw mut (*case).value);
        free_instance(slf);
    }
}

/// `Select(*cases, biased=False)`.
unsafe extern "C" fn select_construct(
    class: Raw,
    args: *const Raw,
    nargsf: usize,
    kwnames: Raw,
) -> Raw {
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

/// False: a TypeError is set.
unsafe fn is_case(given: Raw) -> bool {
    // SAFETY: the GIL is held. Dropping the case's copy of a value frees nothing.
    unsafe { case_of(given).is_some() }
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

unsafe extern "C" fn select_length(slf: Raw) -> Py_ssize_t {
    // SAFETY: a slot of Select.
    unsafe { (*instance::<SelectObj>(slf)).len as Py_ssize_t }
}

unsafe extern "C" fn select_get(slf: Raw, index: Raw) -> Raw {
    // SAFETY: a slot of Select.
    unsafe {
        let select = instance::<SelectObj>(slf);
        let Some(i) = index_of(select, index) else { return ptr::null_mut() };
        let case = *(*select).cases.add(i);
        ffi::Py_INCREF(case);
        case
    }
}

unsafe extern "C" fn select_set(slf: Raw, index: Raw, case: Raw) -> c_int {
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

unsafe extern "C" fn select_traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
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

unsafe extern "C-unwind" fn select_clear(slf: Raw) -> c_int {
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

unsafe extern "C-unwind" fn select_dealloc(slf: Raw) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        if !(*instance::<SelectObj>(slf)).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        select_clear(slf);
        free_instance(slf);
    }
}

static CASE_METHODS: Table<[PyMethodDef; 2]> = Table([raw::CLASS_GETITEM, PyMethodDef::zeroed()]);

static SELECT_METHODS: Table<[PyMethodDef; 2]> = Table([
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

static SELECT_MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(SelectObj, weaklist)));

/// Makes the types. False: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> bool {
    let mut case = vec![
        raw::slot(ffi::Py_tp_doc, CASE_DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, case_dealloc as *const c_void),
        raw::slot(ffi::Py_tp_traverse, case_traverse as *const c_void),
        raw::slot(ffi::Py_tp_repr, case_repr as *const c_void),
        raw::slot(ffi::Py_tp_methods, CASE_METHODS.0.as_ptr().cast()),
    ];
    let mut select = vec![
        raw::slot(ffi::Py_tp_doc, SELECT_DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_dealloc, select_dealloc as *const c_void),
        raw::slot(ffi::Py_tp_traverse, select_traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, select_clear as *const c_void),
        raw::slot(ffi::Py_mp_length, select_length as *const c_void),
        raw::slot(ffi::Py_mp_subscript, select_get as *const c_void),
        raw::slot(ffi::Py_mp_ass_subscript, select_set as *const c_void),
        raw::slot(ffi::Py_tp_methods, SELECT_METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, SELECT_MEMBERS.0.as_ptr().cast()),
    ];
    let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    // SAFETY: the slots are those of the instances.
    unsafe {
        CASE.set(raw::make_type::<CaseObj>(c"golib.Case", flags, &mut case));
        SELECT.set(raw::make_type::<SelectObj>(c"golib.Select", flags, &mut select));
        if CASE.get().is_null() || SELECT.get().is_null() {
            return false;
        }
        (*SELECT.get().cast::<PyTypeObject>()).tp_vectorcall = Some(select_construct);
    }
    true
}

/// The types with the names they have in the module.
pub(crate) fn types() -> [(&'static std::ffi::CStr, Raw); 2] {
    [(c"Case", CASE.get()), (c"Select", SELECT.get())]
}

const CASE_DOC: &std::ffi::CStr = c"A case of select(): made by recv(ch) or send(ch, value).

>>> ch = golib.Chan(1)
>>> case = golib.send(ch, 1)
>>> golib.select(case)
Selected(index=0, value=None, ok=True)";

const SELECT_DOC: &std::ffi::CStr = c"Select(*cases, biased=False)
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
