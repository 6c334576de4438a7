//! WaitGroup and Mutex: counting, reuse, misuse, timeouts, modes, stress.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, panic_text, until, Kind, Rng};
use go_lib::runtime::embedder::{MutexCore, Wait, WaitError};
use go_lib::sync::{Mutex, WaitGroup};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn a_wait_returns_when_the_counter_reaches_zero_and_not_before() {
    every_way(|way| {
        let wg = WaitGroup::new();
        let done = Arc::new(AtomicUsize::new(0));
        let peers: Vec<_> = (0..20)
            .map(|i| {
                wg.add(1);
                let (wg, done) = (wg.clone(), done.clone());
                way.start(move || {
                    go_lib::sleep(Duration::from_micros(i * 50));
                    done.fetch_add(1, Ordering::SeqCst);
                    wg.done();
                })
            })
            .collect();
        wg.wait();
        assert_eq!(done.load(Ordering::SeqCst), 20);
        wg.wait(); // again: it is zero
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn a_wait_group_below_zero_panics_and_keeps_its_counter() {
    alone(|| {
        let wg = WaitGroup::new();
        assert_eq!(panic_text(|| wg.done()), "sync: negative WaitGroup counter");
        wg.add(2);
        assert_eq!(panic_text(|| wg.add(-3)), "sync: negative WaitGroup counter");
        assert_eq!(panic_text(|| wg.add(i64::MIN)), "sync: negative WaitGroup counter");
        assert_eq!(panic_text(|| wg.add(i64::MAX)), "sync: WaitGroup counter out of range");
        assert_eq!(format!("{wg:?}"), "WaitGroup { count: 2 }");
        wg.add(-2);
        wg.wait();
    });
}

#[test]
fn a_wait_group_wakes_all_who_wait_and_can_be_used_again_at_once() {
    every_way(|way| {
        let wg = WaitGroup::new();
        for round in 0..50 {
            wg.add(1);
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let wg = wg.clone();
                    way.start(move || wg.wait())
                })
                .collect();
            if round % 2 == 0 {
                go_lib::gosched();
            }
            wg.done();
            // The next round begins before all of the last one have returned.
            wg.add(1);
            wg.done();
            waiters.into_iter().for_each(common::Peer::join);
        }
    });
}

#[test]
fn a_wait_that_timed_out_leaves_nothing() {
    every_way(|_| {
        let wg = WaitGroup::new();
        wg.add(1);
        for _ in 0..20 {
            assert_eq!(wg.wait_timeout(Duration::from_micros(100)), Err(WaitError::Timeout));
        }
        assert_eq!(wg.wait_timeout(Duration::ZERO), Err(WaitError::Timeout));
        wg.done();
        assert_eq!(wg.wait_timeout(Duration::ZERO), Ok(()));
    });
}

#[test]
fn a_goroutine_of_the_group_that_panics_is_done_too() {
    alone(|| {
        let wg = WaitGroup::new();
        go_lib::set_panic_handler(|_| ());
        for _ in 0..10 {
            wg.go(|| std::panic::resume_unwind(Box::new("quiet")));
        }
        wg.go(|| 5);
        wg.wait();
    });
}

#[test]
fn stress_counters_of_many_goroutines_never_lose_a_wake_up() {
    every_way(|way| {
        let mut seed = Rng::new("stress_wait_group");
        for _ in 0..200 {
            let wg = WaitGroup::new();
            let n = 1 + seed.below(4);
            wg.add(n as i64);
            let peers: Vec<_> = (0..n)
                .map(|i| {
                    let wg = wg.clone();
                    way.start(move || {
                        if i % 2 == 0 {
                            go_lib::gosched();
                        }
                        wg.done();
                        wg.wait();
                    })
                })
                .collect();
            wg.wait();
            peers.into_iter().for_each(common::Peer::join);
        }
    });
}

#[test]
fn a_mutex_excludes_and_loses_no_update() {
    every_way(|way| {
        let m = Arc::new(Mutex::new(0_u64));
        let inside = Arc::new(AtomicBool::new(false));
        let peers: Vec<_> = (0..4)
            .map(|p| {
                let (m, inside) = (m.clone(), inside.clone());
                way.start(move || {
                    for i in 0..2000 {
                        let mut guard = m.lock();
                        assert!(!inside.swap(true, Ordering::Relaxed), "two holders");
                        let v = *guard;
                        if (i + p) % 64 == 0 {
                            go_lib::gosched();
                        }
                        *guard = v + 1;
                        inside.store(false, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        assert_eq!(*m.lock(), 8000);
    });
}

#[test]
fn a_try_lock_that_fails_leaves_the_mutex_locked() {
    every_way(|_| {
        let m = Mutex::new(1);
        let guard = m.lock();
        assert!(m.try_lock().is_none());
        assert!(m.try_lock().is_none());
        assert_eq!(format!("{m:?}"), "Mutex { <locked> }");
        assert!(matches!(m.lock_timeout(SHORT), Err(WaitError::Timeout)));
        drop(guard);
        assert!(m.try_lock().is_some());
        assert_eq!(format!("{m:?}"), "Mutex { value: 1 }");
        assert_eq!(m.into_inner(), 1);
    });
}

#[test]
fn an_unlock_of_an_unlocked_core_is_an_error() {
    alone(|| {
        let m = MutexCore::new();
        assert!(m.unlock().is_err());
        assert_eq!(m.lock(Wait::Try), Ok(()));
        assert_eq!(m.lock(Wait::Try), Err(WaitError::WouldBlock));
        assert!(m.unlock().is_ok() && m.unlock().is_err());
    });
}

#[test]
fn a_panic_with_the_guard_unlocks() {
    alone(|| {
        let m = Mutex::new(1);
        panic_text(|| {
            let _guard = m.lock();
            std::panic::resume_unwind(Box::new("quiet".to_string()));
        });
        assert_eq!(*m.lock(), 1);
    });
}

#[test]
fn a_lock_that_timed_out_among_waiters_forgets_nobody() {
    every_way(|way| {
        let mut seed = Rng::new("a_lock_that_timed_out");
        let m = Arc::new(Mutex::new(0));
        let peers: Vec<_> = (0..5)
            .map(|_| {
                let (m, mut rng) = (m.clone(), Rng(seed.next() | 1));
                way.start(move || {
                    let mut took = 0;
                    for _ in 0..200 {
                        let timeout = Duration::from_micros(rng.below(80));
                        if let Ok(mut guard) = m.lock_timeout(timeout) {
                            *guard += 1;
                            took += 1;
                            if rng.below(4) == 0 {
                                go_lib::sleep(Duration::from_micros(20));
                            }
                        }
                    }
                    drop(m.lock()); // would hang if a wake-up were lost
                    took
                })
            })
            .collect();
        let took: i32 = peers.into_iter().map(common::Peer::join).sum();
        assert_eq!(*m.lock(), took);
    });
}

#[test]
fn a_waiter_that_starves_gets_the_mutex_from_a_busy_holder() {
    every_way(|way| {
        let m = Arc::new(Mutex::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicUsize::new(0));
        let (m2, stop2, begun2) = (m.clone(), stop.clone(), begun.clone());
        // It holds the mutex almost always, and takes it again at once.
        let hog = way.start(move || {
            while !stop2.load(Ordering::Relaxed) {
                let guard = m2.lock();
                begun2.fetch_add(1, Ordering::Relaxed);
                go_lib::sleep(Duration::from_micros(200));
                drop(guard);
            }
        });
        until(|| begun.load(Ordering::Relaxed) > 0);
        let begin = Instant::now();
        for _ in 0..10 {
            drop(m.lock());
        }
        // Without the hand-over it might take forever; with it each lock takes some ms.
        assert!(begin.elapsed() < Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
        hog.join();
    });
}

#[test]
fn goroutines_and_threads_share_one_mutex() {
    alone(|| {
        let m = Arc::new(Mutex::new(0));
        let peers: Vec<_> = (0..6)
            .map(|i| {
                let m = m.clone();
                let kind = if i % 2 == 0 { Kind::Goroutine } else { Kind::Thread };
                common::start(kind, move || (0..2000).for_each(|_| *m.lock() += 1))
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        assert_eq!(*m.lock(), 12000);
    });
}

/// Computes for longer than a goroutine's time slice: sysmon takes the P away meanwhile.
fn compute_past_the_slice() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(25) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_mutex_excludes_though_its_holder_loses_its_processor() {
    for procs in 1..=2 {
        alone(|| {
            let before = go_lib::set_gomaxprocs(procs);
            let m = Arc::new(Mutex::new((0, false)));
            let peers: Vec<_> = (0..5)
                .map(|_| {
                    let m = m.clone();
                    common::start(Kind::Goroutine, move || {
                        let mut guard = m.lock();
                        assert!(!std::mem::replace(&mut guard.1, true), "two hold it");
                        compute_past_the_slice();
                        guard.0 += 1;
                        guard.1 = false;
                    })
                })
                .collect();
            peers.into_iter().for_each(common::Peer::join);
            assert_eq!(m.lock().0, 5);
            go_lib::set_gomaxprocs(before);
        });
    }
}
