//! x86-64: the parts that do not depend on the calling convention.

use std::arch::asm;
use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};

/// Hints that the memory at `at` will be used soon. Any address will do.
#[inline(always)]
pub(crate) fn prefetch(at: usize) {
    // SAFETY: a prefetch does not fault.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at as *const i8) }
}

/// The control words as a process starts: round to nearest, no exceptions.
pub(super) const MXCSR: u32 = 0x1f80;
pub(super) const X87_CONTROL: u16 = 0x37f;
/// The control bits of mxcsr; the others are status bits.
const MXCSR_CONTROL: u32 = 0xffc0;

/// Gives a new goroutine on a used stack the control words that `init_stack` would.
#[inline(always)]
pub(crate) fn reset_control_words() {
    let (mut mxcsr, mut x87) = (0u32, 0u16);
    // SAFETY: reads two registers of this goroutine.
    unsafe {
        asm!("stmxcsr [{0}]", "fnstcw [{1}]", in(reg) &raw mut mxcsr, in(reg) &raw mut x87,
             options(nostack, preserves_flags));
    }
    if (mxcsr ^ MXCSR) & MXCSR_CONTROL != 0 || x87 != X87_CONTROL {
        (mxcsr, x87) = (MXCSR, X87_CONTROL);
        // SAFETY: the words are valid; this crate counts on no others.
        unsafe {
            asm!("ldmxcsr [{0}]", "fldcw [{1}]", in(reg) &raw const mxcsr, in(reg) &raw const x87,
                 options(nostack, preserves_flags, readonly));
        }
    }
}

/// Tells valgrind, if this process runs in it, that `lo..hi` is a stack, so that it can tell a switch
/// from a large frame. Elsewhere the four rotations, 128 bits in all, and the exchange do nothing.
pub(crate) fn tell_valgrind_of_stack(lo: usize, hi: usize) {
    const STACK_REGISTER: usize = 0x1501;
    let request = [STACK_REGISTER, lo, hi, 0, 0, 0];
    // SAFETY: valgrind reads the request and puts its answer into rdx; nothing else changes.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &request,
            inout("rdx") 0usize => _,
            options(nostack),
        );
    }
}
