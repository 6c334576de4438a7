//! The runtime: Go's G, M and P, the scheduler that moves them, and the blocking things above it.
//!
//! From the bottom up; each level uses only those below it:
//!
//! | level | holds |
//! |---|---|
//! | [`clock`] | the time that users see |
//! | [`object`] | passive objects: they wake nobody |
//! | [`poller`] | the network poller: what is ready |
//! | [`sched`], [`traceback`] | what all Ms share; dumps of it |
//! | [`proc`] | the only code that moves a G between states and queues |
//! | [`block`] | blocking things, built on `gopark` and `goready` |
//! | [`embedder`] | the host's face |

pub(crate) mod block;
pub(crate) mod clock;
pub mod embedder;
pub(crate) mod object;
pub(crate) mod poller;
pub(crate) mod proc;
pub(crate) mod sched;
pub(crate) mod traceback;
