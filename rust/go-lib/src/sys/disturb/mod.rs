//! Ways to get a thread out of a system call, as one of the program's signals would; to call a function on it; and to change
//! its signal mask, which only the thread itself can do.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `disturb(tid)` | makes the system call in which the thread sleeps return as if a signal had come; a thread that is in no call, or has ended, does not notice |
//! | `call_within(tid, f, arg)` | calls `f(arg)` on the thread, as a signal would; false if it was not called and will not be |
//! | `change_masks(tids, added, removed)` | adds signals (bit n - 1 is signal n) to the threads' masks and removes others; returns once every thread that exists has done so |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |
//! | `bsd` | macOS, FreeBSD: does nothing |
//! | `windows` | Windows: does nothing, because there are no signals |

#[cfg(not(any(target_os = "linux", windows)))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(not(any(target_os = "linux", windows)))]
pub(crate) use bsd::{call_within, change_masks, disturb};
#[cfg(target_os = "linux")]
pub(crate) use linux::{call_within, change_masks, disturb};
#[cfg(windows)]
pub(crate) use windows::{call_within, change_masks, disturb};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::SIGNAL;
    use super::{call_within, change_masks, disturb};
    use crate::sys::thread;
    use std::ptr;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
    use std::time::Duration;

    static OTHERS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn other(_: i32) {
        OTHERS.fetch_add(1, Ordering::SeqCst);
    }

    /// Sleeps in the kernel; errno, or 0 if nothing interrupted it.
    fn sleep() -> i32 {
        let long = libc::timespec { tv_sec: 20, tv_nsec: 0 };
        // SAFETY: a valid timespec.
        match unsafe { libc::nanosleep(&long, ptr::null_mut()) } {
            0 => 0,
            _ => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        }
    }

    #[test]
    fn a_disturbed_thread_leaves_its_call_and_other_handlers_stay_in_force() {
        // SAFETY: a handler of the right signature.
        unsafe { libc::signal(SIGNAL, other as *const () as usize) };
        let tid = AtomicU32::new(0);
        let errno = std::thread::scope(|s| {
            let sleeper = s.spawn(|| {
                tid.store(thread::gettid() as u32, Ordering::Release);
                sleep()
            });
            while !sleeper.is_finished() {
                match tid.load(Ordering::Acquire) {
                    0 => {}
                    tid if thread::sleeps(tid) => disturb(tid),
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            sleeper.join().unwrap_or(0)
        });
        assert_eq!((errno, OTHERS.load(Ordering::SeqCst)), (libc::EINTR, 0));
        // SAFETY: no requirements.
        unsafe { libc::raise(SIGNAL) };
        assert_eq!(OTHERS.load(Ordering::SeqCst), 1);
        disturb(u32::MAX >> 2); // nobody
    }

    #[test]
    fn a_function_is_called_on_the_other_thread_or_never() {
        unsafe fn note(at: *mut ()) {
            // SAFETY: an AtomicU32 of the caller's.
            unsafe { &*at.cast::<AtomicU32>() }.store(thread::gettid() as u32, Ordering::SeqCst);
        }
        let call = |tid| {
            let called_on = AtomicU32::new(0);
            // SAFETY: `note` only stores; the word outlives the call.
            let called =
                unsafe { call_within(tid, note, (&raw const called_on).cast_mut().cast()) };
            called.then(|| called_on.load(Ordering::SeqCst))
        };
        let (tid, end) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                tid.store(thread::gettid() as u32, Ordering::Release);
                while end.load(Ordering::Acquire) == 0 {
                    std::hint::spin_loop();
                }
            });
            let tid = loop {
                match tid.load(Ordering::Acquire) {
                    0 => std::thread::yield_now(),
                    tid => break tid,
                }
            };
            while call(tid) != Some(tid) {} // a busy machine may not let it run in time
            assert_eq!(call(u32::MAX >> 2), None, "nobody");
            end.store(1, Ordering::Release);
        });
    }

    #[test]
    fn a_threads_mask_is_changed_before_the_change_returns() {
        let (tid, end) = (AtomicU32::new(0), AtomicU32::new(0));
        let bit = 1u64 << (libc::SIGWINCH - 1);
        let mask = |tid: u32| {
            let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status"));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("SigBlk:"));
            line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok()).unwrap_or(0)
        };
        std::thread::scope(|s| {
            s.spawn(|| {
                tid.store(thread::gettid() as u32, Ordering::Release);
                while end.load(Ordering::Acquire) == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let tid = loop {
                match tid.load(Ordering::Acquire) {
                    0 => std::thread::yield_now(),
                    tid => break tid,
                }
            };
            change_masks(&[tid, u32::MAX >> 2], bit, 0);
            let blocked = mask(tid) & bit;
            change_masks(&[tid], 0, bit);
            let unblocked = mask(tid) & bit;
            // Before the checks: the scope waits for the thread if one fails.
            end.store(1, Ordering::Release);
            assert_eq!((blocked, unblocked), (bit, 0));
        });
    }
}
