//! `membarrier(PRIVATE_EXPEDITED)`.

const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED: i32 = 1 << 3;

/// Prepares the process; false if the kernel has no such barrier.
pub(super) fn register() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED)
}

/// Makes every running thread of the process pass a full fence; false if the kernel refuses.
pub(super) fn barrier() -> bool {
    membarrier(PRIVATE_EXPEDITED)
}

fn membarrier(command: i32) -> bool {
    // SAFETY: membarrier takes no pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
