//! macOS and the BSDs: facts about threads that the system tells its own process.

/// A number of the calling thread, unique in the process while it lives.
#[cfg(target_vendor = "apple")]
pub(crate) fn gettid() -> i32 {
    let mut id = 0;
    // SAFETY: id is writable; 0 is the calling thread.
    unsafe { libc::pthread_threadid_np(0, &mut id) };
    id as i32
}

/// A number of the calling thread, unique in the process while it lives.
#[cfg(target_os = "freebsd")]
pub(crate) fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::pthread_getthreadid_np() }
}

/// Unknown, so a deadlock is not reported.
pub(crate) fn tids() -> Option<Vec<u32>> {
    None
}

/// Unknown.
pub(crate) fn is_first() -> bool {
    false
}

/// Does nothing: there is no timer slack to set.
pub(crate) fn sleep_exactly() {}

/// Unknown. A goroutine that did not announce its call is found blocked when it has run for too long.
pub(crate) fn sleeps(_tid: u32) -> bool {
    false
}
