//! What differs from CPU to CPU: the context switch, a goroutine's first frame, and with glibc the slot of the current M.
//!
//! Every backend provides the same functions: `leave`, `resume`, `switch`, `relay`, `init_stack`, `prefetch`,
//! `reset_control_words`, `tell_valgrind_of_stack`; and a module `tls` with `get` and `set` (see `sys/tls.rs`).

mod object;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{
    init_stack, leave, prefetch, relay, reset_control_words, resume, switch, tell_valgrind_of_stack,
};

#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", not(golib_loom)))]
#[path = "x86_64_tls.rs"]
pub(super) mod tls;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{
    init_stack, leave, prefetch, relay, reset_control_words, resume, switch, tell_valgrind_of_stack,
};

#[cfg(all(target_arch = "aarch64", target_os = "linux", target_env = "gnu", not(golib_loom)))]
#[path = "aarch64_tls.rs"]
pub(super) mod tls;

/// A goroutine's first function. It never returns to its caller: there is none.
pub(crate) type Entry = unsafe extern "C-unwind" fn() -> !;
