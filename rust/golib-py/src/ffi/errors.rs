//! Exceptions: the classes of the Python layer, and how to raise them.

use std::any::Any;
use std::ffi::CStr;

use pyo3::ffi;

pub(crate) use crate::cpython::error::{fetch, restore};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Global;
use crate::ffi::python;
use crate::ffi::refs::{New, Outcome, Raised, Ref};

/// `golib.ChanClosed` and its kin, found in `golib._errors` at import.
pub(crate) static CHAN_CLOSED: Global = Global::new();
pub(crate) static SEND_ON_CLOSED: Global = Global::new();
pub(crate) static CLOSE_OF_CLOSED: Global = Global::new();
pub(crate) static CANCELLED: Global = Global::new();
pub(crate) static GOEXIT: Global = Global::new();
pub(crate) static CANCELED: Global = Global::new();
pub(crate) static DEADLINE_EXCEEDED: Global = Global::new();
/// `golib._errors.deadlock()`: makes the exception with the dump.
pub(crate) static DEADLOCK: Global = Global::new();

/// Finds the classes.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<()> {
    let names: [(&CStr, &Global); 8] = [
        (c"ChanClosed", &CHAN_CLOSED),
        (c"SendOnClosed", &SEND_ON_CLOSED),
        (c"CloseOfClosed", &CLOSE_OF_CLOSED),
        (c"Cancelled", &CANCELLED),
        (c"Goexit", &GOEXIT),
        (c"Canceled", &CANCELED),
        (c"DeadlineExceeded", &DEADLINE_EXCEEDED),
        (c"deadlock", &DEADLOCK),
    ];
    names.iter().try_for_each(|(name, global)| {
        global.fill(python::import_from(gil, c"golib._errors", name))
    })
}

/// Raises `kind(text)`.
#[cold]
#[inline(never)]
pub(crate) fn fail(gil: Gil<'_>, kind: Ref<'_>, text: &str) -> Raised {
    // SAFETY: both are alive; if the text cannot be made, that has raised.
    unsafe {
        if let Ok(text) = python::unicode(gil, text) {
            ffi::PyErr_SetObject(kind.as_raw(), text.get().as_raw());
            text.release(gil);
        }
        Raised::assume()
    }
}

/// Raises `error`, in the context of the exception that is being handled.
#[cold]
pub(crate) fn raise_instance(gil: Gil<'_>, error: New) -> Raised {
    let class = error.get().class(gil);
    // SAFETY: an exception and its class, alive.
    unsafe { ffi::PyErr_SetObject(class.as_raw(), error.get().as_raw()) };
    error.release(gil);
    // SAFETY: it was set just now.
    unsafe { Raised::assume() }
}

/// Raises SystemError for a panic of the runtime.
#[cold]
#[inline(never)]
pub(crate) fn internal(gil: Gil<'_>, payload: Box<dyn Any + Send>) -> Raised {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    fail(gil, python::system_error(), &format!("golib: internal error: {text}"))
}

/// Raises SendOnClosed.
#[cold]
#[inline(never)]
pub(crate) fn send_on_closed(gil: Gil<'_>) -> Raised {
    fail(gil, SEND_ON_CLOSED.object(), "send on closed channel")
}
