//! The group of goroutines of which each may fail.

use std::sync::Arc;

use super::{explore, go_in, Token, World};
use crate::context;
use crate::sync::errgroup::Group;

/// Proves: `wait` returns after both that run, with what the first failure was and what it wrote;
/// the context is cancelled by then, also for one that waits for it.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the cancel in `fail`; the first failure kept in `fail`.
#[test]
fn the_first_failure_ends_the_work_and_is_the_result() {
    explore("errgroup: a failure, and one that waits for the end", 2, || {
        let world = World::new(0);
        go_in(&world.clone(), || {
            let (group, ctx) = Group::<u32>::with_context(&context::background());
            let written = Arc::new(Token::new(0));
            let (theirs, done) = (written.clone(), ctx.clone());
            group.go(move || {
                theirs.set(7);
                Err(1)
            });
            group.go(move || {
                // Ends only because the other one failed.
                assert_eq!(done.done().recv(), None);
                Err(2)
            });
            assert_eq!(group.wait(), Err(1));
            assert_eq!(written.get(), 7);
            assert!(ctx.is_done());
        });
    });
}

/// Proves: a limit of one excludes: the second goroutine runs after the first has given its permit
/// back, sees what it did, and nobody waits forever.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the release in `Permit::drop`; the acquire in `go`.
#[test]
fn a_limit_of_one_runs_one_after_the_other() {
    explore("errgroup: a limit", 2, || {
        let world = World::new(0);
        go_in(&world.clone(), || {
            let group = Group::<u32>::new();
            group.set_limit(1);
            let shared = Arc::new(Token::new(0));
            for _ in 0..2 {
                let shared = shared.clone();
                group.go(move || {
                    shared.add(1);
                    Ok(())
                });
            }
            assert_eq!(group.wait(), Ok(()));
            assert_eq!(shared.get(), 2);
        });
    });
}
