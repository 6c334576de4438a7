//! The weighted semaphore.

use std::sync::Arc;

use super::chan::SOON;
use super::{explore, spawn, Token, World};
use crate::runtime::block::sema::SemaphoreCore;
use crate::runtime::object::wait::Wait;

/// Proves: two goroutines that want all permits exclude one another, even beside one that gives up waiting for them;
/// no permit is lost and nobody is forgotten.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `grant` in `release`; the permits taken at a grant.
#[test]
fn no_permit_is_lost() {
    explore("Semaphore: two, and a timeout", 2, || {
        let world = World::new(0);
        let shared = Arc::new((SemaphoreCore::new(2), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let impatient = spawn(move || {
            world2.enter();
            let took = shared2.0.acquire(2, SOON).is_ok();
            if took {
                shared2.1.add(1);
                shared2.0.release(2).unwrap();
            }
            u32::from(took)
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let small = spawn(move || {
            world2.enter();
            shared2.0.acquire(1, Wait::Block).unwrap();
            shared2.0.release(1).unwrap();
        });
        world.enter();
        shared.0.acquire(2, Wait::Block).unwrap();
        shared.1.add(1);
        shared.0.release(2).unwrap();
        small.join().unwrap();
        let took = impatient.join().unwrap();
        assert_eq!((shared.0.free(), shared.1.get()), (2, 1 + took));
    });
}

/// Proves: a waiter behind one with a larger wish continues when that gives up, though nothing is released.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `grant` after a wait that failed.
#[test]
fn one_that_gives_up_forgets_nobody_behind_it() {
    explore("Semaphore: timeout", 2, || {
        let world = World::new(0);
        let semaphore = Arc::new(SemaphoreCore::new(2));
        world.enter();
        semaphore.acquire(1, Wait::Block).unwrap();
        let (world2, semaphore2) = (world.clone(), semaphore.clone());
        let large = spawn(move || {
            world2.enter();
            assert!(semaphore2.acquire(2, SOON).is_err());
        });
        let (world2, semaphore2) = (world.clone(), semaphore.clone());
        let small = spawn(move || {
            world2.enter();
            semaphore2.acquire(1, Wait::Block).unwrap();
        });
        small.join().unwrap();
        large.join().unwrap();
        assert_eq!(semaphore.free(), 0);
    });
}
