//! WaitGroup, Mutex, Event.

use std::sync::Arc;

use super::chan::SOON;
use super::{explore, spawn, Token, World};
use crate::runtime::block::sema::{Event, MutexCore, WaitGroupCore};
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;

/// Proves: a wait returns after the last `done`, not before, and sees what was done before each;
/// it is not forgotten, whether it comes before, between or after.
///
/// Bound: 3 threads; 3 preemptions.
///
/// Fails without: Release in `add`; Acquire in `wait`; the step to zero under the lock (a plain
/// step: the waiter that sets `waited` meanwhile is forgotten); the RMW in `wait`.
#[test]
fn a_wait_group_against_two_that_are_done() {
    explore("WaitGroup: two done", 3, || {
        let world = World::new(0);
        let shared = Arc::new((WaitGroupCore::new(), [Token::new(0), Token::new(0)]));
        shared.0.add(2).unwrap();
        let (world2, shared2) = (world.clone(), shared.clone());
        let waiter = spawn(move || {
            world2.enter();
            shared2.0.wait(Wait::Block).unwrap();
            assert_eq!((shared2.1[0].get(), shared2.1[1].get()), (1, 1));
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let worker = spawn(move || {
            world2.enter();
            shared2.1[1].set(1);
            shared2.0.add(-1).unwrap();
        });
        world.enter();
        shared.1[0].set(1);
        shared.0.add(-1).unwrap();
        worker.join().unwrap();
        waiter.join().unwrap();
    });
}

/// Proves: a group is used again at once: while the last `done` of the first round wakes its waiter, the second round
/// begins, and its waiter is not woken with the first.
///
/// Bound: 4 threads; 2 preemptions.
///
/// Fails without: the queue taken under the same lock as the step to zero (unlocked between: a
/// waiter of the second round is woken by the first).
#[test]
fn a_wait_group_is_reused_at_once() {
    explore("WaitGroup: reuse", 2, || {
        let world = World::new(0);
        let shared = Arc::new((WaitGroupCore::new(), [Token::new(0), Token::new(0)]));
        let wg = &shared.0;
        wg.add(1).unwrap();
        let (world2, shared2) = (world.clone(), shared.clone());
        let first = spawn(move || {
            world2.enter();
            shared2.0.wait(Wait::Block).unwrap();
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let last = spawn(move || {
            world2.enter();
            shared2.1[0].set(1);
            shared2.0.add(-1).unwrap();
        });
        world.enter();
        while wg.count() != 0 {
            loom::thread::yield_now();
        }
        wg.add(1).unwrap();
        let (world2, shared2) = (world.clone(), shared.clone());
        let second = spawn(move || {
            world2.enter();
            shared2.1[1].set(1);
            shared2.0.add(-1).unwrap();
        });
        wg.wait(Wait::Block).unwrap();
        assert_eq!(shared.1[1].get(), 1, "woken by the first round");
        for t in [first, last, second] {
            t.join().unwrap();
        }
    });
}

/// Proves: the mutex excludes, publishes and forgets nobody, through both of its modes (in a model a single loss
/// counts as starving).
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: Acquire in `lock` or `take_or_announce`; Release in `unlock` or `unlock_held`; WAITED in
/// `take_or_announce` or in `unlocked`; the wake in `unlocked`; LOCKED in `hand_over`; the RMW in `announce_woken`.
#[test]
fn a_mutex_excludes_and_forgets_nobody() {
    explore("Mutex: three", 2, || {
        let world = World::new(0);
        let shared = Arc::new((MutexCore::new(), Token::new(0)));
        let body = |shared: &(MutexCore, Token)| {
            shared.0.lock(Wait::Block).unwrap();
            shared.1.add(1);
            shared.0.unlock_held();
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (world, shared) = (world.clone(), shared.clone());
                spawn(move || {
                    world.enter();
                    body(&shared);
                })
            })
            .collect();
        world.enter();
        shared.0.lock(Wait::Block).unwrap();
        shared.1.add(1);
        shared.0.unlock().unwrap();
        for t in threads {
            t.join().unwrap();
        }
        assert!(shared.0.try_lock() && shared.1.get() == 3);
    });
}

/// Proves: an unlocker that looks at the queue late, when a newcomer has the mutex and a waiter asks to be next, does
/// not give the mutex away.
///
/// Bound: 3 threads, one of which locks twice; 3 preemptions.
///
/// Fails without: LOCKED looked for in `unlocked`; STARVING looked for in `try_lock`.
#[test]
fn a_late_look_at_the_queue_gives_nothing_away() {
    explore("Mutex: late look", 3, || {
        let world = World::new(0);
        let shared = Arc::new((MutexCore::new(), Token::new(0)));
        world.enter();
        assert!(shared.0.try_lock());
        let threads = [1, 2].map(|rounds| {
            let (world, shared) = (world.clone(), shared.clone());
            spawn(move || {
                world.enter();
                for _ in 0..rounds {
                    shared.0.lock(Wait::Block).unwrap();
                    shared.1.add(1);
                    shared.0.unlock_held();
                }
            })
        });
        shared.1.add(1);
        shared.0.unlock_held();
        if shared.0.try_lock() {
            shared.1.add(1);
            shared.0.unlock_held();
        }
        for t in threads {
            t.join().unwrap();
        }
        assert!(shared.0.try_lock() && shared.1.get() >= 4);
    });
}

/// Proves: once a waiter has asked to be next, the holder's unlock gives it the mutex: the next owner, even an
/// immediate one, comes after that waiter.
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: LOCKED kept at a hand-over.
#[test]
fn a_starving_waiter_is_next() {
    explore("Mutex: starvation", 4, || {
        let world = World::new(0);
        let shared = Arc::new((MutexCore::new(), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let (mutex, served) = (&shared.0, &shared.1);
        world.enter();
        assert!(mutex.try_lock());
        let waiter = spawn(move || {
            world2.enter();
            shared2.0.lock(Wait::Block).unwrap();
            shared2.1.set(1);
            shared2.0.unlock().unwrap();
        });
        for _ in 0..2 {
            let starves = mutex.is_starving();
            mutex.unlock().unwrap();
            mutex.lock(Wait::Block).unwrap();
            assert!(!starves || served.get() == 1, "the waiter was passed over");
        }
        mutex.unlock().unwrap();
        waiter.join().unwrap();
    });
}

/// Proves: a lock that timed out leaves the mutex to the waiters: nobody is forgotten, even if the woken one gives up.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: WOKEN cleared by the one that looks (`!awoke`); the mutex taken by a woken waiter before its
/// deadline is looked at.
#[test]
fn a_lock_that_timed_out_forgets_nobody() {
    explore("Mutex: timeout", 2, || {
        let world = World::new(0);
        let shared = Arc::new((MutexCore::new(), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let impatient = spawn(move || {
            world2.enter();
            match shared2.0.lock(SOON) {
                Ok(()) => {
                    shared2.1.add(1);
                    shared2.0.unlock_held();
                    1
                }
                Err(e) => {
                    assert_eq!(e, WaitError::Timeout);
                    0
                }
            }
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let patient = spawn(move || {
            world2.enter();
            shared2.0.lock(Wait::Block).unwrap();
            shared2.1.add(1);
            shared2.0.unlock_held();
        });
        world.enter();
        shared.0.lock(Wait::Block).unwrap();
        shared.1.add(1);
        shared.0.unlock_held();
        patient.join().unwrap();
        let took = impatient.join().unwrap();
        shared.0.lock(Wait::Block).unwrap();
        assert_eq!(shared.1.get(), 2 + took);
    });
}

/// Proves: an event wakes every waiter, even one about to wait, and publishes what was done before it.
///
/// Bound: 3 threads (two wait); 3 preemptions.
///
/// Fails without: Release in `set`; Acquire in `is_set`; the wake of WAITED; the check for SET
/// under the lock in `wait`.
#[test]
fn an_event_wakes_all() {
    explore("Event", 3, || {
        let world = World::new(0);
        let shared = Arc::new((Event::new(), Token::new(0)));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (world, shared) = (world.clone(), shared.clone());
                spawn(move || {
                    world.enter();
                    shared.0.wait(Wait::Block, WaitReason::Join).unwrap();
                    assert_eq!(shared.1.get(), 1);
                })
            })
            .collect();
        world.enter();
        shared.1.set(1);
        assert!(shared.0.set());
        assert!(!shared.0.set());
        for w in waiters {
            w.join().unwrap();
        }
    });
}
