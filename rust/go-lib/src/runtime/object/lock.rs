//! The runtime's mutex: three states, a short spin, then the kernel. Held for a few instructions.
//!
//! # Invariants
//! 1. No lock is held across `gopark`/`goready`, a host call or a wait for the interpreter.
//! 2. `state`: 0 unlocked, 1 locked, 2 locked with possible sleepers.
//!
//! # Memory ordering
//! Acquire when the CAS from 0 wins, Release when the word goes back to 0: the next holder sees
//! what the last one wrote.
//!
//! Go: runtime/lock_futex.go

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crate::prim::{const_new, futex_wait, futex_wake, spin_hint, AtomicU32, Ordering};

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const CONTENDED: u32 = 2;
/// Looks before sleeping: about a microsecond, longer than any section is held.
const LOOKS: u32 = if cfg!(golib_loom) { 0 } else { 60 };
/// The same for a channel's lock, and the pauses before each look. Its users come back at once: a
/// thread that finds it locked lets the holder do a microsecond's worth of operations, so that the
/// channel need not travel from CPU to CPU for each (four senders and four receivers on two Ps: 80
/// ns a message, so 15).
const CHAN_LOOKS: u32 = if cfg!(golib_loom) { 0 } else { 20 };
const CHAN_PAUSES: u32 = 40;

/// A lock without data; see [`Locked`] for one that owns what it guards.
pub(crate) struct Mutex {
    state: AtomicU32,
}

impl Mutex {
    const_new! {
        pub(crate) fn new() -> Self {
            Mutex { state: AtomicU32::new(UNLOCKED) }
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) {
        if !self.try_lock() {
            self.lock_slow(LOOKS, 1);
        }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub(crate) fn try_lock(&self) -> bool {
        // Acquire: pairs with the Release of unlock.
        self.state.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self, looks: u32, pauses: u32) {
        for _ in 0..looks {
            for _ in 0..pauses {
                spin_hint();
            }
            if self.state.load(Ordering::Relaxed) == UNLOCKED && self.try_lock() {
                return;
            }
        }
        // Acquire: as in try_lock. A thread that slept must assume that others sleep too, hence
        // CONTENDED.
        while self.state.swap(CONTENDED, Ordering::Acquire) != UNLOCKED {
            futex_wait(&self.state, CONTENDED, None);
        }
    }

    #[inline(always)]
    pub(crate) fn unlock(&self) {
        // Release: publishes the section; pairs with the Acquire of the next lock.
        if self.state.swap(UNLOCKED, Ordering::Release) == CONTENDED {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        futex_wake(&self.state, 1);
    }
}

/// The lock of a channel: one that only holders of the host's interpreter take needs no atomic
/// read-modify-write, since the interpreter excludes them from one another.
///
/// The interpreter decides who may lock; it does not guard the section: a goroutine that parks may
/// give the interpreter up before its `unlockf` runs (`proc::park::leave_host_without_p`), so that
/// the next holder of the interpreter may find the lock taken, and waits for the few instructions
/// until it is free.
pub(crate) struct ChanLock {
    mutex: Mutex,
    by_host: bool,
}

impl ChanLock {
    /// An unlocked one. `by_host`: it is locked with the host's interpreter held.
    pub(crate) fn new(by_host: bool) -> Self {
        ChanLock { mutex: Mutex::new(), by_host }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) {
        if !self.by_host {
            if !self.mutex.try_lock() {
                self.mutex.lock_slow(CHAN_LOOKS, CHAN_PAUSES);
            }
            return;
        }
        // Acquire: pairs with the Release of unlock by a holder that gave the interpreter up before.
        while self.mutex.state.load(Ordering::Acquire) != UNLOCKED {
            wait_for_holder();
        }
        // Relaxed: the next reader takes the interpreter after this thread.
        self.mutex.state.store(LOCKED, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn unlock(&self) {
        if !self.by_host {
            self.mutex.unlock();
            return;
        }
        // Release: publishes the section; pairs with the Acquire of lock.
        self.mutex.state.store(UNLOCKED, Ordering::Release);
    }
}

/// The holder has left its goroutine and is about to unlock; it may have lost its CPU there.
#[cold]
fn wait_for_holder() {
    spin_hint();
    #[cfg(not(golib_loom))]
    std::thread::yield_now();
}

/// A value and the lock that guards it.
pub(crate) struct Locked<T> {
    lock: Mutex,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives exclusive access to the value.
unsafe impl<T: Send> Sync for Locked<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: Send> Send for Locked<T> {}

impl<T> Locked<T> {
    const_new! {
        pub(crate) fn new(value: T) -> Self {
            Locked { lock: Mutex::new(), value: UnsafeCell::new(value) }
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.lock.lock();
        Guard { of: self }
    }

    /// The value without the lock.
    ///
    /// # Safety
    /// Nobody else can reach it (a forked child's only thread).
    pub(crate) unsafe fn get_behind_lock(&self) -> &T {
        // SAFETY: the caller's duty.
        unsafe { &*self.value.get() }
    }

    /// The guard if the lock is free.
    #[cfg(golib_loom)]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.lock.try_lock().then(|| Guard { of: self })
    }
}

/// Access to a [`Locked`] value until dropped.
pub(crate) struct Guard<'a, T> {
    of: &'a Locked<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while the lock is held.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while the lock is held, and we are borrowed mutably.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.of.lock.unlock();
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::{ChanLock, Locked, Mutex, CONTENDED, LOCKED, UNLOCKED};

    /// Counts with `threads` threads under `lock`; each leaves the CPU amidst it now and then.
    fn count_under(threads: u32, each: u32, lock: impl Fn() + Sync, unlock: impl Fn() + Sync) {
        let (n, inside) = (AtomicU32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for i in 0..each {
                        lock();
                        assert!(!inside.swap(true, Ordering::Relaxed), "two hold it");
                        let before = n.load(Ordering::Relaxed);
                        if i % 64 == 0 {
                            std::thread::yield_now();
                        }
                        n.store(before + 1, Ordering::Relaxed);
                        inside.store(false, Ordering::Relaxed);
                        unlock();
                    }
                });
            }
        });
        assert_eq!(n.into_inner(), threads * each);
    }

    #[test]
    fn more_threads_than_cpus_hold_a_lock_one_at_a_time() {
        let lock = Mutex::new();
        count_under(12, 2_000, || lock.lock(), || lock.unlock());
        assert_eq!(lock.state.load(Ordering::Relaxed), UNLOCKED);
        let lock = ChanLock::new(false);
        count_under(12, 2_000, || lock.lock(), || lock.unlock());
        assert_eq!(lock.mutex.state.load(Ordering::Relaxed), UNLOCKED);
    }

    #[test]
    fn holders_of_the_interpreter_find_a_channels_lock_free_or_wait_for_it() {
        let (interpreter, lock) = (Mutex::new(), ChanLock::new(true));
        let lock_both = || {
            interpreter.lock();
            lock.lock();
            // Given up with the lock held, as by a goroutine that parks.
            interpreter.unlock();
        };
        count_under(4, 1_000, lock_both, || lock.unlock());
        assert_eq!(lock.mutex.state.load(Ordering::Relaxed), UNLOCKED);
    }

    #[test]
    fn a_thread_that_waits_long_sleeps_and_is_woken() {
        let (lock, got) = (Mutex::new(), AtomicU32::new(0));
        lock.lock();
        assert!(!lock.try_lock());
        assert_eq!(lock.state.load(Ordering::Relaxed), LOCKED);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    lock.lock();
                    got.fetch_add(1, Ordering::Relaxed);
                    lock.unlock();
                });
            }
            while lock.state.load(Ordering::Relaxed) != CONTENDED {
                std::thread::yield_now();
            }
            assert_eq!(got.load(Ordering::Relaxed), 0);
            lock.unlock();
        });
        assert_eq!(got.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_guard_that_unwinding_drops_unlocks() {
        let value = Locked::new(1);
        let panicked = std::thread::scope(|scope| {
            let body = || {
                let mut guard = value.lock();
                *guard += 1;
                std::panic::resume_unwind(Box::new(()));
            };
            scope.spawn(body).join().is_err()
        });
        assert!(panicked);
        assert!(value.lock.try_lock(), "it stayed locked");
        value.lock.unlock();
        assert_eq!(*value.lock(), 2);
    }
}
