//! Why a descriptor cannot be used.

use crate::runtime::object::wait::WaitError;

/// Why a descriptor cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FdError {
    /// It was closed.
    Closed,
    /// The wait for it ended otherwise.
    Wait(WaitError),
}
