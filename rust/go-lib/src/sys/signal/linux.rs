//! Sending a signal on with what it told.

/// Sends this thread `signal` with `info`; false: it could not be done.
pub(super) fn send_again(signal: i32, info: &libc::siginfo_t) -> bool {
    // SAFETY: async-signal-safe calls; the kernel copies info.
    unsafe {
        let (pid, tid) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info) == 0
    }
}
