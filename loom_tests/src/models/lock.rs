//! The runtime's mutex.

use std::sync::Arc;

use super::{explore, spawn, Token};
use crate::runtime::object::lock::{ChanLock, Locked, Mutex};

/// Proves: one holder at a time, each sees what the last one wrote, and a thread that sleeps for
/// the lock is woken.
///
/// Bound: 3 threads, 3 preemptions.
///
/// Fails without: Acquire in `lock`; Acquire in `lock_slow`; Release in `unlock`; the mark
/// CONTENDED in `lock_slow` (LOCKED instead: a second sleeper is forgotten); the call of `wake`.
#[test]
fn the_lock_excludes_publishes_and_wakes() {
    explore("lock", 3, || {
        let lock = Arc::new((Mutex::new(), Token::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                spawn(move || {
                    lock.0.lock();
                    lock.1.add(1);
                    lock.0.unlock();
                })
            })
            .collect();
        lock.0.lock();
        lock.1.add(1);
        lock.0.unlock();
        for t in threads {
            t.join().unwrap();
        }
        lock.0.lock();
        assert_eq!(lock.1.get(), 3);
        lock.0.unlock();
    });
}

/// Proves: a `try_lock` that fails changes nothing, one that succeeds excludes and publishes.
///
/// Bound: 2 threads, 2 tries each, unbounded (16 preemptions).
///
/// Fails without: Acquire in `try_lock`; laziness of the guard (`then_some` for `then` unlocks
/// somebody else's lock).
#[test]
fn a_try_lock_takes_all_or_nothing() {
    explore("try_lock", 16, || {
        let lock = Arc::new(Locked::new(Token::new(0)));
        let twice = |lock: &Locked<Token>| {
            let mut took = 0;
            for _ in 0..2 {
                if let Some(token) = lock.try_lock() {
                    token.add(1);
                    took += 1;
                }
            }
            took
        };
        let lock2 = lock.clone();
        let thread = spawn(move || twice(&lock2));
        let mine = twice(&lock);
        let sum = mine + thread.join().unwrap();
        assert_eq!(lock.lock().get(), sum);
        assert!(sum >= 1);
    });
}

/// Proves: the lock of a host's channel excludes and publishes, though a holder gives the interpreter
/// up before it unlocks, as a goroutine that parks without a P does.
///
/// Bound: 3 threads; 3 preemptions.
///
/// Fails without: the wait for a holder in `lock`; Acquire there; Release in `unlock`.
#[test]
fn the_lock_of_a_hosts_channel_excludes() {
    explore("ChanLock: by host", 3, || {
        let shared = Arc::new((Mutex::new(), ChanLock::new(true), Token::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                spawn(move || {
                    let (interpreter, lock, token) = &*shared;
                    interpreter.lock();
                    lock.lock();
                    token.add(1);
                    interpreter.unlock();
                    token.add(1);
                    lock.unlock();
                })
            })
            .collect();
        let (interpreter, lock, token) = &*shared;
        interpreter.lock();
        lock.lock();
        token.add(1);
        lock.unlock();
        interpreter.unlock();
        for t in threads {
            t.join().unwrap();
        }
        assert_eq!(token.get(), 5);
    });
}
