//! aarch64 (AAPCS64): the registers that a switch keeps, and the layout of a new stack.
//!
//! ```text
//!  saved sp ──►  x19 x20 … x28         10 registers; x19 of a new stack: the entry function
//!                x29 (frame pointer)   of a new stack: 0, which ends every frame-pointer walk
//!                x30 (return address)  into the code that called the switch,
//!                                      on a new stack: `golib_goentry`
//!                d8 … d15              the callee-saved halves of v8 … v15
//!                fpcr                  rounding and such
//!                unused                keeps sp a multiple of 16
//! ```
//!
//! # Invariants
//! 1. A switch saves the callee-saved state of the ABI; the rest is the compiler's duty, to which it
//!    is an ordinary call. Only goroutines keep an fpcr of their own: g0 computes nothing with
//!    floating point.
//! 2. `golib_goentry`'s CFI says that it has no caller (undefined return address), so gdb, panics
//!    and forced unwinding end there cleanly.
//! 3. x18 is the platform's: neither saved nor used. Return addresses may be signed: the signature
//!    depends on the stack pointer and the process, and a stack does not move.
//!
//! Go: runtime/asm_arm64.s (gogo, mcall).

use super::object::{end, function};
use super::{golib_goentry, Entry};
use std::arch::{asm, global_asm};

/// The bytes that a switch keeps on the stack that it leaves.
const FRAME_BYTES: usize = 176;

/// A switch. `save` and `load` treat the fpcr of the stack that it leaves and of the one that it
/// resumes; `saved` runs once the stack that it leaves is completely saved.
///
/// It ends with `ret`, although the CPU predicts that from the calls made on the other stack (see
/// x86_64.rs): in code that is guarded by BTI no jump may land behind a call. `hint #34` is `bti c`,
/// for the veneers by which a linker reaches far functions.
macro_rules! golib_switch {
    ($name:literal, save: [$($save:literal),*], saved: [$($saved:literal),*],
     load: [$($load:literal),*]) => {
        global_asm!(
            function!($name),
            "hint #34",
            "sub sp, sp, #176",
            ".cfi_adjust_cfa_offset 176",
            "stp x19, x20, [sp, #0]",
            ".cfi_rel_offset x19, 0",
            ".cfi_rel_offset x20, 8",
            "stp x21, x22, [sp, #16]",
            ".cfi_rel_offset x21, 16",
            ".cfi_rel_offset x22, 24",
            "stp x23, x24, [sp, #32]",
            ".cfi_rel_offset x23, 32",
            ".cfi_rel_offset x24, 40",
            "stp x25, x26, [sp, #48]",
            ".cfi_rel_offset x25, 48",
            ".cfi_rel_offset x26, 56",
            "stp x27, x28, [sp, #64]",
            ".cfi_rel_offset x27, 64",
            ".cfi_rel_offset x28, 72",
            "stp x29, x30, [sp, #80]",
            ".cfi_rel_offset x29, 80",
            ".cfi_rel_offset x30, 88",
            "stp d8, d9, [sp, #96]",
            ".cfi_rel_offset b8, 96",
            ".cfi_rel_offset b9, 104",
            "stp d10, d11, [sp, #112]",
            ".cfi_rel_offset b10, 112",
            ".cfi_rel_offset b11, 120",
            "stp d12, d13, [sp, #128]",
            ".cfi_rel_offset b12, 128",
            ".cfi_rel_offset b13, 136",
            "stp d14, d15, [sp, #144]",
            ".cfi_rel_offset b14, 144",
            ".cfi_rel_offset b15, 152",
            $($save,)*
            "mov x9, sp",
            "str x9, [x0]",
            "mov sp, x1",
            $($saved,)*
            $($load,)*
            "ldp x19, x20, [sp, #0]",
            ".cfi_restore x19",
            ".cfi_restore x20",
            "ldp x21, x22, [sp, #16]",
            ".cfi_restore x21",
            ".cfi_restore x22",
            "ldp x23, x24, [sp, #32]",
            ".cfi_restore x23",
            ".cfi_restore x24",
            "ldp x25, x26, [sp, #48]",
            ".cfi_restore x25",
            ".cfi_restore x26",
            "ldp x27, x28, [sp, #64]",
            ".cfi_restore x27",
            ".cfi_restore x28",
            "ldp x29, x30, [sp, #80]",
            ".cfi_restore x29",
            ".cfi_restore x30",
            "ldp d8, d9, [sp, #96]",
            ".cfi_restore b8",
            ".cfi_restore b9",
            "ldp d10, d11, [sp, #112]",
            ".cfi_restore b10",
            ".cfi_restore b11",
            "ldp d12, d13, [sp, #128]",
            ".cfi_restore b12",
            ".cfi_restore b13",
            "ldp d14, d15, [sp, #144]",
            ".cfi_restore b14",
            ".cfi_restore b15",
            "add sp, sp, #176",
            ".cfi_adjust_cfa_offset -176",
            "ret",
            end!($name),
        );
    };
}

golib_switch!(
    "golib_leave",
    save: ["mrs x9, fpcr", "str x9, [sp, #160]"],
    saved: [],
    load: []
);
// fpcr nearly always has the right value already, and many CPUs drain their pipeline to write it.
golib_switch!(
    "golib_resume",
    save: [],
    saved: [],
    load: ["ldr x9, [sp, #160]", "mrs x10, fpcr", "cmp x9, x10", "b.eq 2f", "msr fpcr, x9", "2:"]
);
macro_rules! golib_switch_between_goroutines {
    ($name:literal, saved: [$($saved:literal),*]) => {
        golib_switch!(
            $name,
            save: ["mrs x10, fpcr", "str x10, [sp, #160]"],
            saved: [$($saved),*],
            load: ["ldr x9, [sp, #160]", "cmp x9, x10", "b.eq 2f", "msr fpcr, x9", "2:"]
        );
    };
}
golib_switch_between_goroutines!("golib_switch", saved: ["stlr wzr, [x2]"]);
golib_switch_between_goroutines!("golib_relay", saved: []);

global_asm!(
    // The first frame of every goroutine. x30 is undefined in its CFI: nothing called it.
    function!("golib_goentry"),
    ".cfi_undefined x30",
    "blr x19",
    "brk #1",
    end!("golib_goentry"),
);

/// Hints that the memory at `at` will be used soon. Any address will do.
#[inline(always)]
pub(crate) fn prefetch(at: usize) {
    // SAFETY: a prefetch does not fault.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
}

/// Writes the first frame of a stack whose usable part ends below `top`; returns the address to
/// `switch` to.
///
/// # Safety
/// `top` is 16-byte aligned and the 176 bytes below it are writable and unused.
pub(crate) unsafe fn init_stack(top: usize, _hi: usize, entry: Entry) -> usize {
    debug_assert_eq!(top % 16, 0);
    let sp = top - FRAME_BYTES;
    // SAFETY: the caller gave us the bytes.
    unsafe {
        let frame = sp as *mut u64;
        // fpcr is among them: a process starts with 0.
        for i in 0..FRAME_BYTES / 8 {
            frame.add(i).write(0);
        }
        frame.write(entry as usize as u64); // x19
        frame.add(11).write(golib_goentry as *const () as usize as u64); // x30
    }
    sp
}

/// Gives a new goroutine on a used stack the control word that `init_stack` would.
#[inline(always)]
pub(crate) fn reset_control_words() {
    // SAFETY: 0 is a valid fpcr, as a process starts; this crate counts on no other value.
    unsafe { asm!("msr fpcr, xzr", options(nostack, preserves_flags)) };
}

/// Nothing: valgrind has not been tried on this CPU. See the one for x86-64.
pub(crate) fn tell_valgrind_of_stack(_lo: usize, _hi: usize) {}
