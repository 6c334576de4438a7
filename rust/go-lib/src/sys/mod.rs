//! The operating system and the CPU: the only users of `libc` calls, of Windows' (`win32`) and of assembly.
//!
//! Each folder holds one concept, and nothing here knows of goroutines. The folder's `mod.rs` states a contract in words;
//! behind it lie a backend for each system and tests of the contract: `futex`, `membarrier`, `memory`, `thread`, `signal`,
//! `disturb`, `clock`, `cpus`, `socket`, `poll`. Only Linux has a backend for every contract. Windows' backends have run under
//! Wine (`make test-windows`); those of the other systems compile (`make check-targets`) but have never run.

pub(crate) mod arch;
pub(crate) mod clock;
pub(crate) mod cpus;
pub(crate) mod disturb;
pub(crate) mod errno;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod membarrier;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod sanitizer;
pub(crate) mod signal;
pub(crate) mod socket;
#[cfg(all(unix, not(golib_loom)))]
pub(crate) mod socket_io;
pub(crate) mod thread;
pub(crate) mod tls;
#[cfg(windows)]
pub(crate) mod win32;
