//! RwLock: exclusion, turns of readers and writers, timeouts, misuse, stress.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, panic_text, until, Rng};
use go_lib::runtime::embedder::{RwMutexCore, RwUnlockError, Wait, WaitError};
use go_lib::sync::RwLock;

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn many_read_at_once_and_one_writes_alone() {
    every_way(|_| {
        let lock = RwLock::new(1);
        let (a, b) = (lock.read(), lock.read());
        assert!(lock.try_write().is_none() && lock.try_read().is_some());
        assert_eq!(*a + *b, 2);
        drop((a, b));
        let mut w = lock.write();
        *w = 2;
        assert!(lock.try_write().is_none() && lock.try_read().is_none());
        assert!(matches!(lock.read_timeout(SHORT), Err(WaitError::Timeout)));
        assert!(matches!(lock.write_timeout(SHORT), Err(WaitError::Timeout)));
        assert_eq!(format!("{lock:?}"), "RwLock { <locked> }");
        drop(w);
        assert_eq!(format!("{lock:?}"), "RwLock { value: 2 }");
        assert_eq!(lock.into_inner(), 2);
    });
}

#[test]
fn a_waiting_writer_stops_new_readers_and_comes_before_them() {
    every_way(|way| {
        let lock = Arc::new(RwLock::new(Vec::new()));
        let reading = lock.read();
        let lock2 = lock.clone();
        let writer = way.start(move || lock2.write().push("writer"));
        until(|| lock.try_read().is_none());
        let lock2 = lock.clone();
        let reader = way.start(move || assert_eq!(*lock2.read(), ["writer"]));
        drop(reading);
        writer.join();
        reader.join();
    });
}

#[test]
fn a_writer_that_ends_lets_in_the_waiting_readers_before_the_next_writer() {
    every_way(|way| {
        let lock = Arc::new(RwLock::new(0));
        let core = Arc::new(AtomicUsize::new(0));
        let writing = lock.write();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                way.start(move || *lock.write() += 1)
            })
            .collect();
        // A reader that comes after two writers reads after one of them at the latest.
        let (lock2, core2) = (lock.clone(), core.clone());
        let reader = way.start(move || {
            core2.store(1, Ordering::SeqCst);
            *lock2.read()
        });
        until(|| core.load(Ordering::SeqCst) == 1);
        drop(writing);
        assert!(reader.join() <= 2);
        writers.into_iter().for_each(common::Peer::join);
        assert_eq!(*lock.read(), 2);
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_go_on() {
    every_way(|way| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read();
        let lock2 = lock.clone();
        let writer = way.start(move || assert!(lock2.write_timeout(20 * SHORT).is_err()));
        until(|| lock.try_read().is_none());
        let lock2 = lock.clone();
        let reader = way.start(move || drop(lock2.read()));
        reader.join(); // while we still read
        writer.join();
        drop(reading);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn an_unlock_of_what_is_not_held_is_an_error() {
    alone(|| {
        let lock = RwMutexCore::new();
        assert_eq!(lock.unlock(), Err(RwUnlockError::NotWriting));
        assert_eq!(lock.runlock(), Err(RwUnlockError::NotReading));
        assert_eq!(lock.rlock(Wait::Try), Ok(()));
        assert_eq!(lock.unlock(), Err(RwUnlockError::NotWriting));
        assert_eq!(lock.lock(Wait::Try), Err(WaitError::WouldBlock));
        assert_eq!((lock.runlock(), lock.lock(Wait::Try)), (Ok(()), Ok(())));
        assert_eq!(lock.runlock(), Err(RwUnlockError::NotReading));
        assert_eq!(lock.rlock(Wait::Try), Err(WaitError::WouldBlock));
        assert_eq!((lock.held(), lock.unlock(), lock.held()), ((0, true), Ok(()), (0, false)));
    });
}

#[test]
fn a_panic_with_a_guard_unlocks() {
    alone(|| {
        let lock = RwLock::new(1);
        panic_text(|| {
            let _guard = lock.write();
            std::panic::resume_unwind(Box::new("quiet".to_string()));
        });
        panic_text(|| {
            let _guard = lock.read();
            std::panic::resume_unwind(Box::new("quiet".to_string()));
        });
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn a_writer_is_not_starved_by_readers_that_overlap() {
    every_way(|way| {
        let (lock, stop) = (Arc::new(RwLock::new(())), Arc::new(AtomicBool::new(false)));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                way.start(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _reading = lock.read();
                        go_lib::sleep(Duration::from_micros(200));
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        for _ in 0..20 {
            drop(lock.write());
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn stress_with_timeouts_loses_no_wake_up_and_excludes() {
    every_way(|way| {
        let mut seed = Rng::new("stress_with_timeouts");
        let shared = Arc::new((RwLock::new(0_u64), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let (shared, mut rng) = (shared.clone(), Rng(seed.next() | 1));
                way.start(move || {
                    let (lock, inside) = &*shared;
                    let mut wrote = 0;
                    for _ in 0..300 {
                        let timeout = Duration::from_micros(rng.below(100));
                        if rng.below(3) == 0 {
                            let guard = match rng.below(2) {
                                0 => Some(lock.write()),
                                _ => lock.write_timeout(timeout).ok(),
                            };
                            if let Some(mut guard) = guard {
                                assert_eq!(inside.fetch_add(1000, Ordering::SeqCst), 0);
                                *guard += 1;
                                wrote += 1;
                                inside.fetch_sub(1000, Ordering::SeqCst);
                            }
                        } else if let Ok(_guard) = lock.read_timeout(timeout) {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 1000);
                            if rng.below(4) == 0 {
                                go_lib::sleep(Duration::from_micros(10));
                            }
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    wrote
                })
            })
            .collect();
        let wrote: u64 = peers.into_iter().map(common::Peer::join).sum();
        assert_eq!(*shared.0.write(), wrote);
    });
}
