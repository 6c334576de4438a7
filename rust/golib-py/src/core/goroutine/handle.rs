//! The handle: what is known of a goroutine from Python's side.

use std::mem::MaybeUninit;
use std::os::raw::c_int;
use std::ptr;

use go_lib::runtime::embedder::{Event, GRef};
use pyo3::ffi::{self, PyObject};

use crate::core::context::entry::Holder;
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::instance;

/// An instance of `golib.Goroutine`.
#[repr(C)]
pub(crate) struct GoroutineObj {
    ob_base: PyObject,
    pub(super) weaklist: Raw,
    /// The runtime's goroutine; set before anybody else sees the handle.
    pub(super) gref: MaybeUninit<GRef>,
    /// Until it has run.
    pub(super) function: Raw,
    pub(super) args: Raw,
    /// Null if there are none.
    pub(super) kwargs: Raw,
    /// The context variables that it starts with; null: none, and after the start.
    pub(super) vars: Raw,
    /// Null until somebody asks or the function is released.
    pub(super) name: Raw,
    /// By 2.
    pub(super) result: Raw,
    pub(super) error: Raw,
    /// What its next or current wait is to raise.
    pub(super) pending: Raw,
    /// The code that started it, and where in it; null for a main goroutine.
    pub(super) origin: Raw,
    pub(super) origin_lasti: c_int,
    /// `error` was neither read nor reported.
    pub(super) unread: bool,
    /// The main goroutine of a `run` on the main thread: it has that thread's ident, and stands in for it.
    pub(super) is_main: bool,
    /// Its ambient contexts and its group; null until it needs one. By 5.
    pub(super) holder: *const Holder,
    pub(super) done: Event,
}

/// The type `golib.Goroutine`.
pub(crate) static GOROUTINE: Global = Global::new();

impl GoroutineObj {
    /// Takes the exception that somebody left for this goroutine: an owned reference, or null.
    ///
    /// # Safety
    /// `slf` is a handle; the GIL is held.
    pub(crate) unsafe fn take_pending(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe {
            let g = instance::<GoroutineObj>(slf);
            ptr::replace(&raw mut (*g).pending, ptr::null_mut())
        }
    }

    /// Its ambient contexts; null if it never needed any.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    #[inline]
    pub(crate) unsafe fn holder(slf: Raw) -> *const Holder {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).holder }
    }

    /// Sets what [`holder`](Self::holder) gives; the handle takes a share of it over.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has none.
    pub(crate) unsafe fn set_holder(slf: Raw, holder: *const Holder) {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).holder = holder };
    }

    /// The exception that ended it, borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn error(slf: Raw) -> Raw {
        // SAFETY: the caller's duty.
        unsafe { (*instance::<GoroutineObj>(slf)).error }
    }

    /// Something is left for it to raise.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn has_pending(slf: Raw) -> bool {
        // SAFETY: the caller's duty.
        unsafe { !(*instance::<GoroutineObj>(slf)).pending.is_null() }
    }

    /// The runtime's goroutine.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn gref(slf: Raw) -> GRef {
        // SAFETY: set before anybody sees the handle.
        unsafe { (*instance::<GoroutineObj>(slf)).gref.assume_init() }
    }

    /// Set at its end.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); the handle outlives the use.
    pub(crate) unsafe fn done<'a>(slf: Raw) -> &'a Event {
        // SAFETY: the caller's duty.
        unsafe { &(*instance::<GoroutineObj>(slf)).done }
    }

    /// Leaves `error` (taken over) for the goroutine to raise, and ends its wait if it waits in an operation of ours.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn interrupt(slf: Raw, error: Raw) {
        // SAFETY: the caller's duty.
        unsafe {
            let old = ptr::replace(&raw mut (*instance::<GoroutineObj>(slf)).pending, error);
            ffi::Py_XDECREF(old);
            Self::gref(slf).interrupt();
        }
    }
}

impl GoroutineObj {
    pub(super) fn references(&self) -> [Raw; 9] {
        [
            self.function,
            self.args,
            self.kwargs,
            self.vars,
            self.name,
            self.result,
            self.error,
            self.pending,
            self.origin,
        ]
    }
}

/// A `tp_clear`: drops what the handle refers to, but for its name.
pub(super) unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end.
    unsafe {
        let g = instance::<GoroutineObj>(slf);
        for slot in [
            &raw mut (*g).function,
            &raw mut (*g).args,
            &raw mut (*g).kwargs,
            &raw mut (*g).vars,
            &raw mut (*g).result,
            &raw mut (*g).error,
            &raw mut (*g).pending,
            &raw mut (*g).origin,
        ] {
            obj::clear(slot);
        }
    }
    0
}

// The event owns nothing: a handle is freed without dropping it.
const _: () = assert!(!std::mem::needs_drop::<Event>());
