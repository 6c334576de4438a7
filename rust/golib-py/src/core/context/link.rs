//! Links between contexts, and between the blocks that are entered under them.

use std::ptr;

use crate::ffi::gil::Exclusive;
use crate::ffi::refs::Field;

/// A link to a `T`, or to none. It keeps nothing alive.
///
/// # Invariants
/// 1. A linked object leaves all its lists before it dies (2 of the [`tree`](super::tree), 2 of
///    [`ambient`](super::ambient)); nothing dies while links are followed, because references that are given up
///    meanwhile are kept in a `Pile` until that is over.
#[repr(transparent)]
pub(super) struct Link<T>(Field<*const T>);

impl<T> Link<T> {
    pub(super) const fn none() -> Link<T> {
        Link(Field::new(ptr::null()))
    }

    #[inline(always)]
    pub(super) fn get<'x>(&self, x: Exclusive<'x>) -> Option<&'x T> {
        // SAFETY: by 1.
        unsafe { self.0.get(x).as_ref() }
    }

    #[inline(always)]
    pub(super) fn set(&self, x: Exclusive<'_>, target: Option<&T>) {
        self.0.set(x, target.map_or(ptr::null(), ptr::from_ref));
    }

    /// As `other`.
    #[inline(always)]
    pub(super) fn copy(&self, x: Exclusive<'_>, other: &Link<T>) {
        self.0.set(x, other.0.get(x));
    }

    #[inline(always)]
    pub(super) fn is_none(&self, x: Exclusive<'_>) -> bool {
        self.0.get(x).is_null()
    }
}
