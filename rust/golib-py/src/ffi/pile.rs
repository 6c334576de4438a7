//! References that are dropped later, when what is being changed is consistent.

use std::ptr;

use crate::ffi::gil::Gil;
use crate::ffi::refs::New;

/// A stack of references.
///
/// It has no destructor: dropping an object may run Python code, and at exit CPython may end a thread there by
/// unwinding it, which must meet nothing to drop. The owner of a pile calls [`Pile::release`].
#[must_use = "release it: it has no destructor"]
pub(crate) struct Pile(*mut Vec<New>);

impl Pile {
    /// An empty one; it allocates with the first object.
    pub(crate) const fn new() -> Pile {
        Pile(ptr::null_mut())
    }

    /// Keeps a reference.
    #[inline(never)]
    pub(crate) fn push(&mut self, object: New) {
        if self.0.is_null() {
            self.0 = Box::into_raw(Box::default());
        }
        // SAFETY: made above or by an earlier push.
        unsafe { (*self.0).push(object) };
    }

    /// The reference that was pushed last.
    #[inline(never)]
    pub(crate) fn pop(&mut self) -> Option<New> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: made by push.
        let object = unsafe { (*self.0).pop() };
        if object.is_none() {
            // SAFETY: made by Box in push, and nobody has it any more.
            drop(unsafe { Box::from_raw(self.0) });
            self.0 = ptr::null_mut();
        }
        object
    }

    /// Drops all: what the objects belonged to is consistent now. Runs Python code.
    pub(crate) fn release(mut self, gil: Gil<'_>) {
        while let Some(object) = self.pop() {
            object.release(gil);
        }
    }
}
