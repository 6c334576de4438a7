//! The guard's handler: tells a goroutine's stack overflow from any other SIGSEGV.
//!
//! # Invariants
//! 1. The handler runs on the M's signal stack (the goroutine's own is full) and only reads what
//!    cannot move: the M and its current G.
//! 2. A fault outside a goroutine's guard has the same effect as without this handler: the previous handler is called, or the
//!    signal's default happens. A signal that was sent does not repeat as a fault does, so for the default it is sent again.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use super::{send_again, GuardHit};
use crate::sys::memory;

/// Room for the handler and the report.
const SIGNAL_STACK_BYTES: usize = 64 * 1024;

struct Previous(UnsafeCell<[MaybeUninit<libc::sigaction>; 2]>);
// SAFETY: written once before INSTALLED, read afterwards.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new([MaybeUninit::uninit(); 2]));
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Set before the handler is installed.
static HIT: OnceLock<GuardHit> = OnceLock::new();
const SIGNALS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Installs the handler, which asks `hit`, once per process.
pub(crate) fn install_guard_handler(hit: GuardHit) {
    // AcqRel: pairs with itself: one caller installs.
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    HIT.get_or_init(|| hit);
    for (i, &signal) in SIGNALS.iter().enumerate() {
        // SAFETY: a zeroed sigaction is valid; the handler's signature fits SA_SIGINFO.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            let previous = &mut (*PREVIOUS.0.get())[i];
            libc::sigaction(signal, &action, previous.as_mut_ptr());
        }
    }
}

/// Gives the calling thread a signal stack, for [`leave_signal_stack`].
pub(crate) fn use_signal_stack() -> Option<usize> {
    let at = memory::reserve_small(SIGNAL_STACK_BYTES).ok()?;
    let stack =
        libc::stack_t { ss_sp: at as *mut c_void, ss_flags: 0, ss_size: SIGNAL_STACK_BYTES };
    // SAFETY: a fresh mapping, which stays until leave_signal_stack.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
    Some(at)
}

/// Releases the signal stack `at` that [`use_signal_stack`] has given to the calling thread, which is about to end. If a
/// library has given the thread another signal stack since, that one stays.
pub(crate) fn leave_signal_stack(at: Option<usize>) {
    let Some(at) = at else { return };
    // SAFETY: plain structures; a zeroed one is valid. Ours is no longer in use once the kernel has another one, or none.
    unsafe {
        let mut now: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &mut now);
        if now.ss_sp as usize == at {
            let none = libc::stack_t { ss_flags: libc::SS_DISABLE, ..now };
            libc::sigaltstack(&none, ptr::null_mut());
        }
        memory::release(at, SIGNAL_STACK_BYTES);
    }
}

unsafe extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo. Only a fault has an address; a sent signal has its sender's number there.
    let (sent, addr) = unsafe { ((*info).si_code <= 0, (*info).si_addr() as usize) };
    if let (false, Some(hit)) = (sent, HIT.get()) {
        hit(addr);
    }
    let i = usize::from(signal == libc::SIGBUS);
    // SAFETY: written before the handler was installed; called as the kernel would have.
    unsafe {
        let previous = (*PREVIOUS.0.get())[i].assume_init();
        match previous.sa_sigaction {
            // The kernel drops an ignored signal, unless it is a fault.
            libc::SIG_IGN if sent => {}
            libc::SIG_DFL | libc::SIG_IGN => die_by(signal, sent.then_some(&*info)),
            handler => {
                if previous.sa_flags & libc::SA_RESETHAND != 0 {
                    libc::sigaction(signal, &default_action(), ptr::null_mut());
                }
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let f: unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(handler);
                    f(signal, info, context);
                } else {
                    let f: unsafe extern "C" fn(i32) = std::mem::transmute(handler);
                    f(signal);
                }
            }
        }
    }
}

/// An action without flags that does what the kernel does by itself.
unsafe fn default_action() -> libc::sigaction {
    // SAFETY: a zeroed sigaction is valid, and SIG_DFL is 0.
    unsafe { std::mem::zeroed() }
}

/// Makes the process end by `signal` when the handler returns. A fault then repeats by itself; a `sent` signal is sent to this
/// thread again, with its sender's data.
unsafe fn die_by(signal: i32, sent: Option<&libc::siginfo_t>) {
    // SAFETY: async-signal-safe calls; the signal is blocked until the handler returns.
    unsafe {
        libc::sigaction(signal, &default_action(), ptr::null_mut());
        let Some(info) = sent else { return };
        if !send_again(signal, info) {
            libc::raise(signal);
        }
    }
}
