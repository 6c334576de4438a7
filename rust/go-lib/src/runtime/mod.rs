//! The runtime: Go's G, M and P, the scheduler that moves them, and the blocking things above it.
//!
//! - Passive objects (they wake nobody): [`g`] [`m`] [`p`] [`runq`] [`sched`] [`hostq`] [`lock`]
//!   [`note`] [`stack`] [`timers`] [`start`] [`sudog`] [`embedder`] [`traceback`].
//! - [`proc`]: the only code that moves a G between states and queues.
//! - Blocking things, built on `gopark`/`goready`: [`chan`] [`select`] [`sema`] [`time`] [`timetimer`]
//!   [`cancel`] [`netpoll`].

pub(crate) mod cancel;
pub(crate) mod chan;
pub mod embedder;
pub(crate) mod g;
pub(crate) mod hostq;
pub(crate) mod lock;
pub(crate) mod m;
pub(crate) mod netpoll;
pub(crate) mod note;
pub(crate) mod p;
pub(crate) mod proc;
pub(crate) mod runq;
pub(crate) mod sched;
pub(crate) mod select;
pub(crate) mod sema;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod sudog;
pub(crate) mod time;
pub(crate) mod timers;
pub(crate) mod timetimer;
pub(crate) mod traceback;
pub(crate) mod waitreason;
