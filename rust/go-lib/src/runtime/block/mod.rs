//! Blocking things: built on `gopark` and `goready`, never on queues or status.
//!
//! | folder | holds |
//! |---|---|
//! | `chan`, `select` | the untyped channel; waiting on several of them |
//! | `sema` | wait queues and the cores of everything in `sync` |
//! | `time`, `timetimer`, `cancel` | sleeps and alarms; a user's timer; the tree of contexts |
//! | `netpoll` | descriptors |

pub(crate) mod cancel;
pub(crate) mod chan;
pub(crate) mod netpoll;
pub(crate) mod select;
pub(crate) mod sema;
pub(crate) mod time;
pub(crate) mod timetimer;
