//! The operating system and the CPU: the only users of `libc` calls, of Windows' (`win32`) and of assembly.
//!
//! One folder a concept; nothing here knows of goroutines. The differences between systems lie behind a contract in words, in the
//! folder's `mod.rs`, with a backend for each system and tests of the contract: `futex`, `membarrier`, `memory`, `thread`,
//! `signal`, `disturb`, `clock`, `cpus`, `socket`, `poll`. Linux is the one system that has them all;
//! Windows' have run under Wine (`make test-windows`); those of the others compile (`make check-targets`), and nobody has run
//! them.

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
