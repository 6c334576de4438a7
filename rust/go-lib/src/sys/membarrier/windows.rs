//! `FlushProcessWriteBuffers`, which needs no preparation and does not fail.

use crate::sys::win32::FlushProcessWriteBuffers;

/// True: there is one.
pub(super) fn register() -> bool {
    true
}

/// Has every running thread of the process pass a full fence.
pub(super) fn barrier() -> bool {
    // SAFETY: no arguments.
    unsafe { FlushProcessWriteBuffers() };
    true
}
