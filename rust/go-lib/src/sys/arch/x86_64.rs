//! x86-64 (System V): the registers that a switch keeps, and the layout of a new stack.
//!
//! ```text
//!  saved sp ──►  mxcsr | x87 control word      8 bytes
//!                r15 r14 r13 r12 rbx rbp
//!                return address                into the code that called the switch,
//!                                              on a new stack: `golib_goentry`
//!  new stack:    entry function                popped by golib_goentry into r12's place
//!                0                             ends every frame-pointer walk
//! ```
//!
//! # Invariants
//! 1. A switch saves the callee-saved state of the ABI; the rest is the compiler's duty, to which it
//!    is an ordinary call. Only goroutines keep control words of their own: reading mxcsr takes 5 ns,
//!    and g0 computes nothing with floating point.
//! 2. `golib_goentry`'s CFI says that it has no caller (undefined return address), so gdb, panics
//!    and forced unwinding end there cleanly.
//!
//! Go: runtime/asm_amd64.s (gogo, mcall).

use super::object::{end, function};
use super::x86_64_words::{MXCSR, X87_CONTROL};
use super::{golib_goentry, Entry};
use std::arch::global_asm;

/// A switch. `save` and `load` treat the control words of the stack that it leaves and of the one that
/// it resumes; `saved` runs once the stack that it leaves is completely saved; `go` continues on the
/// other stack.
///
/// The CPU predicts `ret` from the calls made on the other stack. Between a goroutine and g0 that is
/// always wrong: there an indirect jump is better, which is predicted from where it went last (gosched:
/// 36 ns, with it 25). From goroutine to goroutine it is mostly right, for both have called the same
/// functions on their way here, and then so are all the returns that follow (a round trip of two
/// goroutines: 330 ns, with `ret` 245).
macro_rules! golib_switch {
    ($name:literal, save: [$($save:literal),*], saved: [$($saved:literal),*],
     load: [$($load:literal),*], go: [$($go:literal),*]) => {
        global_asm!(
            function!($name),
            "push rbp",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rbp, 0",
            "push rbx",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rbx, 0",
            "push r12",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset r12, 0",
            "push r13",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset r13, 0",
            "push r14",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset r14, 0",
            "push r15",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset r15, 0",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            $($save,)*
            "mov [rdi], rsp",
            "mov rsp, rsi",
            $($saved,)*
            $($load,)*
            "add rsp, 8",
            ".cfi_adjust_cfa_offset -8",
            "pop r15",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore r15",
            "pop r14",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore r14",
            "pop r13",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore r13",
            "pop r12",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore r12",
            "pop rbx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore rbx",
            "pop rbp",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore rbp",
            $($go,)*
            end!($name),
        );
    };
}

golib_switch!("golib_leave", save: ["stmxcsr [rsp]", "fnstcw [rsp + 4]"], saved: [], load: [], go: [
    "pop rcx",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_register rip, rcx",
    "jmp rcx"
]);
golib_switch!("golib_resume", save: [], saved: [], load: ["ldmxcsr [rsp]", "fldcw [rsp + 4]"], go: [
    "pop rcx",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_register rip, rcx",
    "jmp rcx"
]);
// The words are nearly always the same, and comparing them (of mxcsr only the control bits, as the
// ABI has it) is cheaper than loading them.
macro_rules! golib_switch_between_goroutines {
    ($name:literal, saved: [$($saved:literal),*]) => {
        golib_switch!(
            $name,
            save: [
                "stmxcsr [rsp]",
                "fnstcw [rsp + 4]",
                "mov eax, [rsp]",
                "movzx ecx, word ptr [rsp + 4]"
            ],
            saved: [$($saved),*],
            load: [
                "xor eax, [rsp]",
                "test eax, 0xffc0",
                "je 2f",
                "ldmxcsr [rsp]",
                "2:",
                "cmp cx, [rsp + 4]",
                "je 3f",
                "fldcw [rsp + 4]",
                "3:"
            ],
            go: ["ret"]
        );
    };
}
golib_switch_between_goroutines!("golib_switch", saved: ["mov dword ptr [rdx], 0"]);
golib_switch_between_goroutines!("golib_relay", saved: []);

global_asm!(
    // The first frame of every goroutine. rip is undefined in its CFI: nothing called it.
    function!("golib_goentry"),
    ".cfi_undefined rip",
    "xor ebp, ebp",
    "call r12",
    "ud2",
    end!("golib_goentry"),
);

/// Writes the first frame of a stack whose usable part ends below `top`; returns the address to
/// resume it at.
///
/// # Safety
/// `top` is 16-byte aligned and the 128 bytes below it are writable and unused.
pub(crate) unsafe fn init_stack(top: usize, _hi: usize, entry: Entry) -> usize {
    debug_assert_eq!(top % 16, 0);
    // Layout from the low end: fp control, r15 r14 r13 r12 rbx rbp, return address. After the
    // `ret` the stack pointer is `top - 16`, 16-byte aligned as the ABI wants before a call.
    let sp = top - 16 - 8 * 8;
    // SAFETY: the caller gave us the bytes.
    unsafe {
        let frame = sp as *mut u64;
        frame.write(u64::from(MXCSR) | u64::from(X87_CONTROL) << 32);
        for i in 1..7 {
            frame.add(i).write(0);
        }
        frame.add(4).write(entry as usize as u64); // r12
        frame.add(7).write(golib_goentry as *const () as usize as u64);
        frame.add(8).write(0);
        frame.add(9).write(0);
    }
    sp
}
