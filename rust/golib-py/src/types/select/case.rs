//! The cases of a select. `recv(ch)` and `send(ch, value)` make them; a channel and None are cases too.

use go_lib::runtime::embedder::Case;

use crate::ffi::args::Args;
use crate::ffi::class::{Class, Object, TypeCell, Visitor};
use crate::ffi::errors::fail;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Methods, Module};
use crate::ffi::obj::Obj;
use crate::ffi::python::{class_name, none_ref, repr_of, type_error, unicode};
use crate::ffi::refs::{New, Outcome, Raised, Ref, Slot};
use crate::ffi::spec::TypeSpec;
use crate::types::chan::ends::{receivable, sendable};
use crate::types::chan::Face;

/// The fields of `golib.Case`. They stay as they are until the case ends.
pub(super) struct CaseFields {
    /// The object that has the channel; None for a disabled case.
    face: Slot,
    /// The value that a send case sends; empty for a receive.
    value: Slot,
}

impl Class for CaseFields {
    const COLLECTED: bool = true;

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slots([&self.face, &self.value]);
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.face.clear(gil);
        slf.value.clear(gil);
    }
}

impl CaseFields {
    fn face<'a>(&'a self, gil: Gil<'a>) -> Ref<'a> {
        // SAFETY: a Case that is alive keeps its fields.
        unsafe { self.face.peek(gil.exclusive()) }.unwrap_or_else(none_ref)
    }

    fn value<'a>(&'a self, gil: Gil<'a>) -> Option<Ref<'a>> {
        // SAFETY: a Case that is alive keeps its fields.
        unsafe { self.value.peek(gil.exclusive()) }
    }
}

/// The type `golib.Case`.
pub(super) static CASE: TypeCell<CaseFields> = TypeCell::new();

/// The runtime's form of a case given to `select`. The case and its channel stay alive during the select.
#[inline(always)]
pub(super) fn case_of<'a>(gil: Gil<'_>, given: Ref<'a>) -> Outcome<Case<'a, Obj>> {
    let face = if CASE.is_exactly(gil, given) {
        // SAFETY: an instance of that type, which has no subclasses.
        let case = unsafe { crate::ffi::class::this::<CaseFields>(given.as_raw()) };
        let raw = case.face.as_raw(gil.exclusive());
        if raw == none_ref().as_raw() {
            return Ok(Case::Disabled);
        }
        // SAFETY: made with a Face, which the case keeps.
        let face: &'a Object<Face> = unsafe { crate::ffi::class::this(raw) };
        if let Some(value) = case.value.get(gil) {
            return Ok(match face.hchan(gil) {
                Some(h) => Case::Send(h, Some(value.into_obj())),
                None => {
                    value.release(gil);
                    Case::Disabled
                }
            });
        }
        face
    } else if given.is_none() {
        return Ok(Case::Disabled);
    } else {
        receivable(gil, given).ok_or_else(|| no_case(gil, given))?
    };
    Ok(face.hchan(gil).map_or(Case::Disabled, Case::Recv))
}

#[cold]
fn no_case(gil: Gil<'_>, given: Ref<'_>) -> Raised {
    let name = class_name(gil, given);
    let text = format!(
        "a case is recv(ch), send(ch, value), a channel to receive from, or None, not {name}"
    );
    fail(gil, type_error(), &text)
}

/// Checks that `given` is a case. Dropping the copy of its value frees nothing.
pub(super) fn check_case(gil: Gil<'_>, given: Ref<'_>) -> Outcome<()> {
    case_of(gil, given).map(drop)
}

/// A new Case.
fn make_case(gil: Gil<'_>, face: Ref<'_>, value: Option<Ref<'_>>) -> Outcome<New> {
    let fields = CaseFields {
        face: Slot::with(Some(face.own(gil))),
        value: Slot::with(value.map(|value| value.own(gil))),
    };
    let give_up = |fields: &CaseFields| {
        fields.face.clear(gil);
        fields.value.clear(gil);
    };
    Ok(CASE.get(gil)?.make_or(gil, fields, give_up)?.into_new())
}

/// `golib.recv(ch)`.
fn recv(gil: Gil<'_>, _: &Object<Module>, ch: Ref<'_>) -> Outcome<New> {
    if ch.is_none() || receivable(gil, ch).is_some() {
        return make_case(gil, ch, None);
    }
    let name = class_name(gil, ch);
    let text = format!("recv() takes a channel to receive from, or None, not {name}");
    Err(fail(gil, type_error(), &text))
}

/// `golib.send(ch, value)`.
fn send(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [ch, value] = args.parse(gil, "send", &[c"ch", c"value"], 2)?;
    let ch = ch.unwrap_or_else(none_ref);
    if ch.is_none() || sendable(gil, ch).is_some() {
        return make_case(gil, ch, value);
    }
    let name = class_name(gil, ch);
    let text = format!("send() takes a channel to send to, or None, not {name}");
    Err(fail(gil, type_error(), &text))
}

/// The function `recv`.
pub(crate) const fn recv_function(doc: &'static std::ffi::CStr) -> Method<Module> {
    Method::one(c"recv", recv, doc)
}

/// The function `send`.
pub(crate) const fn send_function(doc: &'static std::ffi::CStr) -> Method<Module> {
    Method::keywords(c"send", send, doc)
}

fn repr(gil: Gil<'_>, case: &Object<CaseFields>) -> Outcome<New> {
    let face = repr_of(gil, case.face(gil))?;
    let text = match case.value(gil) {
        None => format!("golib.recv({face})"),
        Some(value) => format!("golib.send({face}, {})", repr_of(gil, value)?),
    };
    unicode(gil, &text)
}

static METHODS: Methods<CaseFields, 2> = Methods([Method::CLASS_GETITEM, Method::END]);

/// Makes the type.
pub(super) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::new(c"golib.Case", DOC)
        .without_constructor()
        .repr(repr)
        .methods(&METHODS)
        .make(gil, &CASE)
}

const DOC: &std::ffi::CStr = c"A case of select(): made by recv(ch) or send(ch, value).

>>> ch = golib.Chan(1)
>>> case = golib.send(ch, 1)
>>> golib.select(case)
Selected(index=0, value=None, ok=True)";
