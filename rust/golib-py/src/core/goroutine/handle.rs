//! The handle: a goroutine as Python sees it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};
use std::ptr;

use go_lib::runtime::embedder::{self, Event, GRef};

use crate::core::context::entry::Holder;
use crate::ffi::class::{this, Object, TypeCell, Weaklist};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::refs::{release, Field, New, Slot};

/// An instance of `golib.Goroutine`.
pub(crate) type GoroutineObj = Object<Goroutine>;

/// The fields of `golib.Goroutine`.
pub(crate) struct Goroutine {
    pub(super) weaklist: Weaklist,
    /// The runtime's goroutine; set before anybody else sees the handle.
    gref: UnsafeCell<MaybeUninit<GRef>>,
    /// Until it has run.
    pub(super) function: Slot,
    pub(super) args: Slot,
    /// Empty if there are none.
    pub(super) kwargs: Slot,
    /// The context variables that it starts with; empty: none, and after the start.
    pub(super) vars: Slot,
    /// Empty until somebody asks or the function is released.
    pub(super) name: Slot,
    /// By 2.
    pub(super) result: Slot,
    pub(super) error: Slot,
    /// The exception for its next or current wait.
    pub(super) pending: Slot,
    /// The code that started it, and where in it; empty for a main goroutine.
    pub(super) origin: Slot,
    pub(super) origin_lasti: Field<c_int>,
    /// `error` was neither read nor reported.
    pub(super) unread: Field<bool>,
    /// The main goroutine of a `run` on the main thread: it has that thread's ident, and stands in for it.
    pub(super) is_main: Field<bool>,
    /// Its ambient contexts and its group; null until it needs one. By 5.
    pub(super) holder: Field<*const Holder>,
    pub(super) done: Event,
    /// The buffered files that it is inside of (`cpython/patch_file.c`), innermost first; they lie on its stack.
    held_files: UnsafeCell<*mut c_void>,
}

/// Where the running goroutine keeps its list of files that it is inside of; null on an ordinary thread.
pub(crate) unsafe extern "C" fn held_files() -> *mut *mut c_void {
    let host: Raw = embedder::current_host().cast();
    if host.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: a goroutine's payload is a handle.
    unsafe { this::<Goroutine>(host) }.held_files.get()
}

/// The name of `g` and what it runs, without the GIL; each may be null. They last as long as `g` stays on its thread.
pub(crate) fn glance_at_name(g: GRef) -> (Raw, Raw) {
    let host: Raw = g.host().cast();
    if host.is_null() {
        return (ptr::null_mut(), ptr::null_mut());
    }
    // SAFETY: a goroutine's payload is a handle, which it holds until its end.
    let g = unsafe { this::<Goroutine>(host) };
    (g.name.glance(), g.function.glance())
}

// A handle is freed without dropping its fields: none owns anything but by a slot.
const _: () = assert!(!std::mem::needs_drop::<Goroutine>());

/// The type `golib.Goroutine`.
pub(crate) static GOROUTINE: TypeCell<Goroutine> = TypeCell::new();

impl Goroutine {
    /// Of a goroutine that is not there yet.
    #[inline(always)]
    pub(super) fn new() -> Goroutine {
        Goroutine {
            weaklist: Weaklist::new(),
            gref: UnsafeCell::new(MaybeUninit::uninit()),
            function: Slot::empty(),
            args: Slot::empty(),
            kwargs: Slot::empty(),
            vars: Slot::empty(),
            name: Slot::empty(),
            result: Slot::empty(),
            error: Slot::empty(),
            pending: Slot::empty(),
            origin: Slot::empty(),
            origin_lasti: Field::new(0),
            unread: Field::new(false),
            is_main: Field::new(false),
            holder: Field::new(ptr::null()),
            done: Event::new(),
            held_files: UnsafeCell::new(ptr::null_mut()),
        }
    }

    /// The runtime's goroutine.
    #[inline(always)]
    pub(super) fn g(&self) -> GRef {
        // SAFETY: set before anybody sees the handle.
        unsafe { (*self.gref.get()).assume_init() }
    }

    /// Sets what [`g`](Goroutine::g) gives.
    ///
    /// # Safety
    /// Nobody else has seen the handle.
    #[inline(always)]
    pub(super) unsafe fn set_g(&self, gref: GRef) {
        // SAFETY: as the caller says.
        unsafe { (*self.gref.get()).write(gref) };
    }

    /// All that it refers to.
    #[inline(always)]
    pub(super) fn references(&self) -> [&Slot; 9] {
        [
            &self.function,
            &self.args,
            &self.kwargs,
            &self.vars,
            &self.name,
            &self.result,
            &self.error,
            &self.pending,
            &self.origin,
        ]
    }

    /// Drops what the handle refers to, but for its name. Runs Python code.
    pub(super) fn drop_references(&self, gil: Gil<'_>) {
        for slot in [
            &self.function,
            &self.args,
            &self.kwargs,
            &self.vars,
            &self.result,
            &self.error,
            &self.pending,
            &self.origin,
        ] {
            slot.clear(gil);
        }
    }
}

/// Queries for code that has a handle as a pointer.
impl GoroutineObj {
    /// Takes the exception that somebody left for this goroutine: an owned reference, or null.
    ///
    /// # Safety
    /// `slf` is a handle; the GIL is held.
    pub(crate) unsafe fn take_pending(slf: Raw) -> Raw {
        // SAFETY: a handle, with the GIL.
        let pending = unsafe { this::<Goroutine>(slf).pending.take(Gil::assume().exclusive()) };
        pending.map_or(ptr::null_mut(), New::give)
    }

    /// Its ambient contexts; null if it never needed any.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    #[inline]
    pub(crate) unsafe fn holder(slf: Raw) -> *const Holder {
        // SAFETY: a handle, with the GIL.
        unsafe { this::<Goroutine>(slf).holder.get(Gil::assume().exclusive()) }
    }

    /// Sets what [`holder`](Self::holder) gives; the handle takes a share of it over.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending); it has none.
    pub(crate) unsafe fn set_holder(slf: Raw, holder: *const Holder) {
        // SAFETY: a handle, with the GIL.
        unsafe { this::<Goroutine>(slf).holder.set(Gil::assume().exclusive(), holder) };
    }

    /// The exception that ended it, borrowed; null if there was none.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn error(slf: Raw) -> Raw {
        // SAFETY: a handle, with the GIL.
        unsafe { this::<Goroutine>(slf).error.as_raw(Gil::assume().exclusive()) }
    }

    /// Something is left for it to raise.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn has_pending(slf: Raw) -> bool {
        // SAFETY: a handle, with the GIL.
        unsafe { !this::<Goroutine>(slf).pending.is_empty(Gil::assume().exclusive()) }
    }

    /// The runtime's goroutine.
    ///
    /// # Safety
    /// `slf` is a handle.
    pub(crate) unsafe fn gref(slf: Raw) -> GRef {
        // SAFETY: a handle.
        unsafe { this::<Goroutine>(slf) }.g()
    }

    /// Set at its end.
    ///
    /// # Safety
    /// `slf` is a handle, which outlives the use.
    pub(crate) unsafe fn done<'a>(slf: Raw) -> &'a Event {
        // SAFETY: a handle.
        unsafe { &this::<'a, Goroutine>(slf).done }
    }

    /// Leaves `error` (taken over) for the goroutine to raise, and ends its wait if it waits in golib.
    ///
    /// # Safety
    /// As [`take_pending`](Self::take_pending).
    pub(crate) unsafe fn interrupt(slf: Raw, error: Raw) {
        // SAFETY: a handle, with the GIL; an exception.
        let (gil, g, error) =
            unsafe { (Gil::assume(), this::<Goroutine>(slf), New::nullable(error)) };
        release(gil, g.pending.put(gil.exclusive(), error));
        g.g().interrupt();
    }
}
