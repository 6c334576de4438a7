//! macOS and FreeBSD: none that a process can have for itself.

/// False: there is none.
pub(super) fn register() -> bool {
    false
}

/// False: refused.
pub(super) fn barrier() -> bool {
    false
}
