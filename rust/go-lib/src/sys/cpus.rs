//! How many CPUs and threads this process may use.

/// `GOMAXPROCS` if it is a positive number, else the number of CPUs.
pub(crate) fn default_procs() -> usize {
    let wish = std::env::var("GOMAXPROCS").ok().and_then(|s| s.trim().parse::<usize>().ok());
    match wish {
        Some(n) if n > 0 => n,
        _ => count(),
    }
}

/// The smaller of the affinity mask and the cgroup quota, at least 1.
pub(crate) fn count() -> usize {
    // std reads both.
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `pids.max` of this process's control group (v2), if it has a limit.
pub(crate) fn pids_max() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::"))?;
    let file = format!("/sys/fs/cgroup{}/pids.max", path.trim_end_matches('/'));
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}
