//! aarch64 with glibc: the thread's M slot, a word of initial-exec thread-local storage.
//!
//! An access is a few instructions and no call, even in a library that is loaded later: glibc sets
//! some storage aside for such. Others do not (musl refuses to load the library); see `sys/tls.rs`
//! for those.

use std::arch::{asm, global_asm};

global_asm!(
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

/// Reads the thread's M slot.
#[inline(always)]
pub(crate) fn get() -> *mut () {
    let p: *mut ();
    // SAFETY: reads our own 8 bytes of initial-exec TLS. Not `pure`: the answer changes when a
    // switch brings this code to another thread, so the compiler must ask again each time.
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
pub(crate) fn set(p: *mut ()) {
    // SAFETY: as in get.
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
