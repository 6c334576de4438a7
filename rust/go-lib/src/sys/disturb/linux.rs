//! It sends SIGURG, which does nothing by default, with a mark in the signal's information. On the first mark our handler
//! returns at once, so that the system call returns with EINTR; on the second it changes the mask with which the thread
//! continues; on the third it calls a function. Any other SIGURG is passed on to the handler that the program has set.
//!
//! # Invariants
//! 1. Each use first installs our handler over the one that it finds. A handler that a program sets in between is in force
//!    until then; afterwards ours calls it.
//! 2. Memory that a handler may read is never freed.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub(super) const SIGNAL: i32 = libc::SIGURG;

/// The handler over which ours was installed; never freed, by 2.
static BEHIND: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
/// Held while a thread installs the handler.
static INSTALLING: Mutex<()> = Mutex::new(());
/// Their addresses are the three marks: disturb, change the mask, call a function.
static MARKS: [u8; 3] = [0; 3];

/// The change of masks that is under way: the signals to add and to remove (bit n - 1 is signal n), and how many threads have
/// made the change.
static ADDED: AtomicU64 = AtomicU64::new(0);
static REMOVED: AtomicU64 = AtomicU64::new(0);
static CHANGED: AtomicU32 = AtomicU32::new(0);
/// Held during a change.
static CHANGING: Mutex<()> = Mutex::new(());

/// The function to call (an `unsafe fn(*mut ())`), its argument, and the state of the call.
static CALL_F: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static CALL_ARG: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static CALL: AtomicU32 = AtomicU32::new(DONE);
/// Held during a call.
static CALLING: Mutex<()> = Mutex::new(());
/// The states of a call: there is none; a thread has been asked for one; the thread has begun it.
const DONE: u32 = 0;
const ASKED: u32 = 1;
const BEGUN: u32 = 2;

/// The siginfo_t of a queued signal, in the kernel's layout.
#[repr(C)]
struct Queued {
    signo: i32,
    errno: i32,
    code: i32,
    #[cfg(target_pointer_width = "64")]
    _pad: i32,
    pid: i32,
    uid: u32,
    value: *mut c_void,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// Makes the system call in which the thread `tid` of this process sleeps return with EINTR, if signals interrupt that call. A
/// thread that is in no call, or that has ended, does not notice.
pub(crate) fn disturb(tid: u32) {
    if tid != 0 && install() {
        send(tid, mark(0));
    }
}

/// Adds signals to and removes signals from the masks of the threads `tids` of this process. Returns once every thread that
/// exists has made the change, except those that have blocked SIGURG.
pub(crate) fn change_masks(tids: &[u32], added: u64, removed: u64) {
    const TRIES: u32 = 20;
    const LOOKS: u32 = 100;
    let _one = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    if !install() {
        return;
    }
    ADDED.store(added, Ordering::Relaxed);
    REMOVED.store(removed, Ordering::Relaxed);
    for &tid in tids {
        // Acquire: pairs with the Release in the handler.
        let before = CHANGED.load(Ordering::Acquire);
        // The kernel drops a signal if the same one is pending already.
        let _ = (0..TRIES).any(|_| {
            !send(tid, mark(1))
                || (0..LOOKS).any(|_| {
                    std::thread::sleep(std::time::Duration::from_micros(20));
                    // Acquire: pairs with Release in the handler.
                    CHANGED.load(Ordering::Acquire) != before
                })
        });
    }
}

/// Makes the thread `tid` of this process call `f(arg)`. False if it did not within a few milliseconds, and will not.
///
/// # Safety
/// `f` does only what a signal handler may; `arg` may be used by it until this returns.
pub(crate) unsafe fn call_within(tid: u32, f: unsafe fn(*mut ()), arg: *mut ()) -> bool {
    const LOOKS: u32 = 400;
    let _one = CALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if tid == 0 || !install() {
        return false;
    }
    CALL_F.store(f as *mut (), Ordering::Relaxed);
    CALL_ARG.store(arg, Ordering::Relaxed);
    // Release: publishes the function; pairs with the Acquire in the handler.
    CALL.store(ASKED, Ordering::Release);
    // Acquire, here and below: pairs with the handler's Release, so that the effects of `f` are seen.
    let is_done = || CALL.load(Ordering::Acquire) == DONE;
    let came = send(tid, mark(2))
        && (0..LOOKS).any(|_| {
            std::thread::sleep(std::time::Duration::from_micros(20));
            is_done()
        });
    if came || CALL.compare_exchange(ASKED, DONE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        return came;
    }
    while !is_done() {
        std::thread::yield_now();
    }
    true
}

/// In the handler: makes the call that the thread was asked for, unless the asker has given up.
unsafe fn call_back() {
    // Acquire: pairs with the Release of the asker.
    if CALL.compare_exchange(ASKED, BEGUN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        // SAFETY: call_within stored a function of this type, and waits.
        unsafe {
            let f: unsafe fn(*mut ()) = std::mem::transmute(CALL_F.load(Ordering::Relaxed));
            f(CALL_ARG.load(Ordering::Relaxed));
        }
        // Release: publishes the effects of `f`; pairs with the Acquire of the asker.
        CALL.store(DONE, Ordering::Release);
    }
}

/// Returns false if there is no such thread.
fn send(tid: u32, mark: *mut c_void) -> bool {
    // SAFETY: a plain structure; the kernel copies it. The system calls take numbers.
    unsafe {
        let pid = libc::getpid();
        let mut info: Queued = std::mem::zeroed();
        info.signo = SIGNAL;
        info.code = libc::SI_QUEUE;
        info.pid = pid;
        info.uid = libc::getuid();
        info.value = mark;
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid as i32, SIGNAL, &raw const info) == 0
    }
}

fn mark(i: usize) -> *mut c_void {
    (&raw const MARKS[i]).cast_mut().cast()
}

/// Returns true if our handler is in force.
fn install() -> bool {
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: zeroed sigactions are valid, and the handler's signature fits SA_SIGINFO. By 2 the box is leaked, once for each
    // handler that a program sets between two uses.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(SIGNAL, ptr::null(), &mut now) != 0 {
            return false;
        }
        let ours = on_signal as *const () as usize;
        if now.sa_sigaction == ours {
            return true;
        }
        // Release: pairs with Acquire in the handler.
        BEHIND.store(Box::into_raw(Box::new(now)), Ordering::Release);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ours;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        action.sa_mask = now.sa_mask;
        libc::sigaction(SIGNAL, &action, ptr::null_mut()) == 0
    }
}

unsafe extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo; a queued one has a value.
    unsafe {
        if (*info).si_code == libc::SI_QUEUE {
            let value = (*info).si_value().sival_ptr;
            if value == mark(1) {
                // The kernel takes the thread's 64 mask bits from there when the handler returns.
                let mask =
                    (&raw mut (*context.cast::<libc::ucontext_t>()).uc_sigmask).cast::<u64>();
                *mask = (*mask | ADDED.load(Ordering::Relaxed)) & !REMOVED.load(Ordering::Relaxed);
                // Release: pairs with Acquire in change_masks.
                CHANGED.fetch_add(1, Ordering::Release);
            }
            if value == mark(2) {
                call_back();
            }
            if (0..MARKS.len()).any(|i| value == mark(i)) {
                return;
            }
        }
        // Acquire: pairs with install. By 2.
        let Some(behind) = BEHIND.load(Ordering::Acquire).as_ref() else { return };
        match behind.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {}
            handler if behind.sa_flags & libc::SA_SIGINFO != 0 => {
                let f: unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute(handler);
                f(signal, info, context);
            }
            handler => {
                let f: unsafe extern "C" fn(i32) = std::mem::transmute(handler);
                f(signal);
            }
        }
    }
}
