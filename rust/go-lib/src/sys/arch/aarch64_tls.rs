//! aarch64 with glibc: access to the slot of the current M (`elf_slot.rs`), in a few instructions and without a call.

use std::arch::asm;

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
