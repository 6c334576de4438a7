//! Sends a signal on together with its information.

/// Sends `signal` with `info` to this thread; false if that fails.
pub(super) fn send_again(signal: i32, info: &libc::siginfo_t) -> bool {
    // SAFETY: async-signal-safe calls; the kernel copies info.
    unsafe {
        let (pid, tid) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info) == 0
    }
}
