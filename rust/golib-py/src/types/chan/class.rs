//! The class `golib.Chan`.

use super::methods::{METHODS, PROPERTIES};
use super::object::{capacity_of, length, make, set_capacity, truth, Chan, CHAN};
use super::ops::CHAN_NEXT;
use crate::core::asyncio;
use crate::ffi::args::Args;
use crate::ffi::args::NewArgs;
use crate::ffi::class::{Object, TypeOf};
use crate::ffi::gil::Gil;
use crate::ffi::python::{class_name, unicode};
use crate::ffi::refs::{New, Outcome};
use crate::ffi::spec::TypeSpec;

fn repr(gil: Gil<'_>, chan: &Object<Chan>) -> Outcome<New> {
    let slf = chan.object();
    let text = match chan.face.hchan(gil) {
        None => "golib.nil".to_owned(),
        Some(h) => {
            let name = class_name(gil, slf);
            let state = if h.is_closed() { " closed" } else { "" };
            format!("<{name} {}/{}{state} at {:p}>", h.len(), h.cap(), slf.as_raw())
        }
    };
    unicode(gil, &text)
}

/// `Chan(capacity=0)`, by the vectorcall protocol.
fn construct(gil: Gil<'_>, class: TypeOf<'_, Chan>, args: Args<'_>) -> Outcome<New> {
    let [capacity] = args.parse(gil, "Chan", &[c"capacity"], 0)?;
    let capacity = capacity_of(gil, capacity)?;
    Ok(make(gil, class, capacity)?.into_new())
}

/// The argument of `Chan(capacity=0)`, given as a tuple and a dict (or null).
fn parsed(gil: Gil<'_>, args: NewArgs<'_>) -> Outcome<usize> {
    let capacity = args.one(gil, c"|O:Chan", c"capacity")?;
    capacity_of(gil, capacity)
}

/// `__new__` for subclasses. If a subclass defines `__init__` but not `__new__`, the arguments are for its `__init__`, which
/// calls this class's with a capacity.
fn new(gil: Gil<'_>, class: TypeOf<'_, Chan>, args: NewArgs<'_>) -> Outcome<New> {
    let base = CHAN.get(gil)?;
    let for_init = class.new_is_of(base) && !class.init_is_of(base);
    let capacity = if for_init { 0 } else { parsed(gil, args)? };
    Ok(make(gil, class, capacity)?.into_new())
}

/// `__init__`, called by a subclass's own: sets the capacity of a channel that has not been used yet.
fn init_subclass(gil: Gil<'_>, chan: &Object<Chan>, args: NewArgs<'_>) -> Outcome<()> {
    // Otherwise `__new__` has already used the arguments.
    if TypeOf::of_instance(gil, chan).init_is_of(CHAN.get(gil)?) {
        return Ok(());
    }
    let capacity = parsed(gil, args)?;
    set_capacity(gil, chan, capacity)
}

/// Makes the type.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::new(c"golib.Chan", DOC)
        .subclassable()
        .constructor(new)
        .initializer(init_subclass)
        // Subclasses do not inherit it: they go through `new`.
        .call(construct)
        .repr(repr)
        .iterates()
        .next(&CHAN_NEXT.inherited())
        .aiter(asyncio::aiter::<Chan>)
        .anext(asyncio::anext::<Chan>)
        .length(length::<Chan>)
        .truth(truth::<Chan>)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &CHAN)
}

const DOC: &std::ffi::CStr = c"Chan(capacity=0)
--

A channel, as in Go: a queue on which goroutines and OS threads wait.

With capacity 0 every send meets a receive; otherwise so many values are buffered.
Iterating receives until the channel is closed and drained; `with ch:` closes it at the
end. A channel is always true; len() is the number of buffered values. A subclass may have
an __init__ with arguments of its own; it calls super().__init__(capacity).

Blocks: nothing; the operations say what they block.
Shape: capacity values are buffered.
Raises: ValueError if capacity is negative, TypeError if it is no integer, MemoryError if
    the buffer does not fit.
Cost: 8 bytes per slot, allocated at once.
Go: make(chan T, capacity)

>>> ch = golib.Chan[int](2)
>>> ch.send(1); ch.send(2); ch.close()
>>> sum(ch)
3";
