//! The operating system and the CPU: the only users of `libc` calls and assembly.
//!
//! One file a concept; nothing here knows of goroutines.

pub(crate) mod arch;
pub(crate) mod clock;
pub(crate) mod cpus;
pub(crate) mod disturb;
pub(crate) mod errno;
pub(crate) mod futex;
pub(crate) mod mem;
pub(crate) mod membarrier;
pub(crate) mod poll;
pub(crate) mod sanitizer;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod tls;
