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
        let mut id: libc::pthread_t = std::mem::zeroed(); // a pointer in some systems
        let r = libc::pthread_create(&mut id, &attr, f, arg);
        libc::pthread_attr_destroy(&mut attr);
        check(r)
    }
}

/// Ends the process at once, without destructors: other threads may still use what those would free.
pub(crate) fn exit_process(status: i32) -> ! {
    // SAFETY: nothing of ours runs after it.
    unsafe { libc::_exit(status) }
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

/// The kernel's ids of this process's OS threads; None where they cannot be told (no `/proc`).
pub(crate) fn tids() -> Option<Vec<u32>> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Sleeps for `ns` nanoseconds, less if a signal arrives.
pub(crate) fn usleep_ns(ns: i64) {
    let ts = super::clock::timespec(ns);
    // SAFETY: ts is valid; the remaining time is not wanted.
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}

/// Sleeps of the calling thread end when they should, not up to 50 us later.
pub(crate) fn sleep_exactly() {
    // SAFETY: no pointers. Where it is refused sleeps are longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
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

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::ffi::c_void;
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::{gettid, pthread, sleeps, spawn, tids, usleep_ns};
    use crate::sys::clock::nanotime;

    /// What a thread of `spawn` and its maker share. It is detached, so this is never freed.
    #[derive(Default)]
    struct Shared {
        tid: AtomicU32,
        over: AtomicBool,
    }

    extern "C" fn wait_for_the_end(arg: *mut c_void) -> *mut c_void {
        // SAFETY: `start` passed it.
        let shared = unsafe { &*arg.cast::<Shared>() };
        // Its stack is large enough for a frame of half of it.
        let mut frame = [1u8; super::STACK_BYTES / 2];
        black_box(&mut frame);
        shared.tid.store(gettid() as u32, Ordering::Release);
        while !shared.over.load(Ordering::Relaxed) {
            usleep_ns(50_000);
        }
        arg
    }

    #[test]
    fn a_thread_has_a_number_of_its_own_and_is_gone_when_it_has_ended() {
        let shared: &Shared = Box::leak(Box::default());
        // SAFETY: it may run on any thread.
        unsafe { spawn(wait_for_the_end, (&raw const *shared).cast_mut().cast()).unwrap() };
        let tid = loop {
            match shared.tid.load(Ordering::Acquire) {
                0 => std::thread::yield_now(),
                tid => break tid,
            }
        };
        assert_ne!(tid, gettid() as u32);
        let task = format!("/proc/self/task/{tid}");
        assert!(tids().unwrap().contains(&tid) && tids().unwrap().contains(&(gettid() as u32)));
        shared.over.store(true, Ordering::Relaxed);
        while std::fs::exists(&task).unwrap() {
            std::thread::yield_now();
        }
        assert!(!sleeps(tid), "one that is gone");
    }

    #[test]
    fn a_thread_is_itself_on_each_look() {
        let here = || (gettid(), pthread());
        assert_eq!(here(), here());
        assert_ne!(here(), std::thread::spawn(here).join().unwrap());
    }

    #[test]
    fn a_thread_that_waits_is_told_from_one_that_runs_whatever_its_name() {
        let (tid, over) = (AtomicU32::new(0), AtomicBool::new(false));
        assert!(!sleeps(0) && !sleeps(u32::MAX) && !sleeps(gettid() as u32));
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                // SAFETY: a string of less than 16 bytes.
                unsafe { libc::prctl(libc::PR_SET_NAME, c"a) R (b".as_ptr()) };
                tid.store(gettid() as u32, Ordering::Release);
                while !over.load(Ordering::Relaxed) {
                    std::thread::park();
                }
            });
            while !sleeps(tid.load(Ordering::Acquire)) {
                std::thread::yield_now();
            }
            over.store(true, Ordering::Relaxed);
            sleeper.thread().unpark();
        });
    }

    #[test]
    fn a_sleep_takes_its_time_and_one_of_less_than_nothing_none() {
        let begin = nanotime();
        usleep_ns(2_000_000);
        assert!(nanotime() - begin >= 2_000_000);
        usleep_ns(i64::MIN);
    }
}
