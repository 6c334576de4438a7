//! Descriptors whose operations wait for the poller.
//!
//! | file | holds |
//! |---|---|
//! | `fd` | a descriptor with its lock, for those who read and write |
//! | `error` | why an operation failed |

pub(crate) mod error;
pub(crate) mod fd;

pub use error::NetError;
