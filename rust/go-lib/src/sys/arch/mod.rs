//! The parts that differ between CPUs: the context switch, a goroutine's first frame, and with glibc the slot of the current M.
//!
//! # The contract of a backend
//! - In assembly: `golib_leave`, `golib_resume`, `golib_switch` and `golib_relay`, which the functions below call, and
//!   `golib_goentry`, the first frame of each goroutine.
//! - `init_stack`, `prefetch`, `reset_control_words`, `tell_valgrind_of_stack`; `TOP_BYTES`, the part of a stack without
//!   frames.
//! - With glibc and on Windows, a module `tls` with `get` and `set` (see `sys/tls.rs`).

#[cfg(all(target_os = "linux", target_env = "gnu", not(golib_loom)))]
mod elf_slot;
#[cfg(not(windows))]
mod object;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "x86_64", not(windows)))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", windows))]
mod x86_64_windows;
#[cfg(target_arch = "x86_64")]
mod x86_64_words;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{init_stack, prefetch, reset_control_words, tell_valgrind_of_stack};
#[cfg(all(target_arch = "x86_64", not(windows)))]
pub(crate) use x86_64::init_stack;
#[cfg(all(target_arch = "x86_64", windows))]
pub(crate) use x86_64_windows::{init_stack, stack_end, StackRecord, TOP_BYTES};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_words::{prefetch, reset_control_words, tell_valgrind_of_stack};

/// How many bytes at the top of a stack no frame may use.
#[cfg(not(windows))]
pub(crate) const TOP_BYTES: usize = 0;

#[cfg(all(target_arch = "aarch64", target_os = "linux", target_env = "gnu", not(golib_loom)))]
#[path = "aarch64_tls.rs"]
pub(super) mod tls;
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", not(golib_loom)))]
#[path = "x86_64_tls.rs"]
pub(super) mod tls;
#[cfg(all(target_arch = "x86_64", windows))]
#[path = "x86_64_teb.rs"]
pub(super) mod tls;

/// A goroutine's first function. It never returns; it has no caller.
pub(crate) type Entry = unsafe extern "C-unwind" fn() -> !;

unsafe extern "C-unwind" {
    fn golib_leave(save: *mut usize, to: usize);
    fn golib_resume(save: *mut usize, to: usize);
    fn golib_switch(save: *mut usize, to: usize, flag: *mut u32);
    fn golib_relay(save: *mut usize, to: usize);
    fn golib_goentry();
}

/// Leaves a goroutine's stack (its resume address goes to `*save`) for the g0 saved as `to`.
///
/// # Safety
/// `to` was saved by [`resume`]; everything that `save`'s readers need is published by the caller
/// afterwards, on g0.
#[inline(always)]
pub(crate) unsafe fn leave(save: *mut usize, to: usize) {
    // SAFETY: the caller's duty.
    unsafe { golib_leave(save, to) }
}

/// Leaves g0 (its resume address goes to `*save`) for the goroutine saved as `to`.
///
/// # Safety
/// `to` was saved by [`leave`] or made by [`init_stack`], and nothing else resumes it.
#[inline(always)]
pub(crate) unsafe fn resume(save: *mut usize, to: usize) {
    // SAFETY: the caller's duty.
    unsafe { golib_resume(save, to) }
}

/// Leaves a goroutine's stack (its resume address goes to `*save`) for that of the goroutine saved as
/// `to`. As soon as the left one can be resumed elsewhere `*flag` becomes 0, with release order.
///
/// # Safety
/// `to` was saved by [`leave`] or by this function, and nothing else resumes it.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut usize, to: usize, flag: *mut u32) {
    // SAFETY: the caller's duty.
    unsafe { golib_switch(save, to, flag) }
}

/// As [`switch`], without a flag.
///
/// # Safety
/// `to` was saved by [`leave`], [`switch`] or this function, or made by [`init_stack`], and nothing else
/// resumes it.
#[inline(always)]
pub(crate) unsafe fn relay(save: *mut usize, to: usize) {
    // SAFETY: the caller's duty.
    unsafe { golib_relay(save, to) }
}
