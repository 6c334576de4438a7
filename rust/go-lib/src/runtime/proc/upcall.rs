//! Functions of the scheduler's upper half that the lower half calls. They are handed over at the start, so that the lower
//! half need not name the upper one.

use std::ffi::c_void;
use std::sync::OnceLock;

use crate::runtime::proc::throw;
use crate::runtime::sched::Sched;

/// A thread's first function.
pub(crate) type ThreadFn = extern "C" fn(*mut c_void) -> *mut c_void;

/// The functions that are handed over.
pub(crate) struct Upcalls {
    /// The first function of a new M's thread.
    pub(crate) mstart: ThreadFn,
    /// Starts the runtime unless it has been started: also anew, in a forked child.
    pub(crate) ensure_started: fn() -> &'static Sched,
}

/// A process's, also a forked child's: the functions are the same there.
static UPCALLS: OnceLock<Upcalls> = OnceLock::new();

/// Hands them over; the first caller does.
pub(crate) fn hand_over(upcalls: Upcalls) {
    UPCALLS.get_or_init(|| upcalls);
}

fn upcalls() -> &'static Upcalls {
    match UPCALLS.get() {
        Some(upcalls) => upcalls,
        None => throw("the runtime was never started"),
    }
}

/// See [`Upcalls::mstart`].
pub(crate) fn mstart() -> ThreadFn {
    upcalls().mstart
}

/// See [`Upcalls::ensure_started`].
#[inline(always)]
#[cfg(not(golib_loom))]
pub(crate) fn ensure_started() -> &'static Sched {
    (upcalls().ensure_started)()
}
