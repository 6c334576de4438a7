//! Sleeping on a 32-bit word.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `wait(word, expected, deadline_ns)` | sleeps while `word` holds `expected`, until a `wake`, a time of the monotonic clock, or a signal, and returns which |
//! | `wake(word, count)` | wakes at most `count` sleepers of `word`, which may be gone by then |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |
//! | `apple` | macOS |
//! | `freebsd` | FreeBSD |
//! | `windows` | Windows, in milliseconds |
//!
//! # Invariants
//! 1. For a `wake` that follows a change of the word, the look at the word and the beginning of the sleep are one step, so no
//!    wake-up is lost between them.
//! 2. A wait may end as woken without a `wake`: the caller looks at the word again.
//! 3. Only a wait without a deadline need end with a signal; one with a deadline keeps it.

#[cfg(target_vendor = "apple")]
mod apple;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_vendor = "apple")]
pub(crate) use apple::{wait, wake};
#[cfg(target_os = "freebsd")]
pub(crate) use freebsd::{wait, wake};
#[cfg(target_os = "linux")]
pub(crate) use linux::{wait, wake};
#[cfg(windows)]
pub(crate) use windows::{wait, wake};

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{wait, wake};
    use crate::prim::FutexWait;
    use crate::sys::clock::nanotime;

    #[test]
    fn a_word_that_has_changed_is_not_slept_on() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, None), FutexWait::Woken);
        assert_eq!(wait(&word, 2, Some(i64::MAX)), FutexWait::Woken);
    }

    #[test]
    fn a_deadline_is_a_time_on_the_clock_and_may_have_passed() {
        let word = AtomicU32::new(0);
        for past in [i64::MIN, -1, 0, 1, nanotime() - 1] {
            assert_eq!(wait(&word, 0, Some(past)), FutexWait::TimedOut);
        }
        let soon = nanotime() + 1_000_000;
        assert_eq!(wait(&word, 0, Some(soon)), FutexWait::TimedOut);
        assert!(nanotime() >= soon);
    }

    #[test]
    fn a_wake_of_all_wakes_all_and_none_is_lost() {
        let (word, ready, woken) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    ready.fetch_add(1, Ordering::SeqCst);
                    while word.load(Ordering::Acquire) == 0 {
                        assert_eq!(wait(&word, 0, None), FutexWait::Woken);
                    }
                    woken.fetch_add(1, Ordering::SeqCst);
                });
            }
            while ready.load(Ordering::SeqCst) < 3 {
                std::thread::yield_now();
            }
            word.store(1, Ordering::Release);
            wake(&word, u32::MAX);
        });
        assert_eq!(woken.into_inner(), 3);
    }
}

/// Tests that must know that a thread sleeps, or that send it a signal.
#[cfg(all(test, target_os = "linux", not(golib_loom)))]
mod tests_of_linux {
    use std::ptr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{wait, wake};
    use crate::prim::FutexWait;
    use crate::sys::thread;

    /// The calling thread's id, for the waiter in `until_asleep`.
    fn tell(tid: &AtomicU32) {
        tid.store(thread::gettid() as u32, Ordering::Release);
    }

    /// Looks twice, because a thread that waits for one of its pages does not take so long.
    fn until_asleep(tid: &AtomicU32) {
        let asleep = || thread::sleeps(tid.load(Ordering::Acquire));
        while !(asleep() && asleep()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_wake_of_one_wakes_one_and_one_of_all_all() {
        let (word, woken) = (AtomicU32::new(0), AtomicU32::new(0));
        let tids = [const { AtomicU32::new(0) }; 3];
        let after_one = std::thread::scope(|scope| {
            for tid in &tids {
                scope.spawn(|| {
                    tell(tid);
                    assert_eq!(wait(&word, 0, None), FutexWait::Woken);
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            tids.iter().for_each(until_asleep);
            wake(&word, 1);
            while woken.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let asleep = tids.iter().filter(|tid| thread::sleeps(tid.load(Ordering::Relaxed)));
            let after_one = (woken.load(Ordering::Relaxed), asleep.count());
            wake(&word, u32::MAX);
            after_one
        });
        assert_eq!(after_one, (1, 2));
        assert_eq!(woken.into_inner(), 3);
    }

    extern "C" fn on_signal(_signal: i32) {}

    #[test]
    fn a_signal_ends_a_sleep_without_a_deadline() {
        let word = AtomicU32::new(0);
        let tid = AtomicU32::new(0);
        // SAFETY: a zeroed sigaction is valid. Without SA_RESTART; nobody else uses this signal.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGRTMAX() - 3, &action, ptr::null_mut()), 0);
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                tell(&tid);
                wait(&word, 0, None)
            });
            until_asleep(&tid);
            let tid = tid.load(Ordering::Relaxed) as i32;
            // SAFETY: the thread of this process still sleeps.
            unsafe {
                let signal = libc::SIGRTMAX() - 3;
                assert_eq!(libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal), 0);
            }
            assert_eq!(sleeper.join().unwrap(), FutexWait::Interrupted);
        });
    }
}
