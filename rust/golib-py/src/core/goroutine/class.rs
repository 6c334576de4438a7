//! The class `golib.Goroutine`.

use std::mem::offset_of;

use super::handle::{Goroutine, GOROUTINE};
use super::methods::{repr, METHODS, PROPERTIES};
use super::unread::finalize;
use crate::core::asyncio;
use crate::ffi::class::{Class, Object, Visitor};
use crate::ffi::gil::Gil;
use crate::ffi::refs::{New, Outcome};
use crate::ffi::spec::TypeSpec;

impl Class for Goroutine {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Goroutine, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slots(self.references());
    }

    fn clear(&self, gil: Gil<'_>) {
        self.drop_references(gil);
    }

    fn needs_finalizer(&self, gil: Gil<'_>) -> bool {
        self.unread.get(gil.exclusive())
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.drop_references(gil);
        slf.name.clear(gil);
    }
}

/// Makes the type.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::new(c"golib.Goroutine", DOC)
        .without_constructor()
        .awaits(asyncio::await_)
        .finalizer(finalize)
        .repr(repr)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &GOROUTINE)
}

const DOC: &std::ffi::CStr = c"A goroutine's handle, as go() and spawn() return it.

The goroutine runs whether or not the handle is kept. An exception that ends it waits in
the handle for join() or exception(); if the handle dies unread, it is reported.

>>> g = golib.go(len, 'four')
>>> g.join()
4";
