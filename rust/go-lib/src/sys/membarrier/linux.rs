//! `membarrier(PRIVATE_EXPEDITED)`.

const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED: i32 = 1 << 3;

/// Prepares the process; false: there is no such barrier.
pub(super) fn register() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED)
}

/// Has every running thread of the process pass a full fence; false: refused.
pub(super) fn barrier() -> bool {
    membarrier(PRIVATE_EXPEDITED)
}

fn membarrier(command: i32) -> bool {
    // SAFETY: membarrier takes no pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
