//! Faults: telling a goroutine's stack overflow from any other.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `install_guard_handler(hit)` | from now on a fault ends the process with status 2 if `hit(address)` says that it was a guard; any other has the effect it had before |
//! | `use_signal_stack()` | gives the calling thread a stack on which that works when its own is full |
//! | `leave_signal_stack(at)` | the thread is about to end |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | SIGSEGV and SIGBUS |
//! | `linux` | a sent signal sent on with what it told of its sender, on Linux |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod posix;

#[cfg(target_os = "linux")]
use linux::send_again;
#[cfg(unix)]
pub(crate) use posix::{install_guard_handler, leave_signal_stack, use_signal_stack};

/// Asked with the fault's address, on the signal stack; true: it was a goroutine's guard and has been reported.
pub(crate) type GuardHit = fn(usize) -> bool;
