//! Waiting for one another without a channel.
//!
//! | | |
//! |---|---|
//! | [`WaitGroup`] | until a number of things are done |
//! | [`Mutex`], [`RwLock`] | one at a time; many readers or one writer |
//! | [`Cond`] | until a condition that a mutex guards holds |
//! | [`Once`], [`OnceCell`] | done by the first, awaited by the others |
//! | [`Semaphore`] | so many at a time |
//! | [`Barrier`] | until all have come |
//! | [`errgroup`] | until all are done, or the first has failed |
//! | [`singleflight`] | the same work, done once for all who want it now |
//!
//! All work on goroutines, which are parked, and on ordinary threads, which block. Nothing is
//! poisoned by a panic: `lock()` gives the guard itself (`lock().unwrap()`, as one says it to
//! `std::sync`, is accepted too). All but those that hand out clones can be made in a `static`.
//!
//! Go: package sync

#![deny(unsafe_code)]

/// `lock().unwrap()` and its kin, as one says it to `std::sync`: here nothing is poisoned, so each
/// gives the guard itself.
macro_rules! never_poisoned {
    ($guard:ident) => {
        impl<T: ?Sized> $guard<'_, T> {
            /// The guard: nothing is poisoned here. For code that was written for `std::sync`.
            #[doc(hidden)]
            #[inline]
            pub fn unwrap(self) -> Self {
                self
            }

            /// As `unwrap`.
            #[doc(hidden)]
            #[inline]
            pub fn expect(self, _text: &str) -> Self {
                self
            }

            /// As `unwrap`.
            #[doc(hidden)]
            #[inline]
            pub fn unwrap_or_else(
                self,
                _poisoned: impl FnOnce(std::sync::PoisonError<Self>) -> Self,
            ) -> Self {
                self
            }
        }
    };
}
use never_poisoned;

mod barrier;
mod cond;
pub mod errgroup;
mod mutex;
mod once;
mod rwlock;
mod semaphore;
pub mod singleflight;
mod waitgroup;

pub use crate::runtime::object::wait::WaitError;
pub use barrier::Barrier;
pub use cond::{Cond, CondMutex};
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceCell};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::Semaphore;
pub use waitgroup::WaitGroup;
