//! The tokens: values of size zero that stand for what a thread may do right now.
//!
//! Almost everything in this crate needs the GIL. Instead of saying so in its documentation, a function takes a
//! [`Gil`]: its owner has a Python thread state attached to this OS thread. Only a few places make one, and only those
//! are `unsafe`: the C functions that CPython or the runtime calls ([`methods`](super::methods),
//! [`class`](super::class), the hooks).
//!
//! | token | says | how to get it |
//! |---|---|---|
//! | [`Gil<'g>`](Gil) | a thread state is attached; any function of the C API may be called, and Python code may run | an argument |
//! | [`Exclusive<'g>`](Exclusive) | as long as only one thread runs Python, nobody else is at these fields | [`Gil::exclusive`] |
//! | [`Entry`] | this is the frame of an operation that may park | the argument `entry` of [`entry!`](super::methods) |
//!
//! # How to write a method
//! ```ignore
//! // One that never parks: a safe function, named in the type's table.
//! fn is_set(gil: Gil<'_>, event: &Object<Event>) -> Outcome<New> {
//!     Ok(boolean(gil, event.core.is_set()))
//! }
//!
//! // One that can park: `entry!` makes the C function, and the constant for the table.
//! entry! { WAIT: golib_entry_event_wait => event_wait keywords(entry, event: Event, args) {
//!     let [timeout] = args.parse(entry.gil(), "wait", &[c"timeout"], 0)?;
//!     let until = timeout_of(entry.gil(), timeout)?.wait;
//!     entry.wait(|| event.core.wait(until))?; // no token from before this line can be used after it
//!     Ok(none(entry.gil()))
//! } }
//!
//! static METHODS: Methods<Event, 3> = Methods([
//!     Method::noargs(c"is_set", is_set, c"…"),
//!     Method::parks(c"wait", WAIT, c"…"),
//!     Method::END,
//! ]);
//! ```
//! `Err(Raised)` means that a Python exception is set. An argument is a [`Ref`](super::refs::Ref), borrowed for the
//! whole call; a result of the C API is a [`New`](super::refs::New), which has no destructor: give it away or release
//! it.
//!
//! # Invariants
//! 1. A [`Gil`] does not outlive the attachment: [`Entry::wait`], which may detach, takes `&mut Entry`, so that no token that
//!    was made from it is in use.
//! 2. Frames above which Python code may run have nothing to drop: at exit CPython may end a thread by unwinding it, without
//!    the GIL. References held in such a frame are [`New`](super::refs::New)s.
//! 3. [`guard`] and [`Entry::wait`] enclose calls into the runtime only, never Python code, for the same reason: they catch.
//!
//! # Free-threaded builds
//! There a [`Gil`] stays what it is, an attached thread state, and an [`Exclusive`] means nothing any more. So the calls of
//! [`Gil::exclusive`] are the list of what needs a lock or an atomic there. [`Gil::unobserved`] names those where not a field but
//! an order of steps counts on it (`tests/test_tidy.py --report` lists them).

use std::marker::PhantomData;

pub(crate) use crate::ffi::runtime::{guard, Entry, Record};

/// This OS thread has a Python thread state attached.
#[derive(Clone, Copy)]
pub(crate) struct Gil<'g>(PhantomData<(&'g (), *mut ())>);

impl<'g> Gil<'g> {
    /// The token of code that was called with the GIL.
    ///
    /// # Safety
    /// A thread state is attached to this OS thread, and stays so whenever the token is used.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Gil<'g> {
        Gil(PhantomData)
    }

    /// Fields that only holders of the GIL touch may be read and written.
    #[inline(always)]
    pub(crate) fn exclusive(self) -> Exclusive<'g> {
        Exclusive(PhantomData)
    }

    /// As [`exclusive`](Gil::exclusive), for steps that nobody may see half done: until the token's last use this function
    /// runs no Python code and does not give the GIL up. `_what` says which order of steps that is.
    #[inline(always)]
    pub(crate) fn unobserved(self, _what: &'static str) -> Exclusive<'g> {
        Exclusive(PhantomData)
    }
}

/// This thread is the only one that runs Python, and so the only one at the fields that the GIL guards.
#[derive(Clone, Copy)]
pub(crate) struct Exclusive<'g>(PhantomData<(&'g (), *mut ())>);
