//! aarch64 (AAPCS64): what a switch keeps and what a new stack looks like.
//!
//! ```text
//!  saved sp ──►  x19 x20 … x28        10 registers
//!                x29 (fp) x30 (lr)    lr: into the caller of the switch; new stack: golib_goentry
//!                d8 … d15             8 registers
//!                fpcr, pad           a new stack: 0
//! ```
//!
//! # Invariants
//! 1. A switch saves exactly the callee-saved state of the ABI.
//! 2. `golib_goentry`'s CFI has an undefined return address.

use super::Entry;
use std::arch::{asm, global_asm};

/// A switch; `saved` is what it does when the left stack is whole.
macro_rules! golib_switch {
    ($name:literal, saved: [$($saved:literal),*]) => {
        global_asm!(
            ".pushsection .text.golib_switch,\"ax\",@progbits",
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            ".p2align 4",
            concat!($name, ":"),
            ".cfi_startproc",
            "sub sp, sp, #176",
            ".cfi_adjust_cfa_offset 176",
            "stp x19, x20, [sp, #0]",
            "stp x21, x22, [sp, #16]",
            "stp x23, x24, [sp, #32]",
            "stp x25, x26, [sp, #48]",
            "stp x27, x28, [sp, #64]",
            "stp x29, x30, [sp, #80]",
            ".cfi_rel_offset x29, 80",
            ".cfi_rel_offset x30, 88",
            "stp d8, d9, [sp, #96]",
            "stp d10, d11, [sp, #112]",
            "stp d12, d13, [sp, #128]",
            "stp d14, d15, [sp, #144]",
            "mrs x9, fpcr",
            "str x9, [sp, #160]",
            "mov x9, sp",
            "str x9, [x0]",
            "mov sp, x1",
            $($saved,)*
            "ldr x9, [sp, #160]",
            "msr fpcr, x9",
            "ldp x19, x20, [sp, #0]",
            "ldp x21, x22, [sp, #16]",
            "ldp x23, x24, [sp, #32]",
            "ldp x25, x26, [sp, #48]",
            "ldp x27, x28, [sp, #64]",
            "ldp x29, x30, [sp, #80]",
            "ldp d8, d9, [sp, #96]",
            "ldp d10, d11, [sp, #112]",
            "ldp d12, d13, [sp, #128]",
            "ldp d14, d15, [sp, #144]",
            "add sp, sp, #176",
            ".cfi_adjust_cfa_offset -176",
            ".cfi_restore x29",
            ".cfi_restore x30",
            "ret",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
        );
    };
}

golib_switch!("golib_leave", saved: []);
golib_switch!("golib_switch", saved: ["stlr wzr, [x2]"]);

global_asm!(
    ".pushsection .text.golib_goentry,\"ax\",@progbits",
    ".globl golib_goentry",
    ".hidden golib_goentry",
    ".type golib_goentry,@function",
    ".p2align 4",
    "golib_goentry:",
    ".cfi_startproc",
    ".cfi_undefined x30",
    "mov x29, xzr",
    "mov x30, xzr",
    "blr x19",
    "brk #1",
    ".cfi_endproc",
    ".size golib_goentry, . - golib_goentry",
    ".popsection",
    ".pushsection .tbss.golib_tls_m,\"awT\",@nobits",
    ".globl golib_tls_m",
    ".hidden golib_tls_m",
    ".type golib_tls_m,@object",
    ".size golib_tls_m, 8",
    ".p2align 3",
    "golib_tls_m:",
    ".zero 8",
    ".popsection",
);

extern "C-unwind" {
    /// Saves the callee-saved state on this stack, its address in `*save`, and goes on at `to`.
    fn golib_leave(save: *mut usize, to: usize);
    fn golib_switch(save: *mut usize, to: usize, flag: *mut u32);
    fn golib_goentry();
}

/// Leaves a goroutine's stack (its resume address goes to `*save`) for the g0 saved as `to`.
///
/// # Safety
/// `to` was saved by [`resume`].
#[inline(always)]
pub(crate) unsafe fn leave(save: *mut usize, to: usize) {
    // SAFETY: the caller's duty.
    unsafe { golib_leave(save, to) }
}

/// Leaves g0 (its resume address goes to `*save`) for the goroutine saved as `to`.
///
/// # Safety
/// `to` was saved by [`leave`] or made by [`init_stack`] and nobody else resumes it.
#[inline(always)]
pub(crate) unsafe fn resume(save: *mut usize, to: usize) {
    // SAFETY: the caller's duty.
    unsafe { golib_leave(save, to) }
}

/// Leaves a goroutine's stack (its resume address goes to `*save`) for that of the goroutine saved as
/// `to`. As soon as the left one can be resumed elsewhere `*flag` becomes 0, with release order.
///
/// # Safety
/// `to` was saved by [`leave`] or by this function and nobody else resumes it.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut usize, to: usize, flag: *mut u32) {
    // SAFETY: the caller's duty.
    unsafe { golib_switch(save, to, flag) }
}

/// Lays the first frame of a stack whose usable part ends below `top`.
///
/// # Safety
/// `top` is 16-byte aligned and the 192 bytes below it are writable and unused.
pub(crate) unsafe fn init_stack(top: usize, entry: Entry) -> usize {
    debug_assert_eq!(top % 16, 0);
    let sp = top - 176;
    // SAFETY: the caller gave us the bytes.
    unsafe {
        let frame = sp as *mut u64;
        for i in 0..22 {
            frame.add(i).write(0);
        }
        frame.write(entry as usize as u64); // x19
        frame.add(11).write(golib_goentry as *const () as usize as u64); // x30
                                                                         // fpcr stays 0, as a process starts.
    }
    sp
}

/// Gives a new goroutine on a used stack the control word that `init_stack` would.
#[inline(always)]
pub(crate) fn reset_control_words() {
    // SAFETY: 0 is a valid fpcr, as a process starts; no code of ours counts on another one.
    unsafe { asm!("msr fpcr, xzr", options(nostack, preserves_flags)) };
}

/// Reads the thread's M slot.
#[inline(always)]
pub(crate) fn tls_get() -> *mut () {
    let p: *mut ();
    // SAFETY: reads our own 8 bytes of initial-exec TLS; not `pure`, see x86_64.rs.
    unsafe {
        asm!(
            "mrs {1}, tpidr_el0",
            "adrp {0}, :gottprel:golib_tls_m",
            "ldr {0}, [{0}, :gottprel_lo12:golib_tls_m]",
            "ldr {0}, [{1}, {0}]",
            out(reg) p,
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    p
}

/// Writes the thread's M slot.
#[inline(always)]
pub(crate) fn tls_set(p: *mut ()) {
    // SAFETY: as in tls_get.
    unsafe {
        asm!(
            "mrs {1}, tpidr_el0",
            "adrp {2}, :gottprel:golib_tls_m",
            "ldr {2}, [{2}, :gottprel_lo12:golib_tls_m]",
            "str {0}, [{1}, {2}]",
            in(reg) p,
            out(reg) _,
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}
