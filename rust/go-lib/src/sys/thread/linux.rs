//! Facts about threads that the kernel reports, by number and in `/proc`.

/// The kernel's id of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// The kernel's ids of this process's OS threads; None if they are not known because there is no `/proc`.
pub(crate) fn tids() -> Option<Vec<u32>> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the calling thread is the process's first, or the one that forked the process.
pub(crate) fn is_first() -> bool {
    u32::try_from(gettid()).is_ok_and(|tid| tid == std::process::id())
}

/// From now on the calling thread's sleeps end on time, not up to 50 µs late.
pub(crate) fn sleep_exactly() {
    // SAFETY: no pointers. If the kernel refuses, sleeps are longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// True if the thread `tid` of this process sleeps in the kernel.
pub(crate) fn sleeps(tid: u32) -> bool {
    if tid == 0 {
        return false;
    }
    // "pid (comm) S …": comm may hold anything, the state follows the last parenthesis.
    std::fs::read(format!("/proc/self/task/{tid}/stat")).is_ok_and(|stat| {
        let state = stat.iter().rposition(|&b| b == b')').and_then(|i| stat.get(i + 2));
        matches!(state, Some(b'S' | b'D'))
    })
}
