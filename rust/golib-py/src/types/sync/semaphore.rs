//! `golib.sync.Semaphore`.

use std::os::raw::c_void;
use std::ptr;

use go_lib::runtime::embedder::{SemaphoreCore, Wait};
use pyo3::ffi::{self, PyGetSetDef, PyMethodDef, PyTypeObject};

use super::object::{core, done, entered, make, make_type, waited};
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{self, arguments, guard, parking, wait_of, Record, Table};

/// `Semaphore(n)`.
unsafe extern "C" fn new(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new: a tuple, and a dict or null.
    unsafe {
        let mut size: Raw = ptr::null_mut();
        let names = [c"n".as_ptr(), ptr::null()];
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"O:Semaphore".as_ptr(),
            names.as_ptr().cast_mut().cast(),
            &mut size,
        );
        if parsed == 0 {
            return ptr::null_mut();
        }
        let Some(size) = raw::integer_of(size) else { return ptr::null_mut() };
        if size < 0 {
            return errors::raise(
                ffi::PyExc_ValueError,
                "the number of permits must not be negative",
            );
        }
        make(class, SemaphoreCore::new(size as usize))
    }
}

/// How many permits are meant (null: one); None: an exception is set.
unsafe fn permits(n: Raw) -> Option<usize> {
    // SAFETY: the GIL is held.
    unsafe {
        let n = if n.is_null() { 1 } else { raw::integer_of(n)? };
        if n < 1 {
            errors::set(ffi::PyExc_ValueError, "n must be at least 1");
            return None;
        }
        Some(n as usize)
    }
}

/// Takes permits that may come; null with an exception set.
#[inline(always)]
unsafe fn acquire(slf: Raw, n: usize, wait: Wait, timeout: Raw, record: Record) -> Raw {
    // SAFETY: a method of Semaphore.
    unsafe {
        let semaphore = core::<SemaphoreCore>(slf);
        if n > semaphore.size() {
            let text = format!("semaphore: {n} of {} permits wished", semaphore.size());
            return errors::raise(ffi::PyExc_ValueError, &text);
        }
        waited(record, "acquire", timeout, || semaphore.acquire(n, wait))
    }
}

parking!(golib_entry_semaphore_acquire => semaphore_acquire(slf, args, n, kwnames; record) {
    // SAFETY: a method of Semaphore.
    unsafe {
        let names = [c"n", c"timeout"];
        let Some([wished, timeout]) = arguments("acquire", &names, 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wished) = permits(wished) else { return ptr::null_mut() };
        let Some(wait) = wait_of(timeout) else { return ptr::null_mut() };
        acquire(slf, wished, wait, timeout, record)
    }
});

parking!(golib_entry_semaphore_enter => semaphore_enter(slf, _arg; record) {
    // SAFETY: a method of Semaphore.
    unsafe {
        entered(slf, acquire(slf, 1, Wait::Block, ptr::null_mut(), record))
    }
});

unsafe extern "C" fn try_acquire(
    slf: Raw,
    args: *const Raw,
    n: ffi::Py_ssize_t,
    kwnames: Raw,
) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Semaphore.
    unsafe {
        let Some([wished]) = arguments("try_acquire", &[c"n"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(wished) = permits(wished) else { return ptr::null_mut() };
        obj::boolean(core::<SemaphoreCore>(slf).acquire(wished, Wait::Try).is_ok())
    }
}

unsafe fn give_back(slf: Raw, n: usize) -> Raw {
    // SAFETY: a method of Semaphore.
    unsafe {
        let semaphore = core::<SemaphoreCore>(slf);
        done(ffi::PyExc_ValueError, guard(|| semaphore.release(n)))
    }
}

unsafe extern "C" fn release(slf: Raw, args: *const Raw, n: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Semaphore.
    unsafe {
        let Some([given]) = arguments("release", &[c"n"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        match permits(given) {
            Some(given) => give_back(slf, given),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn exit(slf: Raw, _: *mut Raw, _: ffi::Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL method of Semaphore.
    unsafe { give_back(slf, 1) }
}

unsafe extern "C" fn get_n(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Semaphore.
    unsafe { ffi::PyLong_FromSize_t(core::<SemaphoreCore>(slf).size()) }
}

unsafe extern "C" fn get_free(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Semaphore.
    unsafe { ffi::PyLong_FromSize_t(core::<SemaphoreCore>(slf).free()) }
}

static METHODS: Table<[PyMethodDef; 6]> = Table([
    raw::keywords(
        c"acquire",
        golib_entry_semaphore_acquire,
        c"acquire($self, n=1, timeout=None)
--

Takes n permits. Nobody overtakes: a large wish is not starved by small ones.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; then none is held. ValueError if n is below 1, or
    more than there are (Go's waits for ever).",
    ),
    raw::keywords(
        c"try_acquire",
        try_acquire,
        c"try_acquire($self, n=1)
--

Takes n permits if they are free and nobody waits; says whether it did.

Blocks: nothing.
Raises: ValueError if n is below 1.",
    ),
    raw::keywords(
        c"release",
        release,
        c"release($self, n=1)
--

Gives n permits back. Any goroutine or thread may do so.

Blocks: nothing.
Raises: ValueError(\"semaphore: released more than held\"), or if n is below 1; then
    nothing has changed.",
    ),
    raw::method(
        c"__enter__",
        golib_entry_semaphore_enter,
        ffi::METH_NOARGS,
        c"__enter__($self, /)
--

Takes one permit; it is given back at the end of the block.",
    ),
    raw::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Gives one permit back.",
    ),
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[PyGetSetDef; 3]> = Table([
    raw::property(c"n", get_n, c"How many permits there are."),
    raw::property(c"free", get_free, c"How many are free now."),
    raw::END_OF_PROPERTIES,
]);

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(super) unsafe fn init() -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        make_type::<SemaphoreCore>(
            c"golib.sync.Semaphore",
            DOC,
            0,
            new,
            &METHODS.0,
            Some(&PROPERTIES),
        )
    }
}

const DOC: &std::ffi::CStr = c"Semaphore(n)
--

n permits, taken one or several at a time, first come, first served: Go's
golang.org/x/sync/semaphore.

It has no owner: any goroutine may give a permit back, but not more than are held.
`with semaphore:` takes one.

>>> three_at_a_time = golib.sync.Semaphore(3)
>>> with three_at_a_time:
...     three_at_a_time.try_acquire(3)
False";
