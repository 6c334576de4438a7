//! Passive objects: they hold state and wake nobody.
//!
//! | file | holds |
//! |---|---|
//! | `g`, `m`, `p` | a goroutine; an OS thread; the right to run goroutines |
//! | `waitword` | the claim word of a G's waits |
//! | `gref` | a goroutine by name |
//! | `host` | the host's hooks |
//! | `runq`, `hostq` | the queues of a P: Rust goroutines, the host's |
//! | `timers` | the heap of a P |
//! | `lock`, `note` | what guards all of it; where an M sleeps |
//! | `stack`, `stackpool` | stacks cut from large mappings, with their guards; unused ones |
//! | `start` | the function that a Rust goroutine begins with |
//! | `sudog`, `doorbell` | a G's place in a queue; what stands there for nobody |
//! | `wait`, `waitreason` | how long an operation may wait, and why a wait ended; for what it waits |
//! | `readylist` | Gs that were claimed together |
//! | `event` | where events pass, for a tracer |
//! | `due` | when sysmon is to do what it does now and then |

pub(crate) mod doorbell;
pub(crate) mod due;
pub(crate) mod event;
pub(crate) mod g;
pub(crate) mod gref;
pub(crate) mod host;
pub(crate) mod hostq;
pub(crate) mod lock;
pub(crate) mod m;
pub(crate) mod note;
pub(crate) mod p;
pub(crate) mod readylist;
pub(crate) mod runq;
pub(crate) mod stack;
pub(crate) mod stackpool;
pub(crate) mod start;
pub(crate) mod sudog;
pub(crate) mod timers;
pub(crate) mod wait;
pub(crate) mod waitreason;
pub(crate) mod waitword;
