//! The handle's methods.

use go_lib::runtime::embedder::{self, WaitReason};
use pyo3::ffi;

use super::handle::Goroutine;
use super::name::name_of;
use super::python::{RENAMED, SUMMARY};
use super::unread;
use crate::bridge::main_thread;
use crate::core::context::cancel;
use crate::core::waits;
use crate::cpython::tstate;
use crate::ffi::args::{timeout_of, Args};
use crate::ffi::class::Object;
use crate::ffi::errors;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods, Properties, Property};
use crate::ffi::python::{
    boolean, call1, call2, class_name, is_error_of, is_str, none, runtime_error, text_of,
    type_error, unicode, unsigned,
};
use crate::ffi::refs::{release, New, Outcome, Raised, Ref};

entry! { JOIN: golib_entry_join => join keywords(entry, g: Goroutine, args) {
    wait_done("join", entry, g, args)?;
    unread::outcome_of(entry.gil(), g)
} }

// Waits for the end, whatever it is; nothing counts as read.
entry! { WAIT: golib_entry_goroutine_wait => wait keywords(entry, g: Goroutine, args) {
    wait_done("_wait", entry, g, args)?;
    Ok(none(entry.gil()))
} }

entry! { EXCEPTION: golib_entry_exception => exception keywords(entry, g: Goroutine, args) {
    wait_done("exception", entry, g, args)?;
    let gil = entry.gil();
    unread::is_read(gil, g);
    Ok(g.error.get(gil).unwrap_or_else(|| none(gil)))
} }

/// Waits for the end of `g`.
#[inline(always)]
fn wait_done(
    function: &'static str,
    entry: &mut Entry,
    g: &Object<Goroutine>,
    args: Args<'_>,
) -> Outcome<()> {
    let [timeout] = args.parse(entry.gil(), function, &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    if g.done.is_set() {
        return Ok(());
    }
    if embedder::current_host().cast() == g.object().as_raw() {
        return Err(own_end(entry.gil()));
    }
    loop {
        match entry.wait(|| g.done.wait(timeout.wait, WaitReason::Join))? {
            Ok(()) => return Ok(()),
            Err(error) => waits::failed(entry.gil(), error, function, timeout)?,
        }
    }
}

#[cold]
fn own_end(gil: Gil<'_>) -> Raised {
    errors::fail(gil, runtime_error(), "a goroutine cannot wait for its own end")
}

fn cancel_method(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    // SAFETY: a handle.
    unsafe { cancel::cancel_goroutine(gil, g.object().as_raw()) }.map(|did| boolean(gil, did))
}

fn is_done(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    Ok(boolean(gil, g.done.is_set()))
}

fn status_text(g: &Goroutine) -> &'static str {
    if g.done.is_set() {
        "dead"
    } else {
        g.g().status_text()
    }
}

fn status(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    unicode(gil, status_text(g))
}

/// `_ident()`: the result of `threading.get_ident()` in the goroutine.
fn ident(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    if g.is_main.get(gil.exclusive()) {
        return unsigned(gil, main_thread::ident());
    }
    // SAFETY: the token.
    unsigned(gil, unsafe { tstate::ident_of(g.g().goid()) } as u64)
}

fn header(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    unicode(gil, &g.g().header())
}

/// `_frame()`: the newest Python frame, or None.
fn frame(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    let state = g.g().state();
    if g.g().host().cast() != g.object().as_raw() || state.is_null() {
        return Ok(none(gil));
    }
    // SAFETY: while it is the payload the state is its own; the GIL keeps it from running. Null before the first run: a
    // state that another goroutine left has no frames.
    let frame = unsafe { New::nullable(ffi::PyThreadState_GetFrame(state.cast()).cast()) };
    Ok(frame.unwrap_or_else(|| none(gil)))
}

/// `stack()`: its frames as a StackSummary.
fn stack(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    let frame = frame(gil, g)?;
    // SAFETY: found before the first goroutine, and kept.
    let summary = call1(gil, unsafe { Ref::borrowed(SUMMARY.get()) }, frame.get());
    frame.release(gil);
    summary
}

/// `_origin()`: (code, line, parent's id) of the `go` that made it, or None.
fn origin(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    let Some(code) = g.origin.get(gil) else { return Ok(none(gil)) };
    let parent = g.g().created_by();
    // SAFETY: a code object; the format takes a reference of its own to it.
    let built = unsafe {
        let lasti = g.origin_lasti.get(gil.exclusive());
        let line = ffi::PyCode_Addr2Line(code.get().as_raw().cast(), lasti);
        New::made(ffi::Py_BuildValue(c"OiK".as_ptr(), code.get().as_raw(), line, parent))
    };
    code.release(gil);
    built
}

/// Its name, which is looked up when somebody asks first.
fn name(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    let x = gil.exclusive();
    if g.name.is_empty(x) {
        let function = g.function.get(gil);
        let found = function.as_ref().and_then(|function| name_of(gil, function.get()));
        release(gil, function);
        release(gil, g.name.put(x, found));
    }
    g.name.get(gil).map_or_else(|| unicode(gil, "?"), Ok)
}

fn get_id(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    unsigned(gil, g.g().goid())
}

fn rename(gil: Gil<'_>, g: &Object<Goroutine>, name: Option<Ref<'_>>) -> Outcome<()> {
    let Some(name) = name.filter(|name| is_str(gil, *name)) else {
        return Err(errors::fail(gil, type_error(), "name must be a str"));
    };
    release(gil, g.name.put(gil.exclusive(), Some(name.own(gil))));
    // A handle exists only after the start, which has found the function. SAFETY: and it is kept.
    let told = call2(gil, unsafe { Ref::borrowed(RENAMED.get()) }, g.object(), name)?;
    told.release(gil);
    Ok(())
}

/// Its status; of one that has not ended with a value, also how.
fn state_text(gil: Gil<'_>, g: &Goroutine) -> String {
    let status = status_text(g);
    let Some(error) = g.error.get(gil).filter(|_| g.done.is_set()) else {
        return status.to_owned();
    };
    // SAFETY: found at import, and kept.
    let cancelled = unsafe { Ref::borrowed(errors::CANCELLED.get()) };
    let text = if is_error_of(gil, error.get(), cancelled) {
        format!("{status}: cancelled")
    } else {
        let class = class_name(gil, error.get());
        format!("{status}: raised {}", class.rsplit('.').next().unwrap_or(&class))
    };
    error.release(gil);
    text
}

pub(super) fn repr(gil: Gil<'_>, g: &Object<Goroutine>) -> Outcome<New> {
    let name = name(gil, g)?;
    let text = format!(
        "<goroutine {} [{}] {}>",
        g.g().goid(),
        state_text(gil, g),
        text_of(gil, name.get())
    );
    name.release(gil);
    unicode(gil, &text)
}

const JOIN_DOC: &std::ffi::CStr = c"join($self, timeout=None)
--

Waits for the end of the goroutine and returns its value, or raises its exception.

After goexit() the value is None. Go has no such handle; there one uses a channel.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: what the goroutine raised (the same object each time); TimeoutError after
    timeout; RuntimeError in the goroutine itself.

>>> golib.go(pow, 2, 10).join()
1024";

pub(super) static METHODS: Methods<Goroutine, 14> = Methods([
    Method::parks(c"join", JOIN, JOIN_DOC),
    Method::parks(
        c"result",
        JOIN,
        c"result($self, timeout=None)
--

The same as join().",
    ),
    Method::parks(
        c"exception",
        EXCEPTION,
        c"exception($self, timeout=None)
--

Waits for the end of the goroutine; the exception that ended it, or None.

An exception that was read here or by join() is not reported as uncaught.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less only looks, None waits for ever.
Raises: TimeoutError after timeout.

>>> golib.go(int, 'x').exception()
ValueError(\"invalid literal for int() with base 10: 'x'\")",
    ),
    Method::parks(
        c"_wait",
        WAIT,
        c"_wait($self, timeout=None)
--

Waits for its end, without reading its exception.",
    ),
    Method::noargs(
        c"done",
        is_done,
        c"done($self, /)
--

True once it has ended.

>>> g = golib.go(int)
>>> g.join(), g.done()
(0, True)",
    ),
    Method::noargs(
        c"cancel",
        cancel_method,
        c"cancel($self, /)
--

Has Cancelled raised in it, where it waits in a golib operation or when it next would.

Every later operation that would wait raises it again; in `with golib.shield():` none does. It
is not interrupted in the middle of Python code or of another C call. A goroutine that ends by
Cancelled is not reported, and join() raises it. Go has nothing like it; there one cancels a
context.

Returns: False if it has ended already.
Blocks: nothing.

>>> g = golib.go(golib.Chan().recv)
>>> g.cancel()
True
>>> g.join()
Traceback (most recent call last):
golib.Cancelled: context canceled",
    ),
    Method::noargs(
        c"status",
        status,
        c"status($self, /)
--

What it does: 'running', 'runnable', 'dead', or what it waits for in Go's words.

>>> g = golib.go(int)
>>> g.join(), g.status()
(0, 'dead')",
    ),
    Method::noargs(
        c"stack",
        stack,
        c"stack($self, /)
--

Its Python frames, the oldest first, as a traceback.StackSummary; empty once it has ended.

>>> ch = golib.Chan()
>>> g = golib.go(lambda: ch.recv())
>>> golib.sleep(0.1)
>>> [frame.name for frame in g.stack()]
['<lambda>']
>>> ch.send(None)",
    ),
    Method::noargs(
        c"_ident",
        ident,
        c"_ident($self, /)
--

What threading.get_ident() gives in it.",
    ),
    Method::noargs(
        c"_header",
        header,
        c"_header($self, /)
--

The first line of its dump.",
    ),
    Method::noargs(
        c"_frame",
        frame,
        c"_frame($self, /)
--

Its newest Python frame, or None.",
    ),
    Method::noargs(
        c"_origin",
        origin,
        c"_origin($self, /)
--

(code, line, goroutine) of the go() that made it, or None.",
    ),
    Method::CLASS_GETITEM,
    Method::END,
]);

pub(super) static PROPERTIES: Properties<Goroutine, 3> = Properties([
    Property::new(c"id", get_id, c"Its number: unique in the process, from 1."),
    Property::new(
        c"name",
        name,
        c"Its name, that of its function unless spawn() or an assignment gave it another.",
    )
    .set_by(rename),
    Property::END,
]);
