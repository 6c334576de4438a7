//! A vectored exception handler, which sees a stack overflow before any other handler.
//!
//! # Invariants
//! 1. The handler runs on the full stack itself, in the bytes that [`use_signal_stack`] has set aside, and only reads what
//!    cannot move: the M and its current G.
//! 2. It runs first and ignores everything but a goroutine's overflow, so std's handler and the program's see the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use super::GuardHit;
use crate::sys::arch;
use crate::sys::win32::{
    AddVectoredExceptionHandler, SetThreadStackGuarantee, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS, STATUS_ACCESS_VIOLATION, STATUS_STACK_OVERFLOW,
};

/// Room for the handler and the report. A stack has this much below its end (`memory`).
const SPARE_BYTES: u32 = 20 * 1024;

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Set before the handler is installed.
static HIT: OnceLock<GuardHit> = OnceLock::new();

/// Installs the handler, which asks `hit`, once per process.
pub(crate) fn install_guard_handler(hit: GuardHit) {
    // AcqRel: pairs with itself: one caller installs.
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    HIT.get_or_init(|| hit);
    // SAFETY: a handler of the right signature.
    unsafe { AddVectoredExceptionHandler(1, on_exception) };
}

/// Makes the system report an overflow on the calling thread, whatever stack it runs on, while there is still room for the
/// handler.
pub(crate) fn use_signal_stack() -> Option<usize> {
    let mut bytes = SPARE_BYTES;
    // SAFETY: bytes is writable. Where it is refused there are two pages.
    unsafe { SetThreadStackGuarantee(&mut bytes) };
    None
}

/// Does nothing: the room belongs to each stack.
pub(crate) fn leave_signal_stack(_at: Option<usize>) {}

unsafe extern "system" fn on_exception(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: the system passes a valid record.
    let record = unsafe { &*(*pointers).record };
    let address = match record.code {
        // The end of the stack that the thread runs on, because the address may be anywhere in a large frame.
        STATUS_STACK_OVERFLOW => Some(arch::stack_end()),
        STATUS_ACCESS_VIOLATION => Some(record.information[1]),
        _ => None,
    };
    if let (Some(address), Some(hit)) = (address, HIT.get()) {
        hit(address);
    }
    EXCEPTION_CONTINUE_SEARCH
}
