//! `golib.sync.Mutex`.

use std::ptr;

use go_lib::runtime::embedder::{MutexCore, Wait};
use pyo3::ffi::{self, PyMethodDef};

use super::object::{core, done, entered, make_type, new, waited, waited_as_threads};
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{
    self, arguments, guard, parking, seconds_of, wait_for, wait_of, Record, Table,
};

parking!(golib_entry_mutex_lock => mutex_lock(slf, args, n, kwnames; record) {
    // SAFETY: a method of Mutex.
    unsafe {
        let Some([timeout]) = arguments("lock", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        lock(slf, wait, timeout, record)
    }
});

parking!(golib_entry_mutex_enter => mutex_enter(slf, _arg; record) {
    // SAFETY: a method of Mutex.
    unsafe {
        entered(slf, lock(slf, Wait::Block, ptr::null_mut(), record))
    }
});

parking!(golib_entry_mutex_acquire => mutex_acquire(slf, args, n, kwnames; record) {
    // SAFETY: a method of Mutex.
    unsafe {
        let names = [c"blocking", c"timeout"];
        let Some([blocking, timeout]) = arguments("acquire", &names, 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = acquire_wait(blocking, timeout) else { return ptr::null_mut() };
        let mutex = core::<MutexCore>(slf);
        waited_as_threads(record, "acquire", || mutex.lock(wait))
    }
});

#[inline(always)]
unsafe fn lock(slf: Raw, wait: Wait, timeout: Raw, record: Record) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe {
        let mutex = core::<MutexCore>(slf);
        waited(record, "lock", timeout, || mutex.lock(wait))
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

unsafe extern "C" fn try_lock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe { obj::boolean(core::<MutexCore>(slf).try_lock()) }
}

unsafe extern "C" fn locked(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe { obj::boolean(core::<MutexCore>(slf).is_locked()) }
}

/// `__exit__`: its arguments do not matter.
unsafe extern "C" fn exit(slf: Raw, _: *mut Raw, _: ffi::Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Mutex.
    unsafe { unlock(slf, ptr::null_mut()) }
}

unsafe extern "C" fn unlock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of Mutex.
    unsafe {
        let mutex = core::<MutexCore>(slf);
        done(ffi::PyExc_RuntimeError, guard(|| mutex.unlock()))
    }
}

const UNLOCK_DOC: &std::ffi::CStr = c"unlock($self, /)
--

Unlocks the mutex. Any goroutine or thread may do so.

Blocks: nothing.
Raises: RuntimeError(\"sync: unlock of unlocked mutex\").";

static METHODS: Table<[PyMethodDef; 9]> = Table([
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
    raw::method(c"unlock", unlock, ffi::METH_NOARGS, UNLOCK_DOC),
    raw::method(
        c"try_lock",
        try_lock,
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
        unlock,
        ffi::METH_NOARGS,
        c"release($self, /)
--

threading.Lock.release(): the same as unlock().",
    ),
    raw::method(
        c"locked",
        locked,
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
        exit,
        c"__exit__($self, /, *exc)
--

Unlocks the mutex.",
    ),
    PyMethodDef::zeroed(),
]);

const DOC: &std::ffi::CStr = c"Mutex()
--

A mutual exclusion lock for goroutines and OS threads: Go's sync.Mutex.

It has no owner: any goroutine may unlock it. A waiter that has waited for more than a
millisecond gets it next, so nobody starves. `with mutex:` locks and unlocks; acquire()
and release() are those of threading.Lock, so it may stand in for one.

>>> m = golib.sync.Mutex()
>>> with m:
...     m.try_lock()
False";

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        make_type::<MutexCore>(c"golib.sync.Mutex", DOC, 0, new::<MutexCore>, &METHODS.0, None)
    }
}
