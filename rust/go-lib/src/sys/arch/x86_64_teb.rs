//! x86-64 with Windows: access to the slot of the current M, one of those that the system has for each thread (`TlsAlloc`).
//!
//! The first 64 slots lie in the thread's information block, at the same place in all versions of the system, so that a read is
//! an instruction. `TlsGetValue`, which serves the others, also sets the thread's last error.

use std::arch::asm;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

use crate::sys::win32::{TlsAlloc, TlsGetValue, TlsSetValue, TLS_OUT_OF_INDEXES};

/// The slot's number plus 1; 0 until a thread has set the slot.
static SLOT: AtomicU32 = AtomicU32::new(0);
/// Where the slots lie in the block, and how many.
const SLOTS_AT: usize = 0x1480;
const SLOTS: u32 = 64;

/// Reads the thread's M slot.
#[inline(always)]
pub(crate) fn get() -> *mut () {
    // Relaxed: a thread that has set its own slot has seen the number.
    match SLOT.load(Ordering::Relaxed).wrapping_sub(1) {
        slot @ 0..SLOTS => {
            let p: *mut ();
            // SAFETY: reads our own slot. Not `pure`: the answer changes when a switch brings this code to another thread, so
            // the compiler must ask again each time.
            unsafe {
                asm!(
                    "mov {0}, gs:[{1}]",
                    out(reg) p,
                    in(reg) SLOTS_AT + slot as usize * 8,
                    options(nostack, preserves_flags, readonly),
                );
            }
            p
        }
        u32::MAX => std::ptr::null_mut(),
        slot => far(slot),
    }
}

/// A slot beyond those in the block. Not inlined: see `sys/tls.rs`.
#[cold]
#[inline(never)]
fn far(slot: u32) -> *mut () {
    // SAFETY: our own slot.
    unsafe { TlsGetValue(slot).cast() }
}

/// Writes the thread's M slot. Not inlined: see `sys/tls.rs`.
#[inline(never)]
pub(crate) fn set(p: *mut ()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: no arguments.
        let slot = unsafe { TlsAlloc() };
        assert!(slot != TLS_OUT_OF_INDEXES, "the process has no slot for thread-local data left");
        SLOT.store(slot + 1, Ordering::Relaxed);
    });
    // SAFETY: our own slot.
    unsafe { TlsSetValue(SLOT.load(Ordering::Relaxed) - 1, p.cast()) };
}
