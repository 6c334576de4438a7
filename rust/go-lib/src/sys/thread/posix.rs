//! Threads of POSIX.

use std::ffi::c_void;
use std::io;

/// The stack of an M: the scheduler and signal-free host calls run there.
pub(super) const STACK_BYTES: usize = 256 * 1024;

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
        let mut id: libc::pthread_t = std::mem::zeroed(); // a pointer in some systems
        let r = libc::pthread_create(&mut id, &attr, f, arg);
        libc::pthread_attr_destroy(&mut attr);
        check(r)
    }
}

/// Ends the process at once, without destructors: other threads may still use what those would free.
pub(crate) fn exit_process(status: i32) -> ! {
    // SAFETY: no code of this crate runs after it.
    unsafe { libc::_exit(status) }
}

fn check(r: i32) -> io::Result<()> {
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(r))
    }
}

/// The calling thread's `pthread_t`.
pub(crate) fn pthread() -> u64 {
    // SAFETY: no requirements.
    unsafe { libc::pthread_self() as u64 }
}

/// Sleeps for `ns` nanoseconds, less if a signal arrives.
pub(crate) fn usleep_ns(ns: i64) {
    let ts = crate::sys::clock::timespec(ns);
    // SAFETY: ts is valid; the remaining time is not wanted.
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}
