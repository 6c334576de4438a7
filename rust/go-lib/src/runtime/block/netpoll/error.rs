//! Why an operation on a descriptor failed, with the three causes kept apart: the descriptor is gone, the wait
//! ended, or the system refused.
//!
//! A host tells cancellation from failure by it; `net` turns it into an [`io::Error`] for users of the crate.

use std::io;

use crate::runtime::object::wait::WaitError;
use crate::runtime::poller::error::FdError;

/// Why an operation on a descriptor failed.
#[derive(Debug)]
pub enum NetError {
    /// The descriptor was closed, before the operation or while it waited.
    Closed,
    /// The wait ended by a deadline, an interrupt or a deadlock.
    Wait(WaitError),
    /// The system's error.
    Io(io::Error),
}

impl From<FdError> for NetError {
    fn from(e: FdError) -> NetError {
        match e {
            FdError::Closed => NetError::Closed,
            FdError::Wait(e) => NetError::Wait(e),
        }
    }
}

impl From<io::Error> for NetError {
    fn from(e: io::Error) -> NetError {
        NetError::Io(e)
    }
}
