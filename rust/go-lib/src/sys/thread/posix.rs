//! Threads of POSIX.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

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
        libc::pthread_attr_setstacksize(&mut attr, super::STACK_BYTES);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        // The thread inherits its creator's signal mask: a process started from a goroutine must find the
        // mask that it would find in any thread. Process-directed signals go to the main thread first.
        let mut id: libc::pthread_t = std::mem::zeroed(); // a pointer in some systems
        let r = libc::pthread_create(&mut id, &attr, f, arg);
        libc::pthread_attr_destroy(&mut attr);
        check(r)
    }
}

/// Ends the process at once, without destructors: other threads may still use what destructors would free.
pub(crate) fn exit_process(status: i32) -> ! {
    // SAFETY: no code of this crate runs after it.
    unsafe { libc::_exit(status) }
}

/// Ends the process as the C library does when its last thread has ended: with status 0, after flushing C's streams, but
/// without destructors.
pub(crate) fn exit_after_last_thread() -> ! {
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    exit_process(0)
}

/// Makes the calling thread call `f` when it ends, but not when the process ends. Every caller passes the same `f`. Does
/// nothing if the system has no key left.
pub(crate) fn at_end(f: unsafe extern "C" fn(*mut c_void)) {
    /// The key, whose destructor is `f`. It has no lock, which a forked child might find held.
    static KEY: OnceKey = OnceKey::new();
    if let Some(key) = KEY.get(f) {
        // SAFETY: a key. The value is never read; the destructor runs because it is not null.
        unsafe { libc::pthread_setspecific(key, std::ptr::dangling()) };
    }
}

/// A key for a value of each thread, made when first asked for.
struct OnceKey(AtomicU64);

impl OnceKey {
    const fn new() -> OnceKey {
        OnceKey(AtomicU64::new(0))
    }

    fn get(&self, destructor: unsafe extern "C" fn(*mut c_void)) -> Option<libc::pthread_key_t> {
        // Relaxed, here and below: the word is the key itself and refers to no other memory.
        if let Some(made) = self.0.load(Ordering::Relaxed).checked_sub(1) {
            return Some(made as libc::pthread_key_t);
        }
        let mut key = 0;
        // SAFETY: key is writable; the destructor may run on any thread.
        if unsafe { libc::pthread_key_create(&mut key, Some(destructor)) } != 0 {
            return None;
        }
        // It is never negative, although it is an int on some systems.
        let word = key as u64 + 1;
        match self.0.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(key),
            Err(other) => {
                // SAFETY: no other thread has seen the key.
                unsafe { libc::pthread_key_delete(key) };
                Some((other - 1) as libc::pthread_key_t)
            }
        }
    }
}

fn check(r: i32) -> io::Result<()> {
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(r))
    }
}

/// The calling thread's `pthread_t`, as a number.
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
