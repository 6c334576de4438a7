//! The blocks `timeout` and `shield`.
//!
//! # Invariants
//! 1. `entry` is the block being executed, or null outside one. The end of the block takes it.

use std::ffi::CStr;

use super::functions::after_seconds;
use crate::core::context::ambient::{self, Begun};
use crate::core::context::cancel;
use crate::core::context::entry::{Block, Entry};
use crate::core::context::node::Why;
use crate::ffi::args::{seconds_of, Args};
use crate::ffi::class::{Class, Object, TypeCell, Visitor};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::python::{boolean, is_error_of, runtime_error, timeout_error, truth, type_error};
use crate::ffi::refs::{release, Field, New, Outcome, Raised, Ref, Slot};
use crate::ffi::spec::TypeSpec;

/// A block, begun or not.
struct Blocking {
    /// By 1.
    entry: Field<*const Entry>,
    /// The block's context, while the block is being executed.
    ctx: Slot,
}

impl Blocking {
    fn new() -> Blocking {
        Blocking { entry: Field::new(std::ptr::null()), ctx: Slot::empty() }
    }

    /// Begins the block under `ctx`, which it takes over. Returns the context for `as`.
    fn begin(&self, gil: Gil<'_>, ctx: New, kind: Block) -> New {
        let x = gil.exclusive();
        release(gil, self.ctx.put(x, Some(ctx.get().own(gil))));
        let block = ambient::push(gil, ctx.get().own(gil), kind);
        self.entry.set(x, block.into_raw());
        ctx
    }

    /// Err if the block is already being executed.
    fn check_free(&self, gil: Gil<'_>) -> Outcome<()> {
        if self.entry.get(gil.exclusive()).is_null() {
            return Ok(());
        }
        Err(entered(gil))
    }

    /// Ends the block and returns its context, or None if it is not being executed.
    fn end(&self, gil: Gil<'_>) -> Option<New> {
        let x = gil.exclusive();
        let (entry, ctx) = (self.entry.replace(x, std::ptr::null()), self.ctx.take(x));
        if !entry.is_null() {
            // SAFETY: by 1 a block is ended once.
            ambient::pop(gil, unsafe { Begun::from_raw(entry) });
        }
        ctx
    }
}

#[cold]
fn entered(gil: Gil<'_>) -> Raised {
    errors::fail(gil, runtime_error(), "this block has been entered already")
}

/// The block that `timeout()` returns.
struct Timeout {
    block: Blocking,
    /// How long; infinite for none.
    seconds: f64,
    /// Whether its end raises TimeoutError.
    raises: bool,
}

/// The block that `shield()` returns.
struct Shield(Blocking);

impl Class for Timeout {
    const COLLECTED: bool = false;

    fn visit(&self, _: &mut Visitor) {}

    /// Ends a block that was never left.
    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        release(gil, slf.block.end(gil));
    }
}

impl Class for Shield {
    const COLLECTED: bool = false;

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        release(gil, slf.0.end(gil));
    }
}

static TIMEOUT: TypeCell<Timeout> = TypeCell::new();
static SHIELD: TypeCell<Shield> = TypeCell::new();

/// `golib.timeout(seconds, *, raises=True)`.
fn timeout(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    if args.len() > 1 {
        return Err(errors::fail(gil, type_error(), "timeout() takes 1 positional argument"));
    }
    let [given, raises] = args.parse(gil, "timeout", &[c"seconds", c"raises"], 1)?;
    let seconds = match given.filter(|given| !given.is_none()) {
        Some(given) => seconds_of(gil, given)?,
        None => f64::INFINITY,
    };
    let raises = raises.map_or(Ok(true), |raises| truth(gil, raises))?;
    let fields = Timeout { block: Blocking::new(), seconds, raises };
    Ok(TIMEOUT.get(gil)?.make(gil, fields)?.into_new())
}

/// `golib.shield()`.
fn shield(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    Ok(SHIELD.get(gil)?.make(gil, Shield(Blocking::new()))?.into_new())
}

/// The functions `timeout` and `shield`.
pub(crate) const fn functions(
    timeout_doc: &'static CStr,
    shield_doc: &'static CStr,
) -> (Method<Module>, Method<Module>) {
    (
        Method::keywords(c"timeout", timeout, timeout_doc),
        Method::noargs(c"shield", shield, shield_doc),
    )
}

fn timeout_enter(gil: Gil<'_>, slf: &Object<Timeout>) -> Outcome<New> {
    slf.block.check_free(gil)?;
    let parent = ambient::innermost(gil)?;
    let deadline_ns = after_seconds(slf.seconds);
    let above = ambient::as_context(&parent);
    let ctx = cancel::make_deadline(gil, above, deadline_ns, None);
    parent.release(gil);
    Ok(slf.block.begin(gil, ctx?, Block::Timeout))
}

fn timeout_exit(gil: Gil<'_>, slf: &Object<Timeout>, args: Args<'_>) -> Outcome<New> {
    let Some(ctx) = slf.block.end(gil) else { return Ok(boolean(gil, false)) };
    let context = ambient::as_context(&ctx);
    let timed_out = context.timed_out.get(gil.exclusive());
    // Goroutines that still run under it have no reason to continue.
    cancel::cancel(gil, context, Why::Canceled, None);
    ctx.release(gil);
    // SAFETY: found at import, and kept.
    let cancelled = unsafe { Ref::borrowed(errors::CANCELLED.get()) };
    let error = args.positional().first().filter(|error| timed_out && !error.is_none());
    if !error.is_some_and(|error| is_error_of(gil, *error, cancelled)) {
        return Ok(boolean(gil, false));
    }
    if !slf.raises {
        return Ok(boolean(gil, true));
    }
    let text = format!("block timed out after {} s", slf.seconds.max(0.0));
    Err(errors::fail(gil, timeout_error(), &text))
}

fn shield_enter(gil: Gil<'_>, slf: &Object<Shield>) -> Outcome<New> {
    slf.0.check_free(gil)?;
    let ctx = ambient::shield_context(gil)?;
    Ok(slf.0.begin(gil, ctx, Block::Shield))
}

fn shield_exit(gil: Gil<'_>, slf: &Object<Shield>, _: Args<'_>) -> Outcome<New> {
    release(gil, slf.0.end(gil));
    Ok(boolean(gil, false))
}

static TIMEOUT_METHODS: Methods<Timeout, 3> = Methods([
    Method::noargs(
        c"__enter__",
        timeout_enter,
        c"__enter__($self, /)
--

Begins the block; its context.",
    ),
    Method::fast(
        c"__exit__",
        timeout_exit,
        c"__exit__($self, /, *exc)
--

Ends the block: Cancelled because of the deadline becomes TimeoutError.",
    ),
    Method::END,
]);

static SHIELD_METHODS: Methods<Shield, 3> = Methods([
    Method::noargs(
        c"__enter__",
        shield_enter,
        c"__enter__($self, /)
--

Begins the block; its context.",
    ),
    Method::fast(
        c"__exit__",
        shield_exit,
        c"__exit__($self, /, *exc)
--

Ends the block.",
    ),
    Method::END,
]);

/// Makes the types. Called once.
pub(super) fn init(gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 2]> {
    let timeout = TypeSpec::<Timeout>::new(c"golib.Timeout", c"What timeout() returns.")
        .without_constructor()
        .methods(&TIMEOUT_METHODS)
        .make(gil, &TIMEOUT)?;
    let shield = TypeSpec::<Shield>::new(c"golib.Shield", c"What shield() returns.")
        .without_constructor()
        .methods(&SHIELD_METHODS)
        .make(gil, &SHIELD)?;
    Ok([(c"Timeout", timeout), (c"Shield", shield)])
}
