//! `Select`: cases that are kept for many selects.

use std::cell::UnsafeCell;
use std::mem::offset_of;

use super::case::check_case;
use super::{run, run_many, Options, INLINE};
use crate::ffi::args::{integer_of, timeout_of, Args};
use crate::ffi::class::{Class, Object, TypeCell, TypeOf, Visitor, Weaklist};
use crate::ffi::containers::{items, tuple_with};
use crate::ffi::errors::fail;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods};
use crate::ffi::python::{index_error, none, none_ref, truth, type_error};
use crate::ffi::refs::{release, New, Outcome, Ref, Slot};
use crate::ffi::spec::TypeSpec;

/// The fields of `golib.Select`.
pub(super) struct SelectFields {
    weaklist: Weaklist,
    /// The cases as they were given. By 2 a case may be replaced; the list itself changes only when the instance is made and
    /// when it ends.
    cases: UnsafeCell<Vec<Slot>>,
    biased: bool,
}

impl SelectFields {
    fn cases(&self) -> &[Slot] {
        // SAFETY: nothing changes the list while the instance is in use.
        unsafe { &*self.cases.get() }
    }
}

impl Class for SelectFields {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(SelectFields, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        self.cases().iter().for_each(|case| visitor.slot(case));
    }

    fn clear(&self, gil: Gil<'_>) {
        for case in self.cases() {
            // None disables a case.
            release(gil, case.put(gil.exclusive(), Some(none(gil))));
        }
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.cases().iter().for_each(|case| case.clear(gil));
    }
}

/// The type `golib.Select`.
static SELECT: TypeCell<SelectFields> = TypeCell::new();

entry! { WAIT: golib_entry_select_wait => select_wait keywords(entry, select: SelectFields, args) {
    let [timeout] = args.parse(entry.gil(), "wait", &[c"timeout"], 0)?;
    let timeout = timeout_of(entry.gil(), timeout)?;
    let options = Options { timeout, default: false, biased: select.biased };
    let len = select.cases().len();
    if len > INLINE {
        return wait_for_many(entry, select, options);
    }
    // Held by 1, because a case may be replaced while we wait.
    let mut held = [none_ref(); INLINE];
    for (slot, case) in held.iter_mut().zip(select.cases()) {
        let case = case.get(entry.gil()).unwrap_or_else(|| none(entry.gil()));
        // SAFETY: the reference is given back below, after the last use.
        *slot = unsafe { Ref::borrowed(case.give()) };
    }
    let result = run(entry, &held[..len], options);
    for case in held.into_iter().take(len) {
        // SAFETY: the reference was taken above.
        unsafe { New::owned(case.as_raw()) }.release(entry.gil());
    }
    result
} }

/// `Select.wait` for more cases than fit the stack: a tuple holds them.
#[cold]
#[inline(never)]
fn wait_for_many(entry: &mut Entry, select: &SelectFields, options: Options) -> Outcome<New> {
    let gil = entry.gil();
    let cases = select.cases();
    let held = tuple_with(gil, cases.len(), |i| cases[i].get(gil).unwrap_or_else(|| none(gil)))?;
    // SAFETY: a tuple.
    let result = run_many(entry, unsafe { items(held.get()) }, options);
    held.release(entry.gil());
    result
}

/// `Select(*cases, biased=False)`.
fn construct(gil: Gil<'_>, class: TypeOf<'_, SelectFields>, args: Args<'_>) -> Outcome<New> {
    let given = args.positional();
    let [biased] = args.rest(given.len()).parse(gil, "Select", &[c"biased"], 0)?;
    let biased = biased.map_or(Ok(false), |flag| truth(gil, flag))?;
    for case in given {
        check_case(gil, *case)?;
    }
    let fields =
        SelectFields { weaklist: Weaklist::new(), cases: UnsafeCell::new(Vec::new()), biased };
    let select = class.make(gil, fields)?;
    let cases = given.iter().map(|case| Slot::with(Some(case.own(gil)))).collect();
    // SAFETY: nothing else refers to the instance yet.
    unsafe { *select.cases.get() = cases };
    Ok(select.into_new())
}

/// The case that a subscript selects.
fn case_at<'a>(
    gil: Gil<'_>,
    select: &'a Object<SelectFields>,
    index: Ref<'_>,
) -> Outcome<&'a Slot> {
    let cases = select.cases();
    let i = integer_of(gil, index)?;
    let i = if i < 0 { i.saturating_add(cases.len() as i64) } else { i };
    usize::try_from(i)
        .ok()
        .and_then(|i| cases.get(i))
        .ok_or_else(|| fail(gil, index_error(), "Select index out of range"))
}

fn length(_: Gil<'_>, select: &Object<SelectFields>) -> usize {
    select.cases().len()
}

fn get(gil: Gil<'_>, select: &Object<SelectFields>, index: Ref<'_>) -> Outcome<New> {
    Ok(case_at(gil, select, index)?.get(gil).unwrap_or_else(|| none(gil)))
}

fn set(
    gil: Gil<'_>,
    select: &Object<SelectFields>,
    index: Ref<'_>,
    case: Option<Ref<'_>>,
) -> Outcome<()> {
    let slot = case_at(gil, select, index)?;
    let Some(case) = case else {
        let text = "a case cannot be deleted; assign None to disable it";
        return Err(fail(gil, type_error(), text));
    };
    check_case(gil, case)?;
    release(gil, slot.put(gil.exclusive(), Some(case.own(gil))));
    Ok(())
}

static METHODS: Methods<SelectFields, 2> = Methods([
    Method::parks(
        c"wait",
        WAIT,
        c"wait($self, timeout=None)
--

Waits until a case can proceed and does it, as select() does.

Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; SendOnClosed if a send case on a closed channel won.

>>> ch = golib.Chan(1)
>>> s = golib.Select(golib.recv(ch))
>>> ch.send('x')
>>> s.wait()
Selected(index=0, value='x', ok=True)",
    ),
    Method::END,
]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::new(c"golib.Select", DOC)
        .without_constructor()
        .call(construct)
        .length(length)
        .get_item(get)
        .set_item(set)
        .methods(&METHODS)
        .make(gil, &SELECT)
}

const DOC: &std::ffi::CStr = c"Select(*cases, biased=False)
--

A prepared select for hot loops: the cases are checked once.

`s[i] = case` replaces a case, `s[i] = None` disables it. Several goroutines may wait on
one Select; each waits for the cases as they were when it began.

Raises: TypeError for what is no case.
Cost: O(1) per case, kept for the object's life.

>>> a, b = golib.Chan(1), golib.Chan(1)
>>> s = golib.Select(golib.recv(a), golib.recv(b))
>>> b.send('x')
>>> s.wait()
Selected(index=1, value='x', ok=True)";
