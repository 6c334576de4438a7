//! Descriptors whose operations wait for the poller.
//!
//! | file | holds |
//! |---|---|
//! | `wait` | how a G waits at a PollDesc |
//! | `fd` | a descriptor with its lock, for readers and writers |
//! | `foreign` | descriptors that the embedder opens and uses itself |
//! | `error` | why an operation failed |

pub(crate) mod error;
pub(crate) mod fd;
#[cfg(unix)]
pub(crate) mod foreign;
mod wait;

pub use error::NetError;
