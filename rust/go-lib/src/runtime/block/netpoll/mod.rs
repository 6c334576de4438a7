//! Descriptors whose operations wait for the poller.
//!
//! | file | holds |
//! |---|---|
//! | `wait` | how a G waits at a PollDesc |
//! | `fd` | a descriptor with its lock, for those who read and write |
//! | `error` | why an operation failed |

pub(crate) mod error;
pub(crate) mod fd;
mod wait;

pub use error::NetError;
