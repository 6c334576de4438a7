//! The condition variable, and the event that can be taken back.

use std::sync::Arc;

use super::chan::SOON;
use super::{explore, spawn, Token, World};
use crate::runtime::block::sema::{CondCore, Flag, MutexCore};
use crate::runtime::object::wait::Wait;
use crate::runtime::object::waitreason::WaitReason;

/// A condition variable with its mutex and what that guards.
struct Guarded {
    m: MutexCore,
    cond: CondCore,
    ready: Token,
}

impl Guarded {
    fn new() -> Arc<Guarded> {
        Arc::new(Guarded { m: MutexCore::new(), cond: CondCore::new(), ready: Token::new(0) })
    }

    /// Waits until something is ready and takes it; false if `wait` ended, whatever is ready then.
    fn take(&self, wait: Wait) -> bool {
        self.m.lock(Wait::Block).unwrap();
        while self.ready.get() == 0 {
            let ended = self.cond.wait(wait, || self.m.unlock().unwrap()).is_err();
            self.m.lock(Wait::Block).unwrap();
            if ended {
                self.m.unlock().unwrap();
                return false;
            }
        }
        self.ready.set(self.ready.get() - 1);
        self.m.unlock().unwrap();
        true
    }

    fn give(&self) {
        self.m.lock(Wait::Block).unwrap();
        self.ready.add(1);
        self.m.unlock().unwrap();
        self.cond.notify(1);
    }
}

/// Proves: a notification made after the change under the lock is not lost between the waiter's
/// unlock and its park.
///
/// Bound: 2 threads; 3 preemptions.
///
/// Fails without: the waiter queued before `unlock`; the look at `success` before the park.
#[test]
fn a_notification_is_not_lost_before_the_park() {
    explore("Cond: one", 3, || {
        let world = World::new(0);
        let shared = Guarded::new();
        let (world2, shared2) = (world.clone(), shared.clone());
        let waiter = spawn(move || {
            world2.enter();
            assert!(shared2.take(Wait::Block));
        });
        world.enter();
        shared.give();
        waiter.join().unwrap();
    });
}

/// Proves: of two waiters the patient one gets the notification when the other gives up, before or
/// after it parks: the notification passes on to the next.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the loop in `notify` (a claim that fails ends it); `notify` in `Leave`.
#[test]
fn a_notification_of_one_that_gives_up_goes_on_to_the_next() {
    for (name, wait) in [("Cond: timeout", SOON), ("Cond: try", Wait::Try)] {
        explore(name, 2, move || {
            let world = World::new(0);
            let shared = Guarded::new();
            let (world2, shared2) = (world.clone(), shared.clone());
            let impatient = spawn(move || {
                world2.enter();
                if shared2.take(wait) {
                    shared2.give(); // it was the only one
                }
            });
            let (world2, shared2) = (world.clone(), shared.clone());
            let patient = spawn(move || {
                world2.enter();
                assert!(shared2.take(Wait::Block));
            });
            world.enter();
            shared.give();
            impatient.join().unwrap();
            patient.join().unwrap();
        });
    }
}

/// Proves: a set wakes every waiter, even one about to wait, and publishes what was done before it;
/// a clear afterwards takes nothing from them.
///
/// Bound: 2 threads; 3 preemptions.
///
/// Fails without: the second look in `wait`; Release in `set`; Acquire in `is_set`.
#[test]
fn a_flag_wakes_and_shows() {
    explore("Flag", 3, || {
        let world = World::new(0);
        let shared = Arc::new((Flag::new(), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let waiter = spawn(move || {
            world2.enter();
            shared2.0.wait(Wait::Block, WaitReason::Join).unwrap();
            assert_eq!(shared2.1.get(), 1);
        });
        world.enter();
        shared.1.set(1);
        shared.0.set();
        waiter.join().unwrap();
        shared.0.clear();
        assert!(!shared.0.is_set());
    });
}
