//! Semaphore: counting, order, weights, timeouts, misuse, stress.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use common::{alone, every_way, panic_text, until, Rng};
use go_lib::runtime::embedder::WaitError;
use go_lib::sync::Semaphore;

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn so_many_permits_are_taken_and_no_more() {
    every_way(|_| {
        let s = Semaphore::new(3);
        s.acquire(2);
        assert!(!s.try_acquire(2) && s.try_acquire(1));
        assert_eq!(s.acquire_timeout(1, SHORT), Err(WaitError::Timeout));
        assert_eq!(format!("{s:?}"), "Semaphore { size: 3, free: 0 }");
        s.release(3);
        assert!(s.try_acquire(3));
    });
}

#[test]
fn a_large_wish_is_not_overtaken_by_small_ones() {
    every_way(|way| {
        let s = Arc::new(Semaphore::new(3));
        s.acquire(1);
        let (s2, order) = (s.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let order2 = order.clone();
        let large = way.start(move || {
            s2.acquire(3);
            order2.lock().unwrap().push("large");
            s2.release(3);
        });
        until(|| {
            // While somebody waits nobody else takes any, though two are free.
            let took = s.try_acquire(1);
            if took {
                s.release(1);
            }
            !took
        });
        let (s2, order2) = (s.clone(), order.clone());
        let small = way.start(move || {
            s2.acquire(1);
            order2.lock().unwrap().push("small");
            s2.release(1);
        });
        s.release(1);
        large.join();
        small.join();
        assert_eq!(*order.lock().unwrap(), ["large", "small"]);
    });
}

#[test]
fn one_that_gives_up_lets_those_behind_it_go_on() {
    every_way(|way| {
        let s = Arc::new(Semaphore::new(2));
        s.acquire(1);
        let s2 = s.clone();
        let large = way
            .start(move || assert!(s2.acquire_timeout(2, 20 * SHORT) == Err(WaitError::Timeout)));
        until(|| {
            let took = s.try_acquire(1);
            if took {
                s.release(1);
            }
            !took
        });
        let s2 = s.clone();
        let small = way.start(move || s2.acquire(1));
        small.join(); // one was free all the time
        large.join();
        assert!(!s.try_acquire(1));
    });
}

#[test]
fn misuse_panics_and_changes_nothing() {
    alone(|| {
        let s = Semaphore::new(2);
        assert_eq!(panic_text(|| s.release(1)), "semaphore: released more than held");
        assert_eq!(panic_text(|| s.acquire(3)), "semaphore: 3 of 2 permits wished");
        s.acquire(1);
        assert_eq!(panic_text(|| s.release(2)), "semaphore: released more than held");
        assert_eq!(panic_text(|| s.release(usize::MAX)), "semaphore: released more than held");
        s.release(1);
        assert!(!s.try_acquire(3) && s.try_acquire(2));
        Semaphore::new(0).acquire(0);
    });
}

#[test]
fn stress_with_weights_and_timeouts_loses_no_permit() {
    every_way(|way| {
        const SIZE: usize = 5;
        let mut seed = Rng::new("stress_with_weights");
        let shared = Arc::new((Semaphore::new(SIZE), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let (shared, mut rng) = (shared.clone(), Rng(seed.next() | 1));
                way.start(move || {
                    let (s, held) = &*shared;
                    for _ in 0..400 {
                        let n = 1 + rng.below(SIZE as u64) as usize;
                        let timeout = Duration::from_micros(rng.below(100));
                        if rng.below(2) == 0 {
                            s.acquire(n);
                        } else if s.acquire_timeout(n, timeout).is_err() {
                            continue;
                        }
                        assert!(held.fetch_add(n, Ordering::SeqCst) + n <= SIZE);
                        if rng.below(4) == 0 {
                            go_lib::gosched();
                        }
                        held.fetch_sub(n, Ordering::SeqCst);
                        s.release(n);
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        assert!(shared.0.try_acquire(SIZE));
    });
}
