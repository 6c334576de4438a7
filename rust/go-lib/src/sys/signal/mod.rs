//! Faults: how a goroutine's stack overflow is told from any other fault.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `install_guard_handler(hit)` | from now on a fault calls `hit(address)`; if that returns, the fault has its usual effect |
//! | `use_signal_stack()` | gives the calling thread a stack on which `hit` can run when its own stack is full |
//! | `leave_signal_stack(at)` | the thread is about to end |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | SIGSEGV and SIGBUS |
//! | `linux` | sends a signal on with the information about its sender, on Linux |
//! | `windows` | exceptions: a stack overflow, an access violation |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux::send_again;

/// False: the caller raises the signal again, without the information about its sender.
#[cfg(not(any(target_os = "linux", windows)))]
fn send_again(_signal: i32, _info: &libc::siginfo_t) -> bool {
    false
}
#[cfg(unix)]
pub(crate) use posix::{install_guard_handler, leave_signal_stack, use_signal_stack};
#[cfg(windows)]
pub(crate) use windows::{install_guard_handler, leave_signal_stack, use_signal_stack};

/// Called with a fault's address, on the signal stack. Returns if the address is not in a goroutine's guard.
pub(crate) type GuardHit = fn(usize);
