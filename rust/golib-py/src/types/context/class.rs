//! The class `golib.context.Context`.
//!
//! Go: context/context.go (Context)

use std::ffi::CStr;

use crate::core::context::entry::Block;
use crate::core::context::node::{
    checked, text_of, Context, Kind, Why, BACKGROUND, CONTEXT, NO_DEADLINE, TODO,
};
use crate::core::context::{ambient, tree};
use crate::ffi::args::Args;
use crate::ffi::args::NS;
use crate::ffi::class::Object;
use crate::ffi::errors;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{Method, Methods, Module, Properties, Property};
use crate::ffi::python::{boolean, call0, equals, float, none, runtime_error, unicode};
use crate::ffi::refs::{release, New, Outcome, Raised, Ref};
use crate::ffi::spec::TypeSpec;
use crate::types::chan::{self, ends};

/// `done()`: a view that keeps the context alive, which in turn keeps whatever will end it.
fn done(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    let x = gil.exclusive();
    let Some(node) = slf.node(x) else {
        return match chan::nil(gil) {
            Some(nil) => ends::receiver_of(gil, nil, slf.object()),
            None => Ok(none(gil)),
        };
    };
    if node.done.is_empty(x) {
        let channel = chan::make(gil, chan::CHAN.get(gil)?, 0)?.into_new();
        // Python code may have run meanwhile and made one.
        if node.done.is_empty(x) {
            release(gil, node.done.put(x, Some(channel)));
            node.close.set(x, Some(close));
            if node.has_ended(x) {
                release_after(gil, node.done.get(gil), close);
            }
        } else {
            channel.release(gil);
        }
    }
    let channel = node.done.get(gil).unwrap_or_else(|| none(gil));
    let view = match chan::CHAN.cast(gil, channel.get()) {
        Some(chan) => ends::receiver_of(gil, chan, slf.object()),
        None => Ok(none(gil)),
    };
    channel.release(gil);
    view
}

/// Calls `act` with the object, then drops the object.
fn release_after(gil: Gil<'_>, object: Option<New>, act: fn(Gil<'_>, Ref<'_>)) {
    if let Some(object) = object {
        act(gil, object.get());
        object.release(gil);
    }
}

/// Closes the channel that `done()` has made.
fn close(gil: Gil<'_>, channel: Ref<'_>) {
    let chan = chan::CHAN.cast(gil, channel);
    if let Some(h) = chan.and_then(|chan| chan.face.hchan(gil)) {
        let _ = guard(gil, || h.close());
    }
}

/// `err()`, which returns the same object each time.
fn err(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    let x = gil.exclusive();
    let (Some(node), Some(why)) = (slf.node(x), slf.why_done(x)) else { return Ok(none(gil)) };
    if node.error.is_empty(x) {
        let class = match why {
            Why::DeadlineExceeded => &errors::DEADLINE_EXCEEDED,
            Why::Alive | Why::Canceled => &errors::CANCELED,
        };
        // SAFETY: found at import, and kept.
        let error = call0(gil, unsafe { Ref::borrowed(class.get()) })?;
        // Python code may have run meanwhile and made one.
        if node.error.is_empty(x) {
            release(gil, node.error.put(x, Some(error)));
        } else {
            error.release(gil);
        }
    }
    Ok(node.error.get(gil).unwrap_or_else(|| none(gil)))
}

/// `golib.context.cause(ctx)`.
fn cause(gil: Gil<'_>, _: &Object<Module>, ctx: Ref<'_>) -> Outcome<New> {
    let ctx = checked(gil, ctx)?;
    let node = ctx.node(gil.exclusive()).filter(|node| node.has_ended(gil.exclusive()));
    match node.and_then(|node| node.cause.get(gil)) {
        Some(cause) => Ok(cause),
        None => err(gil, ctx),
    }
}

/// The function `cause`.
pub(super) const CAUSE: Method<Module> = Method::one(c"cause", cause, CAUSE_DOC);

fn deadline(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    match slf.deadline_ns.get(gil.exclusive()) {
        NO_DEADLINE => Ok(none(gil)),
        ns => float(gil, ns as f64 / NS),
    }
}

fn is_done(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    Ok(boolean(gil, slf.is_done(gil.exclusive())))
}

/// `value(key)`. A comparison may run any code; it is safe because each context holds its parent.
fn value(gil: Gil<'_>, slf: &Object<Context>, key: Ref<'_>) -> Outcome<New> {
    let x = gil.exclusive();
    let mut at = slf;
    loop {
        if at.kind == Kind::Value {
            let own = at.key.get(gil).unwrap_or_else(|| none(gil));
            let is_it = equals(gil, own.get(), key);
            own.release(gil);
            if is_it? {
                return Ok(at.value.get(gil).unwrap_or_else(|| none(gil)));
            }
        }
        match at.parent(x) {
            Some(parent) => at = parent,
            None => return Ok(none(gil)),
        }
    }
}

/// `__enter__`. A context may be entered many times, and by many goroutines at once.
fn enter(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    // Nothing keeps the block: `__exit__` looks for it.
    let _ = ambient::push(gil, slf.object().own(gil), Block::Context).into_raw();
    Ok(slf.object().own(gil))
}

/// `__exit__`.
fn exit(gil: Gil<'_>, slf: &Object<Context>, _: Args<'_>) -> Outcome<New> {
    match ambient::block_of(gil, slf) {
        Some(block) => {
            ambient::pop(gil, block);
            Ok(boolean(gil, false))
        }
        None => Err(not_ambient(gil)),
    }
}

#[cold]
fn not_ambient(gil: Gil<'_>) -> Raised {
    errors::fail(gil, runtime_error(), "this context is not ambient")
}

fn repr(gil: Gil<'_>, slf: &Object<Context>) -> Outcome<New> {
    let x = gil.exclusive();
    let kind = match slf.kind {
        Kind::Background => "background",
        Kind::Todo => "todo",
        Kind::Cancel if slf.deadline_ns.get(x) != NO_DEADLINE => "with_deadline",
        Kind::Cancel | Kind::AfterFunc => "with_cancel",
        Kind::Value => "with_value",
        Kind::WithoutCancel => "without_cancel",
    };
    let state = slf.why_done(x).map_or(String::new(), |why| format!(": {}", text_of(why)));
    let at = slf.object().as_raw();
    unicode(gil, &format!("<golib.context.Context {kind}{state} at {at:p}>"))
}

static METHODS: Methods<Context, 7> = Methods([
    Method::noargs(
        c"done",
        done,
        c"done($self, /)
--

A channel that is closed when the context is done; golib.nil's if that never happens.

The channels of two calls are equal. Each keeps the context alive.

Blocks: nothing.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> cancel()
>>> golib.select(ctx.done())
Selected(index=0, value=None, ok=False)",
    ),
    Method::noargs(
        c"err",
        err,
        c"err($self, /)
--

Why it is done: a Canceled, a DeadlineExceeded, or None while it is not. Not raised, given.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> ctx.err(), cancel(), ctx.err()
(None, None, Canceled('context canceled'))",
    ),
    Method::noargs(
        c"deadline",
        deadline,
        c"deadline($self, /)
--

When it will be done at the latest; None without a deadline.

Units: seconds of time.monotonic().",
    ),
    Method::one(
        c"value",
        value,
        c"value($self, key, /)
--

What with_value() left for an equal key, here or above; None if nothing did.

Cost: O(depth).

>>> ctx = golib.context.with_value(golib.context.background(), 'user', 'gopher')
>>> ctx.value('user'), ctx.value('colour')
('gopher', None)",
    ),
    Method::noargs(
        c"__enter__",
        enter,
        c"__enter__($self, /)
--

Makes it ambient for the block: golib operations in it raise Cancelled once it is done.",
    ),
    Method::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, *exc)
--

Ends the block; Cancelled passes through.",
    ),
    Method::END,
]);

static PROPERTIES: Properties<Context, 2> = Properties([
    Property::new(c"is_done", is_done, c"True once it is cancelled or its deadline has passed."),
    Property::END,
]);

/// Makes the type and the roots. Called once.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    let class = TypeSpec::<Context>::new(c"golib.context.Context", DOC)
        .without_constructor()
        .repr(repr)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &CONTEXT)?;
    for (global, kind) in [(&BACKGROUND, Kind::Background), (&TODO, Kind::Todo)] {
        global.set(tree::make_root(gil, kind)?.into_new().give());
    }
    Ok(class)
}

const DOC: &std::ffi::CStr =
    c"A deadline, a signal that work is no longer wanted, and values, for a tree of calls.

Made by the functions of golib.context. In `with ctx:` it is ambient: every golib operation
that would wait raises Cancelled once it is done.

Go: context.Context

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> def work():
...     with ctx:
...         golib.Chan().recv()
>>> g = golib.go(work)
>>> cancel()
>>> try:
...     g.join()
... except golib.Cancelled as error:
...     print(error)
context canceled";

const CAUSE_DOC: &CStr = c"cause($module, ctx, /)
--

Why ctx is done: the cause that was given to the cancel function or the deadline, else err().

>>> golib.context.cause(golib.context.background()) is None
True";
