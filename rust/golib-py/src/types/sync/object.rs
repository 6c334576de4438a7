//! What the primitives have in common: the instance, the outcome of a wait, the class.
//!
//! # Invariants
//! 1. A method that waits is called with a reference to the instance, so that nothing dies under a waiter.
//! 2. The cores own nothing: instances are freed without dropping them.

use std::mem::offset_of;

use go_lib::runtime::embedder::WaitError;

use crate::core::waits;
use crate::ffi::args::{NewArgs, Timeout};
use crate::ffi::class::{Class, Object, TypeOf, Weaklist};
use crate::ffi::errors;
use crate::ffi::gil::{Entry, Gil};
use crate::ffi::python::{boolean, none};
use crate::ffi::refs::{New, Outcome, Ref};

/// The fields of an instance whose payload is a primitive of the runtime.
#[repr(C)]
pub(super) struct Sync<T> {
    weaklist: Weaklist,
    pub(super) core: T,
}

impl<T: 'static> Class for Sync<T> {
    const COLLECTED: bool = false;
    const WEAKLIST: Option<usize> = Some(offset_of!(Sync<T>, weaklist));
}

/// An instance of `class` with `core`.
pub(super) fn make<T: 'static>(gil: Gil<'_>, class: TypeOf<'_, Sync<T>>, core: T) -> Outcome<New> {
    // By 2.
    const { assert!(!std::mem::needs_drop::<T>()) };
    Ok(class.make(gil, Sync { weaklist: Weaklist::new(), core })?.into_new())
}

/// `__new__` of a type without arguments.
pub(super) fn new<T: Default + 'static>(
    gil: Gil<'_>,
    class: TypeOf<'_, Sync<T>>,
    args: NewArgs<'_>,
) -> Outcome<New> {
    args.are_none(gil, class.object())?;
    make(gil, class, T::default())
}

/// Like [`complete`](waits::complete), with threading's results: True, or False if the wait would take longer.
#[inline(always)]
pub(super) fn complete_as_threads(
    entry: &mut Entry,
    what: &str,
    operation: impl Fn() -> Result<(), WaitError>,
) -> Outcome<New> {
    loop {
        match entry.wait(&operation)? {
            Ok(()) => return Ok(boolean(entry.gil(), true)),
            Err(WaitError::WouldBlock | WaitError::Timeout) => {
                return Ok(boolean(entry.gil(), false));
            }
            Err(error) => waits::failed(entry.gil(), error, what, Timeout::NONE)?,
        }
    }
}

/// Returns None, or raises the error as `kind`.
pub(super) fn done<E: std::fmt::Display>(
    gil: Gil<'_>,
    kind: Ref<'_>,
    result: Outcome<Result<(), E>>,
) -> Outcome<New> {
    match result? {
        Ok(()) => Ok(none(gil)),
        Err(error) => Err(errors::fail(gil, kind, &error.to_string())),
    }
}

/// The instance, as `__enter__` returns it.
pub(super) fn itself<T>(gil: Gil<'_>, slf: &Object<T>) -> Outcome<New> {
    Ok(slf.object().own(gil))
}
