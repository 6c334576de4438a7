//! `golib.sync.Mutex` and the core of `golib.sync.WaitGroup`.
//!
//! # Invariants
//! 1. Whoever waits is called with a reference to the instance, so that nothing dies under a waiter.

use std::mem::offset_of;
use std::os::raw::c_void;
use std::ptr;

use go_lib::runtime::embedder::{MutexCore, Wait, WaitError, WaitGroupCore};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject};

use crate::chan::free_instance;
use crate::errors;
use crate::obj::{self, Raw};
use crate::raw::{self, arguments, guard, instance, parking, seconds_of, wait_for, wait_of, Table};

/// An instance whose payload is a primitive of the runtime.
#[repr(C)]
struct SyncObj<T> {
    ob_base: PyObject,
    weaklist: Raw,
    core: T,
}

// The cores own nothing: instances are freed without dropping them.
const _: () =
    assert!(!std::mem::needs_drop::<MutexCore>() && !std::mem::needs_drop::<WaitGroupCore>());

unsafe fn core<'a, T>(slf: Raw) -> &'a T {
    // SAFETY: a method of that type; by 1 the instance outlives the call.
    unsafe { &(*instance::<SyncObj<T>>(slf)).core }
}

unsafe fn new<T>(class: *mut PyTypeObject, args: Raw, kwargs: Raw, core: T) -> Raw {
    // SAFETY: a tp_new.
    unsafe {
        if ffi::PyTuple_GET_SIZE(args) > 0 || (!kwargs.is_null() && ffi::PyDict_Size(kwargs) > 0) {
            ffi::PyErr_Format(
                ffi::PyExc_TypeError,
                c"%s() takes no arguments".as_ptr(),
                (*class).tp_name,
            );
            return ptr::null_mut();
        }
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if !slf.is_null() {
            ptr::write(&raw mut (*instance::<SyncObj<T>>(slf)).core, core);
        }
        slf
    }
}

unsafe extern "C" fn new_mutex(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new.
    unsafe { new(class, args, kwargs, MutexCore::new()) }
}

unsafe extern "C" fn new_wait_group(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new.
    unsafe { new(class, args, kwargs, WaitGroupCore::new()) }
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone; the weak list is at the same place in all instances.
    unsafe {
        if !(*instance::<SyncObj<()>>(slf)).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        free_instance(slf);
    }
}

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    parking!(golib_entry_mutex_lock => mutex_lock(slf, args, n, kwnames) {
        // SAFETY: a method of Mutex.
        unsafe {
            let Some([timeout]) = arguments("lock", &[c"timeout"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            lock(slf, wait)
        }
    });

    parking!(golib_entry_mutex_enter => mutex_enter(slf, _arg) {
        // SAFETY: a method of Mutex.
        unsafe {
            let entered = lock(slf, Wait::Block);
            if !entered.is_null() {
                ffi::Py_DECREF(entered);
                ffi::Py_INCREF(slf);
                return slf;
            }
            entered
        }
    });

    parking!(golib_entry_mutex_acquire => mutex_acquire(slf, args, n, kwnames) {
        // SAFETY: a method of Mutex.
        unsafe {
            let names = [c"blocking", c"timeout"];
            let Some([blocking, timeout]) = arguments("acquire", &names, 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = acquire_wait(blocking, timeout) else { return ptr::null_mut() };
            let mutex = core::<MutexCore>(slf);
            loop {
                match guard(|| mutex.lock(wait)) {
                    Some(Ok(())) => return obj::boolean(true),
                    Some(Err(WaitError::WouldBlock | WaitError::Timeout)) => return obj::boolean(false),
                    Some(Err(error)) if errors::again(error, "acquire") => {}
                    _ => return ptr::null_mut(),
                }
            }
        }
    });

    parking!(golib_entry_wait_group_wait => wait_group_wait(slf, args, n, kwnames) {
        // SAFETY: a method of WaitGroup.
        unsafe {
            let Some([timeout]) = arguments("wait", &[c"timeout"], 0, args, n, kwnames) else {
                return ptr::null_mut();
            };
            let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
            let group = core::<WaitGroupCore>(slf);
            loop {
                match guard(|| group.wait(wait)) {
                    Some(Ok(())) => return obj::none(),
                    Some(Err(error)) if errors::again(error, "wait") => {}
                    _ => return ptr::null_mut(),
                }
            }
        }
    });
}

use parks::{
    golib_entry_mutex_acquire, golib_entry_mutex_enter, golib_entry_mutex_lock,
    golib_entry_wait_group_wait,
};

#[inline(always)]
unsafe fn lock(slf: Raw, wait: Wait) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe {
        let mutex = core::<MutexCore>(slf);
        loop {
            match guard(|| mutex.lock(wait)) {
                Some(Ok(())) => return obj::none(),
                Some(Err(error)) if errors::again(error, "lock") => {}
                _ => return ptr::null_mut(),
            }
        }
    }
}

/// The arguments of threading's `Lock.acquire`; None: an exception is set.
unsafe fn acquire_wait(blocking: Raw, timeout: Raw) -> Option<Wait> {
    /// threading's word for "no timeout".
    const NO_TIMEOUT: f64 = -1.0;
    // SAFETY: the GIL is held.
    unsafe {
        let blocking = if blocking.is_null() { 1 } else { ffi::PyObject_IsTrue(blocking) };
        let seconds = if timeout.is_null() { NO_TIMEOUT } else { seconds_of(timeout)? };
        if blocking < 0 {
            return None;
        }
        if blocking == 0 {
            if seconds != NO_TIMEOUT {
                errors::set(
                    ffi::PyExc_ValueError,
                    "can't specify a timeout for a non-blocking call",
                );
                return None;
            }
            return Some(Wait::Try);
        }
        if seconds == NO_TIMEOUT {
            return Some(Wait::Block);
        }
        if seconds < 0.0 {
            errors::set(ffi::PyExc_ValueError, "timeout value must be a non-negative number");
            return None;
        }
        Some(wait_for(seconds))
    }
}

unsafe extern "C" fn mutex_try_lock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe { obj::boolean(core::<MutexCore>(slf).try_lock()) }
}

unsafe extern "C" fn mutex_locked(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe { obj::boolean(core::<MutexCore>(slf).is_locked()) }
}

/// `__exit__`: its arguments do not matter.
unsafe extern "C" fn mutex_exit(slf: Raw, _: *mut Raw, _: ffi::Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Mutex.
    unsafe { mutex_unlock(slf, ptr::null_mut()) }
}

unsafe extern "C" fn mutex_unlock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe {
        let mutex = core::<MutexCore>(slf);
        match guard(|| mutex.unlock()) {
            Some(Ok(())) => obj::none(),
            Some(Err(error)) => errors::raise(ffi::PyExc_RuntimeError, &error.to_string()),
            None => ptr::null_mut(),
        }
    }
}

unsafe fn add_to(slf: Raw, delta: i64) -> Raw {
    // SAFETY: a method of WaitGroup.
    unsafe {
        let group = core::<WaitGroupCore>(slf);
        match guard(|| group.add(delta)) {
            Some(Ok(())) => obj::none(),
            Some(Err(error)) => errors::raise(ffi::PyExc_ValueError, &error.to_string()),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn wait_group_add(slf: Raw, delta: Raw) -> Raw {
    // SAFETY: a METH_O method of WaitGroup.
    unsafe {
        match raw::integer_of(delta) {
            Some(delta) => add_to(slf, delta),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn wait_group_done(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of WaitGroup.
    unsafe { add_to(slf, -1) }
}

const UNLOCK_DOC: &std::ffi::CStr = c"unlock($self, /)
--

Unlocks the mutex. Any goroutine or thread may do so.

Blocks: nothing.
Raises: RuntimeError(\"sync: unlock of unlocked mutex\").";

static MUTEX_METHODS: Table<[PyMethodDef; 9]> = Table([
    raw::keywords(
        c"lock",
        golib_entry_mutex_lock,
        c"lock($self, timeout=None)
--

Locks the mutex.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held.",
    ),
    raw::method(c"unlock", mutex_unlock, ffi::METH_NOARGS, UNLOCK_DOC),
    raw::method(
        c"try_lock",
        mutex_try_lock,
        ffi::METH_NOARGS,
        c"try_lock($self, /)
--

Locks the mutex if it is free; says whether it did.

Blocks: nothing.",
    ),
    raw::keywords(
        c"acquire",
        golib_entry_mutex_acquire,
        c"acquire($self, blocking=True, timeout=-1)
--

threading.Lock.acquire(): locks the mutex and says whether it did.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds, -1 waits for ever.
Raises: ValueError for a negative timeout, or one with blocking=False.",
    ),
    raw::method(
        c"release",
        mutex_unlock,
        ffi::METH_NOARGS,
        c"release($self, /)
--

threading.Lock.release(): the same as unlock().",
    ),
    raw::method(
        c"locked",
        mutex_locked,
        ffi::METH_NOARGS,
        c"locked($self, /)
--

threading.Lock.locked(): whether somebody holds it.",
    ),
    raw::method(
        c"__enter__",
        golib_entry_mutex_enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Locks the mutex; it is unlocked at the end of the block.",
    ),
    raw::fast(
        c"__exit__",
        mutex_exit,
        c"__exit__($self, /, *exc)
--

Unlocks the mutex.",
    ),
    PyMethodDef::zeroed(),
]);

static WAIT_GROUP_METHODS: Table<[PyMethodDef; 4]> = Table([
    raw::method(
        c"add",
        wait_group_add,
        ffi::METH_O,
        c"add($self, delta, /)
--

Adds delta, which may be negative, to the counter; at zero all who wait go on.

Blocks: nothing.
Raises: ValueError(\"sync: negative WaitGroup counter\"); the counter is then as before.",
    ),
    raw::method(
        c"done",
        wait_group_done,
        ffi::METH_NOARGS,
        c"done($self, /)
--

add(-1).",
    ),
    raw::keywords(
        c"wait",
        golib_entry_wait_group_wait,
        c"wait($self, timeout=None)
--

Waits until the counter is zero.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: TimeoutError after timeout.",
    ),
    PyMethodDef::zeroed(),
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> =
    Table(raw::weaklist(offset_of!(SyncObj<()>, weaklist)));

/// Makes the types `Mutex` and `WaitGroup`; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Option<[(&'static std::ffi::CStr, Raw); 2]> {
    let mut mutex = vec![
        raw::slot(ffi::Py_tp_doc, MUTEX_DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_new, new_mutex as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_methods, MUTEX_METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    let mut group = vec![
        raw::slot(ffi::Py_tp_doc, WAIT_GROUP_DOC.as_ptr().cast()),
        raw::slot(ffi::Py_tp_new, new_wait_group as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        raw::slot(ffi::Py_tp_methods, WAIT_GROUP_METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    // SAFETY: the slots are those of the instances.
    unsafe {
        let mutex = raw::make_type::<SyncObj<MutexCore>>(c"golib.sync.Mutex", 0, &mut mutex);
        let group = raw::make_type::<SyncObj<WaitGroupCore>>(
            c"golib._golib.WaitGroup",
            ffi::Py_TPFLAGS_BASETYPE,
            &mut group,
        );
        (!mutex.is_null() && !group.is_null()).then_some([(c"Mutex", mutex), (c"WaitGroup", group)])
    }
}

const MUTEX_DOC: &std::ffi::CStr = c"Mutex()
--

A mutual exclusion lock for goroutines and OS threads: Go's sync.Mutex.

It has no owner: any goroutine may unlock it. A waiter that has waited for more than a
millisecond gets it next, so nobody starves. `with mutex:` locks and unlocks; acquire()
and release() are those of threading.Lock, so it may stand in for one.

>>> m = golib.sync.Mutex()
>>> with m:
...     m.try_lock()
False";

const WAIT_GROUP_DOC: &std::ffi::CStr = c"The core of golib.sync.WaitGroup.";
