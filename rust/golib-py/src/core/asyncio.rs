//! The types' awaitables for asyncio, made by `golib._asyncio`, which the first of them imports.
//!
//! Nothing here waits: a coroutine waits in its event loop.

use std::ffi::CStr;

use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::Method;
use crate::ffi::obj::Global;
use crate::ffi::python::{call1, call2, import_from};
use crate::ffi::refs::{New, Outcome, Ref};

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

    /// The function itself.
    fn get(&self, gil: Gil<'_>) -> Outcome<Ref<'static>> {
        if self.function.get().is_null() {
            self.function.fill(import_from(gil, c"golib._asyncio", self.name))?;
        }
        Ok(self.function.object())
    }
}

fn asend<T>(gil: Gil<'_>, slf: &Object<T>, value: Ref<'_>) -> Outcome<New> {
    call2(gil, ASEND.get(gil)?, slf.object(), value)
}

fn arecv<T>(gil: Gil<'_>, slf: &Object<T>) -> Outcome<New> {
    call1(gil, ARECV.get(gil)?, slf.object())
}

/// `__aiter__`.
pub(crate) fn aiter<T>(gil: Gil<'_>, slf: &Object<T>) -> Outcome<New> {
    Ok(slf.object().own(gil))
}

/// `__anext__`.
pub(crate) fn anext<T>(gil: Gil<'_>, slf: &Object<T>) -> Outcome<New> {
    call1(gil, ANEXT.get(gil)?, slf.object())
}

/// `Goroutine.__await__`.
pub(crate) fn await_<T>(gil: Gil<'_>, slf: &Object<T>) -> Outcome<New> {
    call1(gil, AWAIT.get(gil)?, slf.object())
}

/// The method `asend`.
pub(crate) const fn asend_method<T: 'static>() -> Method<T> {
    Method::one(c"asend", asend::<T>, ASEND_DOC)
}

const ASEND_DOC: &CStr = c"asend($self, value, /)
--

send() for a coroutine: to be awaited in asyncio. The channel is the same for both worlds.

Blocks: the task. From any event loop, in any thread or goroutine.
Raises: SendOnClosed.
Cancel: a task that is cancelled before the value was sent has not sent it. If it had been sent
    already, the task goes on, and is cancelled at its next await.
Cost: nothing special if it need not wait; else a goroutine.";

/// The method `arecv`.
pub(crate) const fn arecv_method<T: 'static>() -> Method<T> {
    Method::noargs(c"arecv", arecv::<T>, ARECV_DOC)
}

const ARECV_DOC: &CStr = c"arecv($self, /)
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
'x'";
