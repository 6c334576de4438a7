//! Passive objects: they hold state and wake nobody.
//!
//! | file | holds |
//! |---|---|
//! | `g`, `m`, `p` | a goroutine with its claim word; an OS thread; the right to run goroutines |
//! | `runq`, `hostq` | the queues of a P: Rust goroutines, the host's |
//! | `timers` | the heap of a P |
//! | `lock`, `note` | what guards all of it; where an M sleeps |
//! | `stack` | stacks cut from large mappings, with their guards |
//! | `start` | the function that a Rust goroutine begins with |
//! | `sudog`, `waitreason` | a G's place in a queue; why it waits |

pub(crate) mod g;
pub(crate) mod hostq;
pub(crate) mod lock;
pub(crate) mod m;
pub(crate) mod note;
pub(crate) mod p;
pub(crate) mod runq;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod sudog;
pub(crate) mod timers;
pub(crate) mod waitreason;
