//! The loom seam: atomics, cells and thread sleep under the same names from std and from loom.
//!
//! Everything above imports its atomics from here, so that the models in `loom_tests` run the
//! real source. `cfg(golib_loom)` is our own flag: dependencies do not switch with it.

#[cfg(golib_loom)]
mod loom_prim;
#[cfg(not(golib_loom))]
mod std_prim;

#[cfg(golib_loom)]
pub(crate) use loom_prim::{
    context_is_saved, fence, futex_wait, futex_wake, heavy_fence, light_fence, on_save, spin_hint,
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};
#[cfg(not(golib_loom))]
pub(crate) use std_prim::{
    fence, futex_wait, futex_wake, heavy_fence, light_fence, spin_hint, AtomicBool, AtomicI64,
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};

pub(crate) use std::sync::atomic::Ordering;

/// A constructor that is `const`, except in models: loom makes its atomics at run time.
macro_rules! const_new {
    ($(#[$attribute:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(golib_loom))]
        $(#[$attribute])*
        $vis const fn $($rest)*
        #[cfg(golib_loom)]
        $(#[$attribute])*
        $vis fn $($rest)*
    };
}
pub(crate) use const_new;

/// The cause that ended a [`futex_wait`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FutexWait {
    /// Woken, or the word had changed already.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran on this thread.
    Interrupted,
}
