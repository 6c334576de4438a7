//! x86-64 (Windows): the registers that a switch keeps, what the system knows of a stack, and the layout of a new one.
//!
//! ```text
//!  saved sp ──►  xmm6 … xmm15                  160 bytes
//!                a goroutine: hi, mxcsr | x87 control word, 0
//!                g0: the thread's StackBase, StackLimit, DeallocationStack
//!                r15 r14 r13 r12 rsi rdi rbx rbp
//!                return address                into the code that called the switch,
//!                                              on a new stack: `golib_goentry`
//!  new stack:    0                             its return address: nothing called it
//!                0
//!  top ──►       …
//!  hi ──►        (the StackRecord lies below)
//! ```
//!
//! # Invariants
//! 1. A switch saves the callee-saved state of the ABI, as in `x86_64.rs`, whose remarks on control words and on `ret` hold
//!    here too.
//! 2. The thread's information block names the stack that the thread runs on: the kernel grows a stack within these bounds
//!    only, large frames ask it how far the stack is there, and an exception's frames must lie inside. The limit moves while a
//!    goroutine runs, so a switch takes it to the stack's record and back; a goroutine's bounds are never read from its frame.
//! 3. The unwind tables say what the prologue saves, and that `golib_goentry` is returned to nowhere: an address of 0 ends
//!    every walk.

use super::x86_64_words::{MXCSR, X87_CONTROL};
use super::{golib_goentry, Entry};
use std::arch::{asm, global_asm};

/// The record at the upper end of each stack. The switch knows its layout.
#[repr(C)]
pub(crate) struct StackRecord {
    /// The lowest address: the DeallocationStack.
    pub(crate) end: usize,
    /// How far down the stack is committed: the StackLimit when the stack was left.
    pub(crate) limit: usize,
}

/// How many bytes at the top of a stack no frame may use.
pub(crate) const TOP_BYTES: usize = size_of::<StackRecord>();

/// A switch: see `x86_64.rs` for the parts. The arguments are in rcx, rdx and r8.
macro_rules! golib_switch {
    ($name:literal, save: [$($save:literal),*], saved: [$($saved:literal),*],
     load: [$($load:literal),*], go: [$($go:literal),*]) => {
        global_asm!(
            ".text",
            concat!(".def ", $name, "\n.scl 2\n.type 32\n.endef"),
            concat!(".globl ", $name),
            ".p2align 4",
            concat!(".seh_proc ", $name),
            concat!($name, ":"),
            "push rbp",
            ".seh_pushreg rbp",
            "push rbx",
            ".seh_pushreg rbx",
            "push rdi",
            ".seh_pushreg rdi",
            "push rsi",
            ".seh_pushreg rsi",
            "push r12",
            ".seh_pushreg r12",
            "push r13",
            ".seh_pushreg r13",
            "push r14",
            ".seh_pushreg r14",
            "push r15",
            ".seh_pushreg r15",
            "sub rsp, 184",
            ".seh_stackalloc 184",
            "movaps [rsp], xmm6",
            ".seh_savexmm xmm6, 0",
            "movaps [rsp + 16], xmm7",
            ".seh_savexmm xmm7, 16",
            "movaps [rsp + 32], xmm8",
            ".seh_savexmm xmm8, 32",
            "movaps [rsp + 48], xmm9",
            ".seh_savexmm xmm9, 48",
            "movaps [rsp + 64], xmm10",
            ".seh_savexmm xmm10, 64",
            "movaps [rsp + 80], xmm11",
            ".seh_savexmm xmm11, 80",
            "movaps [rsp + 96], xmm12",
            ".seh_savexmm xmm12, 96",
            "movaps [rsp + 112], xmm13",
            ".seh_savexmm xmm13, 112",
            "movaps [rsp + 128], xmm14",
            ".seh_savexmm xmm14, 128",
            "movaps [rsp + 144], xmm15",
            ".seh_savexmm xmm15, 144",
            ".seh_endprologue",
            $($save,)*
            "mov [rcx], rsp",
            "mov rsp, rdx",
            $($saved,)*
            $($load,)*
            "movaps xmm6, [rsp]",
            "movaps xmm7, [rsp + 16]",
            "movaps xmm8, [rsp + 32]",
            "movaps xmm9, [rsp + 48]",
            "movaps xmm10, [rsp + 64]",
            "movaps xmm11, [rsp + 80]",
            "movaps xmm12, [rsp + 96]",
            "movaps xmm13, [rsp + 112]",
            "movaps xmm14, [rsp + 128]",
            "movaps xmm15, [rsp + 144]",
            "add rsp, 184",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rsi",
            "pop rdi",
            "pop rbx",
            "pop rbp",
            $($go,)*
            ".seh_endproc",
        );
    };
}

golib_switch!("golib_leave", save: [
    // The goroutine's: by 2 its limit goes to the record.
    "mov rax, gs:[0x8]",
    "mov r9, gs:[0x10]",
    "mov [rsp + 160], rax",
    "mov [rax - 8], r9",
    "stmxcsr [rsp + 168]",
    "fnstcw [rsp + 172]"
], saved: [], load: [
    // g0's.
    "mov rax, [rsp + 160]",
    "mov r9, [rsp + 168]",
    "mov r10, [rsp + 176]",
    "mov gs:[0x8], rax",
    "mov gs:[0x10], r9",
    "mov gs:[0x1478], r10"
], go: ["pop rcx", "jmp rcx"]);
golib_switch!("golib_resume", save: [
    "mov rax, gs:[0x8]",
    "mov r9, gs:[0x10]",
    "mov r10, gs:[0x1478]",
    "mov [rsp + 160], rax",
    "mov [rsp + 168], r9",
    "mov [rsp + 176], r10"
], saved: [], load: [
    "mov rax, [rsp + 160]",
    "mov r9, [rax - 8]",
    "mov r10, [rax - 16]",
    "mov gs:[0x8], rax",
    "mov gs:[0x10], r9",
    "mov gs:[0x1478], r10",
    "ldmxcsr [rsp + 168]",
    "fldcw [rsp + 172]"
], go: ["pop rcx", "jmp rcx"]);
macro_rules! golib_switch_between_goroutines {
    ($name:literal, saved: [$($saved:literal),*]) => {
        golib_switch!(
            $name,
            save: [
                "mov rax, gs:[0x8]",
                "mov r9, gs:[0x10]",
                "mov [rsp + 160], rax",
                "mov [rax - 8], r9",
                "stmxcsr [rsp + 168]",
                "fnstcw [rsp + 172]",
                "mov r11d, [rsp + 168]",
                "movzx r10d, word ptr [rsp + 172]"
            ],
            saved: [$($saved),*],
            load: [
                "mov rax, [rsp + 160]",
                "mov r9, [rax - 8]",
                "mov gs:[0x8], rax",
                "mov gs:[0x10], r9",
                "mov r9, [rax - 16]",
                "mov gs:[0x1478], r9",
                "xor r11d, [rsp + 168]",
                "test r11d, 0xffc0",
                "je 2f",
                "ldmxcsr [rsp + 168]",
                "2:",
                "cmp r10w, [rsp + 172]",
                "je 3f",
                "fldcw [rsp + 172]",
                "3:"
            ],
            go: ["ret"]
        );
    };
}
golib_switch_between_goroutines!("golib_switch", saved: ["mov dword ptr [r8], 0"]);
golib_switch_between_goroutines!("golib_relay", saved: []);

global_asm!(
    // The first frame of every goroutine. By 3 what called it is at address 0. The callee may use 32 bytes above its return
    // address.
    ".text",
    ".def golib_goentry\n.scl 2\n.type 32\n.endef",
    ".globl golib_goentry",
    ".p2align 4",
    ".seh_proc golib_goentry",
    "golib_goentry:",
    "sub rsp, 32",
    ".seh_stackalloc 32",
    ".seh_endprologue",
    "xor ebp, ebp",
    "call r12",
    "ud2",
    ".seh_endproc",
);

/// Lays the first frame of a stack whose usable part ends below `top` and whose record ends at `hi`; returns the address to
/// resume it at.
///
/// # Safety
/// `top` is 16-byte aligned, the 512 bytes below it are writable and unused, and the record is written.
pub(crate) unsafe fn init_stack(top: usize, hi: usize, entry: Entry) -> usize {
    debug_assert_eq!(top % 16, 0);
    // From the low end: xmm6 to xmm15, hi, control words and padding, eight registers, the return address, which the jump to
    // `golib_goentry` pops: the stack pointer is a multiple of 16 there, and 0 lies at it.
    let sp = top - 16 - 8 - 8 * 8 - 184;
    // SAFETY: the caller gave us the bytes.
    unsafe {
        let frame = sp as *mut u64;
        for i in 0..(top - sp) / 8 {
            frame.add(i).write(0);
        }
        frame.add(20).write(hi as u64);
        frame.add(21).write(u64::from(MXCSR) | u64::from(X87_CONTROL) << 32);
        frame.add(23 + 3).write(entry as usize as u64); // r12
        frame.add(23 + 8).write(golib_goentry as *const () as usize as u64);
    }
    sp
}

/// The lowest address of the stack that the thread runs on.
pub(crate) fn stack_end() -> usize {
    let end;
    // SAFETY: reads the thread's information block.
    unsafe { asm!("mov {}, gs:[0x1478]", out(reg) end, options(nostack, preserves_flags)) };
    end
}
