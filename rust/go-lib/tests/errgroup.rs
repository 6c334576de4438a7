//! errgroup: first error, cancellation, limit, panics, misuse, stress.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use common::{alone, every_way, panic_text, until, Counted, Rng};
use go_lib::chan::chan;
use go_lib::context::{self, background, ContextError};
use go_lib::sync::errgroup::Group;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_group_waits_for_all_and_has_no_error_if_none_has() {
    every_way(|_| {
        let group = Group::<String>::new();
        assert_eq!(group.wait(), Ok(()));
        let ended = Arc::new(AtomicUsize::new(0));
        for i in 0..10 {
            let ended = ended.clone();
            group.go(move || {
                go_lib::sleep(Duration::from_micros(20 * i));
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(ended.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn the_first_error_is_the_result_and_the_others_are_dropped() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        let group = Group::new();
        let (tx, rx) = chan::<()>(0);
        for i in 0..4 {
            let (error, rx) = (Counted::new(i, &live), rx.clone());
            group.go(move || {
                if i != 2 {
                    rx.recv();
                }
                Err(error)
            });
        }
        until(|| live.load(Ordering::SeqCst) == 4 && format!("{group:?}").contains("running: 3"));
        tx.close();
        assert_eq!(group.wait().unwrap_err().value, 2);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn the_first_failure_cancels_the_context() {
    every_way(|_| {
        let (parent, _cancel) = context::with_timeout(&background(), LONG);
        let (group, ctx) = Group::with_context_cause(&parent);
        assert!(ctx.deadline().is_some() && !ctx.is_done());
        for _ in 0..3 {
            let ctx = ctx.clone();
            group.go(move || {
                ctx.done().recv();
                Err("cancelled")
            });
        }
        group.go(|| Err("failed"));
        assert_eq!(group.wait(), Err("failed"));
        assert_eq!(ctx.err(), Some(ContextError::Cancelled));
        assert_eq!(context::cause(&ctx).unwrap().to_string(), "failed");
        assert!(!parent.is_done());
    });
}

#[test]
fn a_wait_cancels_the_context_and_a_parents_end_reaches_the_goroutines() {
    every_way(|_| {
        let (group, ctx) = Group::<()>::with_context(&background());
        group.go(|| Ok(()));
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(ctx.err(), Some(ContextError::Cancelled));
        let (parent, cancel) = context::with_cancel(&background());
        let (group, ctx) = Group::with_context(&parent);
        group.go(move || {
            ctx.done().recv();
            Err(ctx.err())
        });
        cancel.cancel();
        assert_eq!(group.wait(), Err(Some(ContextError::Cancelled)));
    });
}

#[test]
fn no_more_run_at_a_time_than_the_limit_allows() {
    every_way(|_| {
        let group = Group::<()>::new();
        group.set_limit(3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..40 {
            let (now, most) = (now.clone(), most.clone());
            group.go(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                go_lib::sleep(Duration::from_micros(30));
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    });
}

#[test]
fn a_try_go_beyond_the_limit_starts_nothing() {
    every_way(|_| {
        let group = Group::<()>::new();
        group.set_limit(1);
        let (tx, rx) = chan::<()>(0);
        assert!(group.try_go(move || {
            rx.recv();
            Ok(())
        }));
        assert!(!group.try_go(|| unreachable!()));
        tx.close();
        until(|| group.try_go(|| Ok(())));
        assert_eq!(group.wait(), Ok(()));
    });
}

#[test]
fn misuse_of_the_limit_panics() {
    alone(|| {
        let group = Group::<()>::new();
        let (tx, rx) = chan::<()>(0);
        group.go(move || {
            rx.recv();
            Ok(())
        });
        let text = panic_text(|| group.set_limit(1));
        assert_eq!(text, "errgroup: set_limit while goroutines of the group run");
        tx.close();
        assert_eq!(group.wait(), Ok(()));
        group.set_limit(1);
        assert_eq!(panic_text(|| group.set_limit(2)), "errgroup: the limit was set before");
        assert_eq!(format!("{group:?}"), "Group { running: 0, limit: Some(1) }");
    });
}

#[test]
fn a_panic_is_a_failure_and_comes_out_of_wait() {
    every_way(|_| {
        let (group, ctx) = Group::<()>::with_context(&background());
        group.set_limit(1);
        group.go(|| std::panic::resume_unwind(Box::new("mine")));
        assert_eq!(ctx.done().recv(), None);
        group.go(|| Err(())); // the permit came back
        assert_eq!(panic_text(|| assert!(group.wait().is_ok())), "mine");
    });
}

#[test]
fn goroutines_of_a_group_start_more_in_it() {
    every_way(|_| {
        fn tree(group: &Group<()>, depth: u32, leaves: &Arc<AtomicUsize>) {
            let (group2, leaves) = (group.clone(), leaves.clone());
            group.go(move || {
                if depth == 0 {
                    leaves.fetch_add(1, Ordering::SeqCst);
                } else {
                    (0..2).for_each(|_| tree(&group2, depth - 1, &leaves));
                }
                Ok(())
            });
        }
        let (group, leaves) = (Group::new(), Arc::new(AtomicUsize::new(0)));
        tree(&group, 6, &leaves);
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(leaves.load(Ordering::SeqCst), 64);
    });
}

#[test]
fn stress_one_error_of_many_wins_and_everybody_ends() {
    every_way(|_| {
        let mut rng = Rng::new("stress_one_error");
        for _ in 0..200 {
            let (group, ctx) = Group::with_context(&background());
            if rng.below(2) == 0 {
                group.set_limit(1 + rng.below(4) as usize);
            }
            let n = 1 + rng.below(12);
            let failing = rng.below(n + 3); // or nobody
            for i in 0..n {
                let (ctx, seed) = (ctx.clone(), rng.next());
                group.go(move || {
                    if i == failing {
                        return Err(i);
                    }
                    if failing < n && i > failing {
                        ctx.done().recv();
                    }
                    (0..seed % 3).for_each(|_| go_lib::gosched());
                    Ok(())
                });
            }
            assert_eq!(group.wait(), if failing < n { Err(failing) } else { Ok(()) });
            assert!(ctx.is_done());
        }
    });
}
