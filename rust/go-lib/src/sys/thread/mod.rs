//! OS threads without std's start routine.
//!
//! An M is a raw thread of the system: std's thread start catches unwinding, and a host interpreter may end a
//! thread by `pthread_exit`, whose forced unwinding aborts in a `catch_unwind`.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `spawn(f, arg)` | starts a detached thread with a stack of 256 KiB that runs `f(arg)` |
//! | `exit_process(status)` | ends the process at once, without destructors |
//! | `exit_after_last_thread()` | the same with status 0, after flushing C's streams |
//! | `at_end(f)` | makes the calling thread call `f` when it ends, but not when the process ends |
//! | `pthread()` | the C library's handle of the calling thread |
//! | `usleep_ns(ns)` | sleeps, less if a signal comes |
//! | `sleep_exactly()` | from now on the calling thread's sleeps end on time, as far as the system allows |
//! | `gettid()` | the system's number of the calling thread, never 0 |
//! | `tids()` | the numbers of all threads of the process; `None` if the system does not tell |
//! | `is_first()` | whether the calling thread is the process's first, or the one that forked it; false where `tids` is `None` |
//! | `sleeps(tid)` | whether the thread sleeps in the kernel; false where the system does not tell |
//!
//! | backend | where |
//! |---|---|
//! | `posix` | the common part of POSIX systems |
//! | `linux` | the rest, on Linux |
//! | `bsd` | the rest, on macOS and FreeBSD |
//! | `windows` | Windows |

#[cfg(not(any(target_os = "linux", windows)))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(target_os = "linux", windows)))]
pub(crate) use bsd::{gettid, is_first, sleep_exactly, sleeps, tids};
#[cfg(target_os = "linux")]
pub(crate) use linux::{gettid, is_first, sleep_exactly, sleeps, tids};
#[cfg(unix)]
pub(crate) use posix::{at_end, exit_after_last_thread, exit_process, pthread, spawn, usleep_ns};
#[cfg(windows)]
pub(crate) use windows::{
    exit_process, gettid, pthread, sleep_exactly, sleeps, spawn, tids, usleep_ns,
};

/// The stack size of an M, on which the scheduler and the embedder's signal-free calls run.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(all(test, any(target_os = "linux", windows), not(golib_loom)))]
mod tests {
    use std::ffi::c_void;
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::{gettid, sleeps, spawn, tids, usleep_ns, STACK_BYTES};
    use crate::sys::clock::nanotime;

    /// The state that a thread of `spawn` shares with its maker. The thread is detached, so this is never freed.
    #[derive(Default)]
    struct Shared {
        tid: AtomicU32,
        over: AtomicBool,
    }

    extern "C" fn wait_for_the_end(arg: *mut c_void) -> *mut c_void {
        // SAFETY: `start` passed it.
        let shared = unsafe { &*arg.cast::<Shared>() };
        // Its stack is large enough for a frame of half of it.
        let mut frame = [1u8; STACK_BYTES / 2];
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
        assert!(tids().unwrap().contains(&tid) && tids().unwrap().contains(&(gettid() as u32)));
        shared.over.store(true, Ordering::Relaxed);
        while tids().unwrap().contains(&tid) {
            std::thread::yield_now();
        }
        assert!(!sleeps(tid), "one that is gone");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_is_itself_on_each_look() {
        let here = || (gettid(), super::pthread());
        assert_eq!(here(), here());
        assert_ne!(here(), std::thread::spawn(here).join().unwrap());
    }

    #[cfg(target_os = "linux")]
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

    #[cfg(unix)]
    static ENDED: AtomicU32 = AtomicU32::new(0);

    #[cfg(unix)]
    extern "C" fn note_the_end(_: *mut c_void) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_set_for_a_threads_end_is_called_once_and_only_there() {
        std::thread::spawn(|| super::at_end(note_the_end)).join().unwrap();
        std::thread::spawn(|| {
            super::at_end(note_the_end);
            super::at_end(note_the_end);
            assert_eq!(ENDED.load(Ordering::Relaxed), 1);
        })
        .join()
        .unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        assert_eq!(ENDED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_sleep_takes_its_time_and_one_of_less_than_nothing_none() {
        let begin = nanotime();
        usleep_ns(2_000_000);
        assert!(nanotime() - begin >= 2_000_000);
        usleep_ns(i64::MIN);
    }
}
