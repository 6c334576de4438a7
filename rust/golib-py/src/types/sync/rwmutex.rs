//! The core of `golib.sync.RWMutex`.

use std::ptr;

use go_lib::runtime::embedder::{RwMutexCore, Wait};
use pyo3::ffi::{self, PyMethodDef};

use super::object::{core, done, entered, make_type, new, waited};
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, arguments, guard, parking, wait_of, Table};

parking!(golib_entry_rwmutex_lock => rwmutex_lock(slf, args, n, kwnames; record) {
    // SAFETY: a method of RWMutex.
    unsafe {
        let Some([timeout]) = arguments("lock", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        let rw = core::<RwMutexCore>(slf);
        waited(record, "lock", timeout, || rw.lock(wait))
    }
});

parking!(golib_entry_rwmutex_rlock => rwmutex_rlock(slf, args, n, kwnames; record) {
    // SAFETY: a method of RWMutex.
    unsafe {
        let Some([timeout]) = arguments("rlock", &[c"timeout"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        let rw = core::<RwMutexCore>(slf);
        waited(record, "rlock", timeout, || rw.rlock(wait))
    }
});

parking!(golib_entry_rwmutex_enter => rwmutex_enter(slf, _arg; record) {
    // SAFETY: a method of RWMutex.
    unsafe {
        let rw = core::<RwMutexCore>(slf);
        entered(slf, waited(record, "lock", ptr::null_mut(), || rw.lock(Wait::Block)))
    }
});

unsafe extern "C" fn try_lock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of RWMutex.
    unsafe { obj::boolean(core::<RwMutexCore>(slf).lock(Wait::Try).is_ok()) }
}

unsafe extern "C" fn try_rlock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of RWMutex.
    unsafe { obj::boolean(core::<RwMutexCore>(slf).rlock(Wait::Try).is_ok()) }
}

/// `__exit__`: its arguments do not matter.
unsafe extern "C" fn exit(slf: Raw, _: *mut Raw, _: ffi::Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of RWMutex.
    unsafe { unlock(slf, ptr::null_mut()) }
}

unsafe extern "C" fn unlock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of RWMutex.
    unsafe {
        let rw = core::<RwMutexCore>(slf);
        done(ffi::PyExc_RuntimeError, guard(|| rw.unlock()))
    }
}

unsafe extern "C" fn runlock(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a method of RWMutex.
    unsafe {
        let rw = core::<RwMutexCore>(slf);
        done(ffi::PyExc_RuntimeError, guard(|| rw.runlock()))
    }
}

static METHODS: Table<[PyMethodDef; 9]> = Table([
    raw::keywords(
        c"lock",
        golib_entry_rwmutex_lock,
        c"lock($self, timeout=None)
--

Locks it for writing: nobody else holds it then.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held, and readers that waited only
    behind this writer go on.",
    ),
    raw::keywords(
        c"rlock",
        golib_entry_rwmutex_rlock,
        c"rlock($self, timeout=None)
--

Locks it for reading, beside other readers.

While a writer waits new readers wait behind it: one that holds it for reading must not
rlock() it again.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then it is not held.",
    ),
    raw::method(
        c"unlock",
        unlock,
        ffi::METH_NOARGS,
        c"unlock($self, /)
--

Ends writing. Any goroutine or thread may do so.

Blocks: nothing.
Raises: RuntimeError(\"sync: Unlock of unlocked RWMutex\").",
    ),
    raw::method(
        c"runlock",
        runlock,
        ffi::METH_NOARGS,
        c"runlock($self, /)
--

Ends reading, that of one reader.

Blocks: nothing.
Raises: RuntimeError(\"sync: RUnlock of unlocked RWMutex\").",
    ),
    raw::method(
        c"try_lock",
        try_lock,
        ffi::METH_NOARGS,
        c"try_lock($self, /)
--

Locks it for writing if nobody holds it; says whether it did.

Blocks: nothing.",
    ),
    raw::method(
        c"try_rlock",
        try_rlock,
        ffi::METH_NOARGS,
        c"try_rlock($self, /)
--

Locks it for reading if no writer holds it or waits; says whether it did.

Blocks: nothing.",
    ),
    raw::method(
        c"__enter__",
        golib_entry_rwmutex_enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Locks it for writing; it is unlocked at the end of the block.",
    ),
    raw::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Ends writing.",
    ),
    PyMethodDef::zeroed(),
]);

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    const DOC: &std::ffi::CStr = c"RWMutex()\n--\n\nThe core of golib.sync.RWMutex.";
    // SAFETY: the caller's duty.
    unsafe {
        make_type::<RwMutexCore>(
            c"golib._golib.RWMutex",
            DOC,
            ffi::Py_TPFLAGS_BASETYPE,
            new::<RwMutexCore>,
            &METHODS.0,
            None,
        )
    }
}
