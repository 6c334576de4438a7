//! `FlushProcessWriteBuffers`, which needs no preparation and does not fail.

use crate::sys::win32::FlushProcessWriteBuffers;

/// True: Windows always has the barrier.
pub(super) fn register() -> bool {
    true
}

/// Makes every running thread of the process pass a full fence.
pub(super) fn barrier() -> bool {
    // SAFETY: no arguments.
    unsafe { FlushProcessWriteBuffers() };
    true
}
