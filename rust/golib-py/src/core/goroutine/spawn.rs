//! Making handles and starting their goroutines.

use std::os::raw::c_int;
use std::ptr;

use go_lib::runtime::embedder;

use super::end::bare_handle;
use super::handle::Goroutine;
use super::python;
use crate::bridge::{exit, startup};
use crate::core::context::ambient;
use crate::core::context::entry::Holder;
use crate::cpython::{object, tstate};
use crate::ffi::args::{integer_of, Args};
use crate::ffi::class::{this, Object};
use crate::ffi::containers::{copy_of, dict, set_item, to_tuple, tuple_of};
use crate::ffi::errors;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{Method, Module};
use crate::ffi::obj::Global;
use crate::ffi::python::{
    as_long, call1, import_from, is_callable, is_str, type_error, value_error,
};
use crate::ffi::refs::{release, New, Outcome, Raised, Ref};

/// The context variables with which a goroutine starts.
pub(crate) enum Vars {
    /// A copy of the caller's.
    OfCaller,
    /// These, or none.
    Given(Option<New>),
}

/// The properties of a new goroutine.
pub(crate) struct Spec<'a> {
    pub(crate) function: Ref<'a>,
    /// A tuple.
    pub(crate) args: New,
    /// A dict.
    pub(crate) kwargs: Option<New>,
    /// A str.
    pub(crate) name: Option<Ref<'a>>,
    /// 0: the default.
    pub(crate) stack_bytes: usize,
    /// Python frames between the caller to be named and the newest; negative: name none.
    pub(crate) skip: c_int,
    /// See `GoroutineObj::is_main`.
    pub(crate) is_main: bool,
    /// golib's own servant, see `alarm`.
    pub(crate) system: bool,
    pub(crate) vars: Vars,
    /// Its ambient contexts and group, a share of which it takes over; null for none.
    pub(crate) holder: *const Holder,
}

impl<'a> Spec<'a> {
    /// A goroutine of `function` with `args` and nothing special, of which no caller is named.
    #[inline(always)]
    pub(crate) fn new(function: Ref<'a>, args: New) -> Spec<'a> {
        Spec {
            function,
            args,
            kwargs: None,
            name: None,
            stack_bytes: 0,
            skip: -1,
            is_main: false,
            system: false,
            vars: Vars::OfCaller,
            holder: ptr::null(),
        }
    }
}

/// Checks that `function` can be a goroutine's.
#[inline]
pub(crate) fn check_function(gil: Gil<'_>, function: Ref<'_>) -> Outcome<()> {
    // SAFETY: alive.
    if !is_callable(gil, function) || unsafe { object::is_async(function.as_raw()) } {
        return Err(refuse(gil, function));
    }
    Ok(())
}

/// Raises a TypeError that says what to write instead of `function`.
#[cold]
#[inline(never)]
fn refuse(gil: Gil<'_>, function: Ref<'_>) -> Raised {
    if REFUSE.get().is_null() {
        match import_from(gil, c"golib._words", c"refuse") {
            Ok(found) => REFUSE.set(found.give()),
            Err(raised) => return raised,
        }
    }
    // SAFETY: found just now, and kept.
    match call1(gil, unsafe { Ref::borrowed(REFUSE.get()) }, function) {
        Ok(nothing) => {
            nothing.release(gil);
            errors::fail(gil, type_error(), "this cannot be a goroutine's function")
        }
        Err(raised) => raised,
    }
}

/// `golib._words.refuse(function)`, which raises.
static REFUSE: Global = Global::new();

/// Before the first goroutine.
#[inline]
pub(crate) fn ensure_started(gil: Gil<'_>) -> Outcome<()> {
    if startup::is_set_up() {
        return Ok(());
    }
    startup::set_up(gil, python::find)
}

/// Before the runtime's threads start for something else than a goroutine: CPython would warn of a fork beside them. At exit
/// nothing is prepared.
pub(crate) fn prepare(gil: Gil<'_>) -> Outcome<()> {
    if exit::has_begun() {
        return Ok(());
    }
    ensure_started(gil)
}

/// The context variables with which a goroutine starts that is made now.
pub(crate) fn vars_for_spawn(_gil: Gil<'_>) -> Outcome<Option<New>> {
    // SAFETY: a new reference or null; an exception is set if there is neither.
    unsafe {
        match tstate::vars_for_spawn() {
            Ok(vars) => Ok(New::nullable(vars)),
            Err(()) => Err(Raised::assume()),
        }
    }
}

/// Starts a goroutine; its handle.
pub(crate) fn start_goroutine(gil: Gil<'_>, spec: Spec<'_>) -> Outcome<New> {
    let Spec { function, args, kwargs, name, stack_bytes, skip, is_main, system, vars, holder } =
        spec;
    let handle = match make(gil, function, args, kwargs) {
        Ok(handle) => handle,
        Err(raised) => {
            if let Vars::Given(vars) = vars {
                release(gil, vars);
            }
            // SAFETY: the share that nobody took.
            unsafe { end_holder(holder) };
            return Err(raised);
        }
    };
    // SAFETY: a handle.
    let g = unsafe { this::<Goroutine>(handle.get().as_raw()) };
    let x = gil.exclusive();
    if let Some(name) = name {
        release(gil, g.name.put(x, Some(name.own(gil))));
    }
    g.is_main.set(x, is_main);
    if skip >= 0 {
        note_origin(gil, g, skip);
    }
    g.holder.set(x, holder);
    let vars = match vars {
        Vars::Given(vars) => Ok(vars),
        Vars::OfCaller => vars_for_spawn(gil),
    };
    match vars {
        Ok(vars) => release(gil, g.vars.put(x, vars)),
        Err(raised) => return Err(abandon(gil, handle, raised)),
    }
    // By 1: the runtime's.
    let own = handle.get().own(gil);
    let payload = own.get().as_raw().cast();
    let raised = match guard(gil, || {
        // SAFETY: the reference keeps the payload until `main` has returned for it.
        unsafe {
            if system {
                embedder::spawn_system(payload, stack_bytes)
            } else {
                embedder::spawn(payload, stack_bytes)
            }
        }
    }) {
        Ok(Ok(gref)) => {
            let _ = own.give();
            let _first = gil.unobserved("spawn notes the G before the goroutine can run");
            // SAFETY: nobody else has seen the handle.
            unsafe { g.set_g(gref) };
            // SAFETY: null, or the handle's share.
            if let Some(holder) = unsafe { holder.as_ref() } {
                ambient::has_goroutine(gil, holder, gref);
            }
            return Ok(handle);
        }
        Ok(Err(error)) => startup::refused(gil, &error),
        Err(raised) => raised,
    };
    own.release(gil);
    Err(abandon(gil, handle, raised))
}

/// Notes the code that starts it.
#[inline(always)]
fn note_origin(gil: Gil<'_>, g: &Goroutine, skip: c_int) {
    // SAFETY: the token; a new reference, or null.
    let (origin, lasti) = unsafe {
        let (origin, lasti) = object::origin(skip);
        (New::nullable(origin), lasti)
    };
    release(gil, g.origin.put(gil.exclusive(), origin));
    g.origin_lasti.set(gil.exclusive(), lasti);
}

/// # Safety
/// Null, or a share that is given up.
unsafe fn end_holder(holder: *const Holder) {
    if !holder.is_null() {
        // SAFETY: as the caller says.
        unsafe { ambient::end(holder) };
    }
}

/// Drops a handle whose goroutine was not started. Finalizers do not see the exception that is set.
#[cold]
fn abandon(gil: Gil<'_>, handle: New, raised: Raised) -> Raised {
    let _ = raised;
    // SAFETY: our reference, and nobody else's; the exception was set.
    unsafe {
        let error = errors::fetch();
        let g = this::<Goroutine>(handle.get().as_raw());
        end_holder(g.holder.replace(gil.exclusive(), ptr::null()));
        handle.release(gil);
        errors::restore(error);
        Raised::assume()
    }
}

/// A handle without a goroutine.
#[inline(always)]
fn make(gil: Gil<'_>, function: Ref<'_>, args: New, kwargs: Option<New>) -> Outcome<New> {
    let made = check_function(gil, function).and_then(|()| ensure_started(gil)).and_then(|()| {
        // SAFETY: if there is none, that has raised.
        bare_handle(gil, Goroutine::new()).ok_or_else(|| unsafe { Raised::assume() })
    });
    let handle = match made {
        Ok(handle) => handle,
        Err(raised) => {
            args.release(gil);
            release(gil, kwargs);
            return Err(raised);
        }
    };
    // SAFETY: a handle.
    let g = unsafe { this::<Goroutine>(handle.get().as_raw()) };
    let x = gil.exclusive();
    for (slot, object) in
        [(&g.function, Some(function.own(gil))), (&g.args, Some(args)), (&g.kwargs, kwargs)]
    {
        let nothing = slot.put(x, object);
        debug_assert!(nothing.is_none());
    }
    Ok(handle)
}

/// `golib.go(fn, /, *args, **kwargs)`.
fn go(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let Some(function) = args.positional().first() else {
        return Err(errors::fail(gil, type_error(), "go() missing required argument: 'fn'"));
    };
    let (positional, kwargs) = rest_of_call(gil, args)?;
    start_goroutine(gil, Spec { kwargs, skip: 0, ..Spec::new(*function, positional) })
}

/// The arguments of a call behind the first one, which exists: a tuple, and a dict.
#[inline]
pub(crate) fn rest_of_call(gil: Gil<'_>, args: Args<'_>) -> Outcome<(New, Option<New>)> {
    let positional = tuple_of(gil, args.positional().get(1..).unwrap_or(&[]))?;
    let (names, values) = args.named();
    if names.is_empty() {
        return Ok((positional, None));
    }
    match keywords_of(gil, names, values) {
        Ok(kwargs) => Ok((positional, Some(kwargs))),
        Err(raised) => {
            positional.release(gil);
            Err(raised)
        }
    }
}

/// The dict of a call's keywords.
#[cold]
fn keywords_of(gil: Gil<'_>, names: &[Ref<'_>], values: &[Ref<'_>]) -> Outcome<New> {
    let all = dict(gil)?;
    for (name, value) in names.iter().zip(values) {
        if let Err(raised) = set_item(gil, all.get(), *name, *value) {
            all.release(gil);
            return Err(raised);
        }
    }
    Ok(all)
}

/// The smallest stack on which Python code is safe, and the largest that a caller may ask for.
const MIN_STACK: i64 = 512 << 10;
const MAX_STACK: i64 = 1 << 30;

/// `golib.spawn(fn, args=(), kwargs=None, *, name=None, stack_size=None)`, with a private `_skip`.
fn spawn(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    const POSITIONAL: usize = 3;
    let names = [c"fn", c"args", c"kwargs", c"name", c"stack_size", c"_skip"];
    let [function, given, kwargs, name, stack_size, skip] = args.parse(gil, "spawn", &names, 1)?;
    let Some(function) = function else {
        return Err(errors::fail(gil, type_error(), "spawn() missing required argument: 'fn'"));
    };
    if args.len() > POSITIONAL {
        let text = "spawn() takes at most 3 positional arguments";
        return Err(errors::fail(gil, type_error(), text));
    }
    let is_given = |object: &Ref<'_>| !object.is_none();
    let name = name.filter(is_given);
    if name.is_some_and(|name| !is_str(gil, name)) {
        return Err(errors::fail(gil, type_error(), "name must be a str"));
    }
    let stack_bytes = stack_size.filter(is_given).map_or(Ok(0), |size| stack_of(gil, size))?;
    let skip = skip.map_or(Ok(0), |skip| as_long(gil, skip))? as c_int;
    let args = given.map_or_else(|| tuple_of(gil, &[]), |given| to_tuple(gil, given))?;
    let kwargs = match kwargs.filter(is_given).map(|kwargs| copy_of(gil, kwargs)).transpose() {
        Ok(kwargs) => kwargs,
        Err(raised) => {
            args.release(gil);
            return Err(raised);
        }
    };
    let spec = Spec { kwargs, name, stack_bytes, skip, ..Spec::new(function, args) };
    start_goroutine(gil, spec)
}

/// A `stack_size` argument.
fn stack_of(gil: Gil<'_>, size: Ref<'_>) -> Outcome<usize> {
    match integer_of(gil, size)? {
        size if (1..=MAX_STACK).contains(&size) => Ok(size.max(MIN_STACK) as usize),
        _ => {
            let text = "stack_size must be positive and at most 1 GiB";
            Err(errors::fail(gil, value_error(), text))
        }
    }
}

/// The functions `go` and `spawn`.
pub(crate) const fn functions(
    go_doc: &'static std::ffi::CStr,
    spawn_doc: &'static std::ffi::CStr,
) -> (Method<Module>, Method<Module>) {
    (Method::keywords(c"go", go, go_doc), Method::keywords(c"spawn", spawn, spawn_doc))
}
