//! Cond, and what is built on waiting for others: Barrier, Once, OnceCell, singleflight.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use common::{alone, every_way, panic_text, until, Rng};
use go_lib::runtime::embedder::{CondCore, Wait, WaitError};
use go_lib::sync::singleflight::Group;
use go_lib::sync::{Barrier, Cond, Mutex, Once, OnceCell};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn notify_one_wakes_in_the_order_of_coming() {
    every_way(|way| {
        let shared = Arc::new((Mutex::new((0, Vec::new())), Cond::new()));
        let peers: Vec<_> = (0..5)
            .map(|i| {
                let shared2 = shared.clone();
                let peer = way.start(move || {
                    let (m, cond) = &*shared2;
                    let mut guard = m.lock();
                    guard.0 += 1;
                    guard = cond.wait(m, guard);
                    guard.1.push(i);
                });
                // Under the lock: it has begun to wait.
                until(|| shared.0.lock().0 == i + 1);
                peer
            })
            .collect();
        for n in 1..=5 {
            shared.1.notify_one();
            until(|| shared.0.lock().1.len() == n);
        }
        peers.into_iter().for_each(common::Peer::join);
        assert_eq!(shared.0.lock().1, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn notify_all_wakes_all_who_wait_and_a_notification_of_nobody_is_lost() {
    every_way(|way| {
        let shared = Arc::new((StdMutex::new((0, false)), Cond::new()));
        shared.1.notify_all();
        let peers: Vec<_> = (0..8)
            .map(|_| {
                let shared = shared.clone();
                way.start(move || {
                    let (m, cond) = &*shared;
                    let mut guard = m.lock().unwrap();
                    guard.0 += 1;
                    while !guard.1 {
                        guard = cond.wait(m, guard);
                    }
                })
            })
            .collect();
        until(|| shared.0.lock().unwrap().0 == 8);
        shared.0.lock().unwrap().1 = true;
        shared.1.notify_all();
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn a_wait_that_timed_out_holds_the_lock_again() {
    every_way(|_| {
        let (m, cond) = (Mutex::new(1), Cond::new());
        let (guard, notified) = cond.wait_timeout(&m, m.lock(), SHORT);
        assert!(!notified && m.try_lock().is_none() && *guard == 1);
        let (_guard, notified) = cond.wait_timeout(&m, guard, Duration::ZERO);
        assert!(!notified);
    });
}

#[test]
fn a_panic_while_unlocking_leaves_the_queue_empty() {
    alone(|| {
        let cond = CondCore::new();
        panic_text(|| {
            let _ =
                cond.wait(Wait::Block, || std::panic::resume_unwind(Box::new("quiet".to_string())));
        });
        cond.notify_all();
    });
}

#[test]
fn a_notification_between_unlock_and_park_is_taken_and_one_too_late_goes_to_the_next() {
    alone(|| {
        let cond = CondCore::new();
        assert_eq!(cond.wait(Wait::Try, || cond.notify(1)), Ok(()));
        assert_eq!(cond.wait(Wait::Try, || ()), Err(WaitError::WouldBlock));
        cond.notify(1); // nobody is left in the queue
        assert_eq!(cond.wait(Wait::Until(0), || ()), Err(WaitError::Timeout));
    });
}

#[test]
fn stress_with_timeouts_loses_no_notification() {
    every_way(|way| {
        // Tokens are handed over one notification each: a lost one leaves a token and a sleeper.
        let mut seed = Rng::new("stress_cond");
        let shared = Arc::new((Mutex::new(0_usize), Cond::new(), AtomicUsize::new(0)));
        let takers: Vec<_> = (0..5)
            .map(|_| {
                let (shared, mut rng) = (shared.clone(), Rng(seed.next() | 1));
                way.start(move || {
                    let (m, cond, taken) = &*shared;
                    for _ in 0..200 {
                        let mut tokens = m.lock();
                        while *tokens == 0 {
                            tokens = if rng.below(2) == 0 {
                                cond.wait(m, tokens)
                            } else {
                                let timeout = Duration::from_micros(rng.below(80));
                                cond.wait_timeout(m, tokens, timeout).0
                            };
                        }
                        *tokens -= 1;
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for _ in 0..1000 {
            *shared.0.lock() += 1;
            shared.1.notify_one();
            if seed.below(3) == 0 {
                go_lib::gosched();
            }
        }
        takers.into_iter().for_each(common::Peer::join);
        assert_eq!((shared.2.load(Ordering::SeqCst), *shared.0.lock()), (1000, 0));
    });
}

#[test]
fn a_barrier_lets_nobody_on_before_all_have_come_and_serves_again() {
    every_way(|way| {
        let shared = Arc::new((Barrier::new(4), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                way.start(move || {
                    let mut led = 0;
                    for round in 1..=20 {
                        shared.1.fetch_add(1, Ordering::SeqCst);
                        led += usize::from(shared.0.wait());
                        assert!(shared.1.load(Ordering::SeqCst) >= 4 * round);
                    }
                    led
                })
            })
            .collect();
        assert_eq!(peers.into_iter().map(common::Peer::join).sum::<usize>(), 20);
    });
}

#[test]
fn once_runs_once_and_the_others_wait_for_its_end() {
    every_way(|way| {
        let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let shared = shared.clone();
                way.start(move || {
                    shared.0.call_once(|| {
                        go_lib::sleep(SHORT);
                        shared.1.fetch_add(1, Ordering::SeqCst);
                    });
                    assert_eq!(shared.1.load(Ordering::SeqCst), 1);
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn a_once_that_panicked_is_done_and_a_cell_that_panicked_is_empty() {
    alone(|| {
        let quiet = || std::panic::resume_unwind(Box::new("quiet".to_string()));
        let once = Once::new();
        panic_text(|| once.call_once(quiet));
        once.call_once(|| unreachable!());
        assert_eq!(format!("{once:?}"), "Once { completed: true }");
        let cell = OnceCell::<u32>::default();
        panic_text(|| {
            let _ = cell.get_or_init(|| std::panic::resume_unwind(Box::new("q".to_string())));
        });
        assert_eq!((cell.get(), cell.get_or_init(|| 5), cell.set(6)), (None, &5, Err(6)));
        assert_eq!(format!("{cell:?} {:?}", cell.get()), "OnceCell(Some(5)) Some(5)");
        assert_eq!(cell.into_inner(), Some(5));
    });
}

#[test]
fn a_cell_is_filled_by_one_of_many() {
    every_way(|way| {
        let shared = Arc::new((OnceCell::new(), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|i| {
                let shared = shared.clone();
                way.start(move || {
                    *shared.0.get_or_init(|| {
                        go_lib::sleep(SHORT);
                        shared.1.fetch_add(1, Ordering::SeqCst);
                        i
                    })
                })
            })
            .collect();
        let values: Vec<i32> = peers.into_iter().map(common::Peer::join).collect();
        assert!(values.iter().all(|v| v == &values[0]));
        assert_eq!(shared.1.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn work_for_one_key_is_done_once_at_a_time_and_shared() {
    every_way(|way| {
        let shared = Arc::new((Group::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let shared = shared.clone();
                way.start(move || {
                    let (group, begun, waiting) = &*shared;
                    waiting.fetch_add(1, Ordering::SeqCst);
                    group.work("key", || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        until(|| waiting.load(Ordering::SeqCst) == 6);
                        go_lib::sleep(5 * SHORT);
                        7
                    })
                })
            })
            .collect();
        let results: Vec<_> = peers.into_iter().map(common::Peer::join).collect();
        assert!(results.iter().all(|r| r.0 == 7));
        let alone = results.iter().filter(|r| !r.1).count();
        assert_eq!(alone, shared.1.load(Ordering::SeqCst));
        assert_eq!(shared.0.work("key", || 8), (8, false));
    });
}

#[test]
fn work_that_panics_panics_for_all_and_a_forgotten_key_is_worked_on_again() {
    every_way(|way| {
        let group = Arc::new(Group::<u32, u32>::new());
        let group2 = group.clone();
        let (begun, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begun2, end2) = (begun.clone(), end.clone());
        let failing = way.start(move || {
            panic_text(|| {
                group2.work(1, || {
                    begun2.store(1, Ordering::SeqCst);
                    until(|| end2.load(Ordering::SeqCst) == 1);
                    std::panic::resume_unwind(Box::new("the work failed".to_string()))
                });
            })
        });
        until(|| begun.load(Ordering::SeqCst) == 1);
        let (group2, waits) = (group.clone(), Arc::new(AtomicUsize::new(0)));
        let waits2 = waits.clone();
        let sharing = way.start(move || {
            waits2.store(1, Ordering::SeqCst);
            panic_text(|| {
                let _ = group2.work(1, || 0);
            })
        });
        until(|| waits.load(Ordering::SeqCst) == 1);
        go_lib::sleep(5 * SHORT);
        group.forget(&1);
        assert_eq!(group.work(1, || 2), (2, false));
        end.store(1, Ordering::SeqCst);
        assert_eq!(failing.join(), "the work failed");
        assert_eq!(sharing.join(), "the work failed");
        assert_eq!(group.work(1, || 3), (3, false));
    });
}

#[test]
fn no_notification_is_lost_though_everybody_loses_its_processor() {
    for procs in 1..=2 {
        alone(|| {
            let before = go_lib::set_gomaxprocs(procs);
            let shared = Arc::new((Mutex::new(0), Cond::new()));
            // Longer than a time slice: sysmon takes the P away meanwhile.
            let compute = || {
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_millis(15) {
                    std::hint::spin_loop();
                }
            };
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    let shared = shared.clone();
                    common::start(common::Kind::Goroutine, move || {
                        let (m, cond) = &*shared;
                        let mut there = m.lock();
                        compute();
                        while *there == 0 {
                            there = cond.wait(m, there);
                        }
                        *there -= 1;
                    })
                })
                .collect();
            for _ in 0..4 {
                let mut there = shared.0.lock();
                *there += 1;
                compute();
                drop(there);
                shared.1.notify_one();
            }
            takers.into_iter().for_each(common::Peer::join);
            assert_eq!(*shared.0.lock(), 0);
            go_lib::set_gomaxprocs(before);
        });
    }
}
