//! x86-64 with glibc: access to the slot of the current M (`elf_slot.rs`), in a few instructions and without a call.

use std::arch::asm;

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
