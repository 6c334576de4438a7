//! The types' awaitables for asyncio, made by `golib._asyncio`, which the first of them imports.
//!
//! Nothing here waits: a coroutine waits in its event loop.

use std::ffi::CStr;
use std::ptr;

use pyo3::ffi::{self, PyMethodDef, PyObject};

use crate::ffi::obj::{Global, Raw};
use crate::ffi::raw::method;

/// A function of `golib._asyncio`.
struct Helper {
    name: &'static CStr,
    function: Global,
}

static ASEND: Helper = Helper::new(c"asend");
static ARECV: Helper = Helper::new(c"arecv");
static ANEXT: Helper = Helper::new(c"anext_");
static AWAIT: Helper = Helper::new(c"await_");

impl Helper {
    const fn new(name: &'static CStr) -> Helper {
        Helper { name, function: Global::new() }
    }

    /// Calls it with one argument, or two if the second is not null; null with an exception set.
    unsafe fn call(&self, first: Raw, second: Raw) -> Raw {
        // SAFETY: the GIL is held; the arguments are alive.
        unsafe {
            if self.function.get().is_null() {
                let module = ffi::PyImport_ImportModule(c"golib._asyncio".as_ptr());
                if module.is_null() {
                    return module;
                }
                self.function.set(ffi::PyObject_GetAttrString(module, self.name.as_ptr()));
                ffi::Py_DECREF(module);
            }
            if self.function.get().is_null() {
                return ptr::null_mut();
            }
            ffi::PyObject_CallFunctionObjArgs(
                self.function.get(),
                first,
                second,
                ptr::null_mut::<PyObject>(),
            )
        }
    }
}

unsafe extern "C" fn asend(slf: Raw, value: Raw) -> Raw {
    // SAFETY: a METH_O method of a type that can be sent to.
    unsafe { ASEND.call(slf, value) }
}

unsafe extern "C" fn arecv(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method of a type that can be received from.
    unsafe { ARECV.call(slf, ptr::null_mut()) }
}

/// `__aiter__`.
pub(crate) unsafe extern "C" fn aiter(slf: Raw) -> Raw {
    // SAFETY: a slot.
    unsafe { ffi::Py_INCREF(slf) };
    slf
}

/// `__anext__`.
pub(crate) unsafe extern "C" fn anext(slf: Raw) -> Raw {
    // SAFETY: a slot of a type that can be received from.
    unsafe { ANEXT.call(slf, ptr::null_mut()) }
}

/// `Goroutine.__await__`.
pub(crate) unsafe extern "C" fn await_(slf: Raw) -> Raw {
    // SAFETY: a slot of Goroutine.
    unsafe { AWAIT.call(slf, ptr::null_mut()) }
}

/// The method `asend`.
pub(crate) const ASEND_METHOD: PyMethodDef = method(
    c"asend",
    asend,
    ffi::METH_O,
    c"asend($self, value, /)
--

send() for a coroutine: to be awaited in asyncio. The channel is the same for both worlds.

Blocks: the task. From any event loop, in any thread or goroutine.
Raises: SendOnClosed.
Cancel: a task that is cancelled before the value was sent has not sent it. If it had been sent
    already, the task goes on, and is cancelled at its next await.
Cost: nothing special if it need not wait; else a goroutine.",
);

/// The method `arecv`.
pub(crate) const ARECV_METHOD: PyMethodDef = method(
    c"arecv",
    arecv,
    ffi::METH_NOARGS,
    c"arecv($self, /)
--

recv() for a coroutine: to be awaited in asyncio; `async for` receives until the end.

Blocks: the task. From any event loop, in any thread or goroutine.
Raises: ChanClosed once the channel is closed and drained.
Cancel: as asend(): no value is lost.
Cost: nothing special if it need not wait; else a goroutine.

>>> import asyncio
>>> ch = golib.Chan()
>>> g = golib.go(ch.send, 'x')
>>> async def main():
...     return await ch.arecv()
>>> asyncio.run(main())
'x'",
);
