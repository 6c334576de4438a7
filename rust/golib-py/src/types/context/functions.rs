//! The functions of `golib.context`, and the callables that they return.

use std::ffi::CStr;
use std::mem::offset_of;

use super::class;
use crate::core::context::node::{background, checked, todo, Context, Kind, Why, NO_DEADLINE};
use crate::core::context::{ambient, cancel, tree};
use crate::core::goroutine::check_function;
use crate::ffi::args::{deadline_after, NS};
use crate::ffi::args::{seconds_of, Args};
use crate::ffi::class::{Class, Object, TypeCell, Visitor};
use crate::ffi::containers::{tuple, tuple_of};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::python::{boolean, is_exception, none, type_error};
use crate::ffi::refs::{release, Held, New, Outcome, Ref};
use crate::ffi::spec::{Call, TypeSpec};

/// A callable's action.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Does {
    /// `cancel()`.
    Cancel,
    /// `cancel(cause=None)`.
    CancelCause,
    /// `stop()` of a registered function.
    Stop,
}

/// A callable that `with_cancel`, `after_func` and similar functions return.
struct Function {
    call: Call<Function>,
    /// The context that it acts on.
    ctx: Held,
    does: Does,
}

static CANCEL_FUNC: TypeCell<Function> = TypeCell::new();
static STOP_FUNC: TypeCell<Function> = TypeCell::new();

impl Class for Function {
    const COLLECTED: bool = true;

    fn visit(&self, visitor: &mut Visitor) {
        visitor.held(&self.ctx);
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        // SAFETY: the callable is being freed.
        unsafe { slf.ctx.end(gil) };
    }
}

/// Makes a callable that acts on `ctx`.
fn make_function(gil: Gil<'_>, ctx: Ref<'_>, does: Does) -> Outcome<New> {
    let class = if does == Does::Stop { &STOP_FUNC } else { &CANCEL_FUNC };
    let fields = Function { call: Call::by(call), ctx: Held::new(ctx.own(gil)), does };
    // SAFETY: if there is no memory for the callable, this is the field's end.
    let made = class.get(gil)?.make_or(gil, fields, |f| unsafe { f.ctx.end(gil) });
    Ok(made?.into_new())
}

fn call(gil: Gil<'_>, function: &Object<Function>, args: Args<'_>) -> Outcome<New> {
    do_it(gil, checked(gil, function.ctx.get())?, function.does, args)
}

/// Performs the callable's action.
fn do_it(gil: Gil<'_>, ctx: &Object<Context>, does: Does, args: Args<'_>) -> Outcome<New> {
    let mut cause = None;
    if does == Does::CancelCause {
        let [given] = args.parse(gil, "cancel", &[c"cause"], 0)?;
        cause = cause_of(gil, given)?;
    } else if args.len() > 0 || !args.has_no_names() {
        let name = if does == Does::Stop { "stop" } else { "cancel" };
        let text = format!("{name}() takes no arguments");
        return Err(errors::fail(gil, type_error(), &text));
    }
    if does == Does::Stop {
        return Ok(boolean(gil, tree::stop_after_func(gil, ctx)));
    }
    cancel::cancel(gil, ctx, Why::Canceled, cause);
    Ok(none(gil))
}

/// Checks an optional `cause` argument.
fn cause_of<'a>(gil: Gil<'_>, given: Option<Ref<'a>>) -> Outcome<Option<Ref<'a>>> {
    match given.filter(|given| !given.is_none()) {
        Some(given) if !is_exception(gil, given) => {
            Err(errors::fail(gil, type_error(), "cause must be an exception or None"))
        }
        given => Ok(given),
    }
}

/// Makes the pair `(ctx, function)`. Takes `ctx` over.
fn pair(gil: Gil<'_>, ctx: New, does: Does) -> Outcome<New> {
    let made = make_function(gil, ctx.get(), does).and_then(|function| {
        let pair = tuple(gil, [ctx.get(), function.get()]);
        function.release(gil);
        pair
    });
    ctx.release(gil);
    made
}

fn get_background(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(background().object().own(gil))
}

fn get_todo(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(todo().object().own(gil))
}

fn current(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    ambient::innermost(gil)
}

fn with_cancel(gil: Gil<'_>, _: &Object<Module>, parent: Ref<'_>) -> Outcome<New> {
    pair(gil, tree::make_cancel(gil, checked(gil, parent)?)?.into_new(), Does::Cancel)
}

fn with_cancel_cause(gil: Gil<'_>, _: &Object<Module>, parent: Ref<'_>) -> Outcome<New> {
    pair(gil, tree::make_cancel(gil, checked(gil, parent)?)?.into_new(), Does::CancelCause)
}

fn without_cancel(gil: Gil<'_>, _: &Object<Module>, parent: Ref<'_>) -> Outcome<New> {
    Ok(tree::make(gil, Kind::WithoutCancel, checked(gil, parent)?)?.into_new())
}

/// The body of both functions with a deadline; `when` computes the deadline from the number given.
fn with_when(
    gil: Gil<'_>,
    name: &'static str,
    number: &'static CStr,
    args: Args<'_>,
    when: fn(f64) -> i64,
) -> Outcome<New> {
    let names = [c"parent", number, c"cause"];
    let [Some(parent), Some(given), cause] = args.parse(gil, name, &names, 2)? else {
        return Err(errors::fail(gil, type_error(), "a parent and a number are needed"));
    };
    let parent = checked(gil, parent)?;
    let seconds = seconds_of(gil, given)?;
    let cause = cause_of(gil, cause)?;
    pair(gil, cancel::make_deadline(gil, parent, when(seconds), cause)?, Does::Cancel)
}

/// The deadline this many seconds from now; in the past for 0 or less.
pub(super) fn after_seconds(seconds: f64) -> i64 {
    deadline_after(seconds).unwrap_or(NO_DEADLINE)
}

/// The deadline at this time of the monotonic clock. The cast saturates, at the top to `NO_DEADLINE`.
fn at_seconds(seconds: f64) -> i64 {
    (seconds * NS) as i64
}

fn with_timeout(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    with_when(gil, "with_timeout", c"seconds", args, after_seconds)
}

fn with_deadline(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    with_when(gil, "with_deadline", c"monotonic_seconds", args, at_seconds)
}

fn with_value(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let names = [c"parent", c"key", c"value"];
    let [Some(parent), Some(key), Some(value)] = args.parse(gil, "with_value", &names, 3)? else {
        return Err(errors::fail(gil, type_error(), "a parent, a key and a value are needed"));
    };
    let c = tree::make(gil, Kind::Value, checked(gil, parent)?)?;
    let x = gil.exclusive();
    release(gil, c.key.put(x, Some(key.own(gil))));
    release(gil, c.value.put(x, Some(value.own(gil))));
    Ok(c.into_new())
}

fn after_func(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [parent, function, rest @ ..] = args.positional() else {
        let text = "after_func() takes a context, a function and its arguments";
        return Err(errors::fail(gil, type_error(), text));
    };
    let parent = checked(gil, *parent)?;
    check_function(gil, *function)?;
    let node = cancel::make_after_func(gil, parent, *function, tuple_of(gil, rest)?)?;
    let stop = make_function(gil, node.get(), Does::Stop);
    node.release(gil);
    stop
}

/// The functions of `golib.context`, which are functions of our module.
pub(crate) static FUNCTIONS: Methods<Module, 12> = Methods([
    Method::noargs(c"background", get_background, BACKGROUND_DOC),
    Method::noargs(c"todo", get_todo, TODO_DOC),
    Method::noargs(c"current", current, CURRENT_DOC),
    Method::one(c"with_cancel", with_cancel, WITH_CANCEL_DOC),
    Method::one(c"with_cancel_cause", with_cancel_cause, WITH_CANCEL_CAUSE_DOC),
    Method::keywords(c"with_timeout", with_timeout, WITH_TIMEOUT_DOC),
    Method::keywords(c"with_deadline", with_deadline, WITH_DEADLINE_DOC),
    Method::keywords(c"with_value", with_value, WITH_VALUE_DOC),
    Method::one(c"without_cancel", without_cancel, WITHOUT_CANCEL_DOC),
    Method::fast(c"after_func", after_func, AFTER_FUNC_DOC),
    class::CAUSE,
    Method::END,
]);

/// Makes the callables' types. Called once.
pub(super) fn init(gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 2]> {
    let make = |name, doc, cell| {
        let spec = TypeSpec::new(name, doc).without_constructor();
        // SAFETY: the field is there.
        unsafe { spec.callable(offset_of!(Function, call)) }.make(gil, cell)
    };
    let (cancel, stop) = (c"golib.context.CancelFunc", c"golib.context.StopFunc");
    let cancel_doc = c"The handles that cancel a context. May be called again.";
    let stop_doc =
        c"What after_func() returns: True if it has kept the function from being called.";
    Ok([
        (c"CancelFunc", make(cancel, cancel_doc, &CANCEL_FUNC)?),
        (c"StopFunc", make(stop, stop_doc, &STOP_FUNC)?),
    ])
}

const BACKGROUND_DOC: &CStr = c"background($module, /)
--

The root of all contexts: never done, no values, no deadline.

>>> golib.context.background().is_done
False";

const TODO_DOC: &CStr = c"todo($module, /)
--

background() for where it is not yet clear which context to use.

>>> golib.context.todo().err() is None
True";

const CURRENT_DOC: &CStr = c"current($module, /)
--

The innermost ambient context: that of the `with ctx:`, timeout, scope or shield around the call.

Outside of all of them it is the goroutine's own, which Goroutine.cancel() cancels, and on an
ordinary thread background(). Go has no ambient contexts.

>>> with golib.timeout(10) as ctx:
...     golib.context.current() is ctx
True";

const WITH_CANCEL_DOC: &CStr = c"with_cancel($module, parent, /)
--

A context under parent, and a function that cancels it and everything under it.

Calling cancel again does nothing. A context that nobody uses any more is collected, whether
it was cancelled or not; in Go it stays until its parent is done.

Blocks: nothing.
Raises: TypeError if parent is no Context.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> cancel()
>>> ctx.err()
Canceled('context canceled')";

const WITH_CANCEL_CAUSE_DOC: &CStr = c"with_cancel_cause($module, parent, /)
--

with_cancel() whose cancel takes the cause, an exception that cause(ctx) then gives.

>>> ctx, cancel = golib.context.with_cancel_cause(golib.context.background())
>>> cancel(KeyError('x'))
>>> golib.context.cause(ctx)
KeyError('x')";

const WITH_TIMEOUT_DOC: &CStr = c"with_timeout($module, parent, seconds, cause=None)
--

A context under parent that is done after so many seconds, and a function that cancels it before.

The deadline is a timer of the runtime, not a goroutine; cancelling leaves nothing of it.

Blocks: nothing.
Units: seconds; 0 or less is done at once, inf never.
Raises: TypeError; ValueError for nan.

>>> ctx, cancel = golib.context.with_timeout(golib.context.background(), 0.001)
>>> ctx.done().recv_ok()
(None, False)
>>> ctx.err()
DeadlineExceeded('context deadline exceeded')";

const WITH_DEADLINE_DOC: &CStr = c"with_deadline($module, parent, monotonic_seconds, cause=None)
--

with_timeout() that ends at a time of time.monotonic().

>>> import time
>>> at = time.monotonic() + 10
>>> ctx, cancel = golib.context.with_deadline(golib.context.background(), at)
>>> abs(ctx.deadline() - at) < 1e-6
True
>>> cancel()";

const WITH_VALUE_DOC: &CStr = c"with_value($module, parent, key, value)
--

A context under parent in which value(key) is value.

For what belongs to a request and crosses APIs, not for optional parameters.

>>> ctx = golib.context.with_value(golib.context.background(), 'user', 'gopher')
>>> ctx.value('user')
'gopher'";

const WITHOUT_CANCEL_DOC: &CStr = c"without_cancel($module, parent, /)
--

A context with parent's values that is not done when parent is.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> free = golib.context.without_cancel(ctx)
>>> cancel()
>>> free.is_done
False";

const AFTER_FUNC_DOC: &CStr = c"after_func($module, ctx, fn, /, *args)
--

Has fn(*args) called, in a goroutine of its own, once ctx is done: at once if it is.

Returns stop(): True if it has kept fn from being called, False if fn was called or stopped
before. The context keeps fn as long as it can still be done.

Blocks: nothing.

>>> ch = golib.Chan(1)
>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> stop = golib.context.after_func(ctx, ch.send, 'done')
>>> cancel()
>>> ch.recv()
'done'
>>> stop()
False";
