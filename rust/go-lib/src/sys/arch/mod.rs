//! What differs from CPU to CPU: the context switch, a goroutine's first frame, the TLS slot.
//!
//! Every backend provides the same functions: `leave`, `resume`, `switch`, `relay`, `init_stack`, `prefetch`,
//! `reset_control_words`, `tls_get`, `tls_set`, `tell_valgrind_of_stack`.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{
    init_stack, leave, prefetch, relay, reset_control_words, resume, switch,
    tell_valgrind_of_stack, tls_get, tls_set,
};

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{
    init_stack, leave, prefetch, relay, reset_control_words, resume, switch,
    tell_valgrind_of_stack, tls_get, tls_set,
};

/// A goroutine's first function. It never returns to its caller: there is none.
pub(crate) type Entry = unsafe extern "C-unwind" fn() -> !;
