//! How many CPUs and threads this process may use.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `pids_max()` | how many threads the system allows the process's group, if it sets a limit and tells it |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::pids_max;

/// Only Linux tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pids_max() -> Option<u64> {
    None
}

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
