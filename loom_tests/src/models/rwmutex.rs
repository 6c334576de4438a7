//! The reader/writer lock.

use std::sync::Arc;

use super::chan::SOON;
use super::{explore, spawn, Token, World};
use crate::runtime::block::sema::RwMutexCore;
use crate::runtime::object::wait::Wait;

/// Proves: a writer excludes a reader and another writer, what it wrote is seen, and nobody is
/// forgotten.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `let_readers_in` or `let_writer_in` in `unlock`; `let_writer_in` in `runlock`;
/// the look at `writing` in `rlock` or `lock`; `writing` set at a hand-over.
#[test]
fn writers_exclude_and_nobody_is_forgotten() {
    explore("RwMutex: two writers, a reader", 2, || {
        let world = World::new(0);
        let shared = Arc::new((RwMutexCore::new(), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let writer = spawn(move || {
            world2.enter();
            shared2.0.lock(Wait::Block).unwrap();
            shared2.1.add(1);
            shared2.0.unlock().unwrap();
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let reader = spawn(move || {
            world2.enter();
            shared2.0.rlock(Wait::Block).unwrap();
            assert!(shared2.1.get() <= 2);
            shared2.0.runlock().unwrap();
        });
        world.enter();
        shared.0.lock(Wait::Block).unwrap();
        shared.1.add(1);
        shared.0.unlock().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!((shared.0.held(), shared.1.get()), ((0, false), 2));
    });
}

/// Proves: a reader that waits behind a writer continues when that gives up, while another still
/// reads.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `writer_left`.
#[test]
fn a_writer_that_gives_up_forgets_no_reader() {
    explore("RwMutex: writer's timeout", 2, || {
        let world = World::new(0);
        let lock = Arc::new(RwMutexCore::new());
        world.enter();
        lock.rlock(Wait::Block).unwrap();
        let (world2, lock2) = (world.clone(), lock.clone());
        let writer = spawn(move || {
            world2.enter();
            assert!(lock2.lock(SOON).is_err());
        });
        let (world2, lock2) = (world.clone(), lock.clone());
        let reader = spawn(move || {
            world2.enter();
            lock2.rlock(Wait::Block).unwrap();
            lock2.runlock().unwrap();
        });
        reader.join().unwrap();
        writer.join().unwrap();
        lock.runlock().unwrap();
        assert_eq!(lock.held(), (0, false));
    });
}
