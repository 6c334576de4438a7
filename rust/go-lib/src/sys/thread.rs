//! OS threads without std's start routine.
//!
//! An M is a raw pthread: std's thread start catches unwinding, and a host interpreter may end a
//! thread by `pthread_exit`, whose forced unwinding aborts in a `catch_unwind`.

use std::ffi::c_void;
use std::io;

/// The stack of an M: the scheduler and signal-free host calls run there.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a detached OS thread that runs `f(arg)`.
///
/// # Errors
/// The OS's error when it has no thread to give (EAGAIN: a limit of processes or memory).
///
/// # Safety
/// `f` must be sound to call with `arg` on another thread.
pub(crate) unsafe fn spawn(
    f: extern "C" fn(*mut c_void) -> *mut c_void,
    arg: *mut c_void,
) -> io::Result<()> {
    // SAFETY: attr is initialised by pthread_attr_init before it is used and destroyed after.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        check(libc::pthread_attr_init(&mut attr))?;
        libc::pthread_attr_setstacksize(&mut attr, STACK_BYTES);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        // The creator's signal mask is inherited: a process started from a goroutine must find the
        // mask it would find in any thread. Process-directed signals go to the main thread first.
        let mut id: libc::pthread_t = 0;
        let r = libc::pthread_create(&mut id, &attr, f, arg);
        libc::pthread_attr_destroy(&mut attr);
        check(r)
    }
}

fn check(r: i32) -> io::Result<()> {
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(r))
    }
}

/// The kernel's id of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// The calling thread's `pthread_t`.
pub(crate) fn pthread() -> u64 {
    // SAFETY: no requirements.
    unsafe { libc::pthread_self() as u64 }
}

/// How many OS threads this process has, or 0 where it cannot be told.
pub(crate) fn count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |d| d.count())
}

/// Sleeps for `ns` nanoseconds, less if a signal arrives.
pub(crate) fn usleep_ns(ns: i64) {
    let ts = super::clock::timespec(ns);
    // SAFETY: ts is valid; the remaining time is not wanted.
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}

/// True if the thread `tid` of this process sleeps in the kernel.
pub(crate) fn sleeps(tid: u32) -> bool {
    if tid == 0 {
        return false;
    }
    // "pid (comm) S …": comm may hold anything, the state follows the last parenthesis.
    std::fs::read(format!("/proc/self/task/{tid}/stat")).is_ok_and(|stat| {
        let state = stat.iter().rposition(|&b| b == b')').and_then(|i| stat.get(i + 2));
        matches!(state, Some(b'S' | b'D'))
    })
}
