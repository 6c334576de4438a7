//! macOS and FreeBSD have no barrier for a single process.

/// False: the system has no such barrier.
pub(super) fn register() -> bool {
    false
}

/// False: the system refuses it.
pub(super) fn barrier() -> bool {
    false
}
