//! x86-64 with glibc: the thread's M slot, a word of initial-exec thread-local storage.
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
            "mov {0}, qword ptr [rip + golib_tls_m@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) p,
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
            "mov {1}, qword ptr [rip + golib_tls_m@GOTTPOFF]",
            "mov qword ptr fs:[{1}], {0}",
            in(reg) p,
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}
