//! Contexts: cancellation down the tree, deadlines, values, causes, calls, long chains, stress.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, until, Counted, Rng};
use go_lib::chan::chan;
use go_lib::context::{
    after_func, background, cause, todo, with_cancel, with_cancel_cause, with_deadline,
    with_timeout, with_value, without_cancel, Context, ContextError,
};
use go_lib::select;

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);
const CANCELLED: Option<ContextError> = Some(ContextError::Cancelled);
const EXCEEDED: Option<ContextError> = Some(ContextError::DeadlineExceeded);

/// A thread whose stack a recursion of a hundred thousand steps would overflow.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 << 10).spawn(f).unwrap().join().unwrap();
}

#[test]
fn a_root_never_ends() {
    every_way(|_| {
        for ctx in [background(), todo(), without_cancel(&background())] {
            assert_eq!((ctx.err(), ctx.deadline(), ctx.is_done()), (None, None, false));
            assert!(ctx.done().recv_timeout(SHORT).is_err());
            assert!(cause(&ctx).is_none());
        }
    });
}

#[test]
fn a_cancel_ends_everything_below_and_nothing_else() {
    every_way(|way| {
        let (top, cancel_top) = with_cancel(&background());
        let (left, cancel_left) = with_cancel(&top);
        let (right, _cancel) = with_cancel(&top);
        let (below, _cancel) = with_timeout(&with_value(&left, 1), LONG);
        let below2 = below.clone();
        let waiter = way.start(move || below2.done().recv());
        cancel_left.cancel();
        assert_eq!((left.err(), below.err()), (CANCELLED, CANCELLED));
        assert_eq!((top.err(), right.err()), (None, None));
        assert_eq!(waiter.join(), None);
        cancel_top();
        assert_eq!((top.err(), right.err()), (CANCELLED, CANCELLED));
        assert_eq!(right.done().recv(), None);
    });
}

#[test]
fn a_cancel_may_be_called_again_by_many_and_dropping_it_cancels_nothing() {
    every_way(|way| {
        let (ctx, cancel) = with_cancel(&background());
        drop(cancel.clone());
        assert!(!ctx.is_done());
        let peers: Vec<_> = (0..4)
            .map(|_| {
                let cancel = cancel.clone();
                way.start(move || (0..100).for_each(|_| cancel.cancel()))
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        assert_eq!(ctx.err(), CANCELLED);
        let (ctx, cancel) = with_cancel(&ctx);
        assert_eq!(ctx.err(), CANCELLED, "born ended");
        cancel();
        drop(cancel);
    });
}

#[test]
fn a_deadline_ends_a_context_in_time() {
    every_way(|_| {
        let at = Instant::now() + SHORT;
        let (ctx, cancel) = with_deadline(&background(), at);
        let (child, _cancel) = with_cancel(&ctx);
        assert_eq!((ctx.deadline(), child.deadline()), (Some(at), Some(at)));
        assert_eq!(child.done().recv(), None);
        assert!(Instant::now() >= at);
        assert_eq!((ctx.err(), child.err()), (EXCEEDED, EXCEEDED));
        assert_eq!(cause(&child).unwrap().to_string(), "context deadline exceeded");
        cancel.cancel();
        assert_eq!(ctx.err(), EXCEEDED);
    });
}

#[test]
fn the_earlier_deadline_rules() {
    every_way(|_| {
        let soon = Instant::now() + SHORT;
        let (parent, _cancel) = with_timeout(&background(), LONG);
        let (child, _cancel) = with_deadline(&parent, soon);
        assert_eq!(child.deadline(), Some(soon));
        let (grandchild, _cancel) = with_timeout(&child, LONG);
        assert_eq!(grandchild.deadline(), Some(soon));
        assert_eq!(grandchild.done().recv(), None);
        assert_eq!((grandchild.err(), parent.err()), (EXCEEDED, None));
        let (past, _cancel) = with_deadline(&parent, soon);
        assert_eq!((past.err(), past.done().recv()), (EXCEEDED, None));
        let (never, _cancel) = with_timeout(&background(), Duration::MAX);
        assert_eq!((never.err(), never.deadline()), (None, None));
    });
}

#[test]
fn a_cancelled_timeout_does_not_exceed_its_deadline() {
    every_way(|_| {
        let began = Instant::now();
        let (ctx, cancel) = with_timeout(&background(), SHORT);
        cancel.cancel();
        let first = ctx.err();
        // On a machine that is slower than the timeout, the deadline came first.
        if began.elapsed() < SHORT {
            assert_eq!(first, CANCELLED);
        }
        go_lib::sleep(2 * SHORT);
        assert_eq!(ctx.err(), first);
    });
}

#[test]
fn a_value_is_found_by_its_type_nearest_first() {
    #[derive(PartialEq, Debug)]
    struct Name(&'static str);
    every_way(|_| {
        let outer = with_value(&with_value(&background(), Name("outer")), 7_u32);
        let (middle, cancel) = with_cancel(&outer);
        let inner = with_value(&middle, Name("inner"));
        assert_eq!(inner.value::<Name>(), Some(&Name("inner")));
        assert_eq!(inner.value::<u32>(), Some(&7));
        assert_eq!(middle.value::<Name>(), Some(&Name("outer")));
        assert_eq!(inner.value::<i32>(), None);
        let detached = without_cancel(&inner);
        cancel.cancel();
        assert_eq!((inner.err(), detached.err()), (CANCELLED, None));
        assert_eq!(detached.value::<Name>(), Some(&Name("inner")));
        assert!(detached.deadline().is_none());
    });
}

#[test]
fn values_are_dropped_with_the_last_context_that_has_them() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        let ctx = with_value(&background(), Counted::new(1, &live));
        let (child, cancel) = with_timeout(&ctx, LONG);
        drop(ctx);
        assert_eq!(child.value::<Counted>().map(|c| c.value), Some(1));
        drop(child);
        assert_eq!(live.load(Ordering::SeqCst), 1, "the CancelFn still has the context");
        drop(cancel);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn the_first_cause_is_told_to_all_below() {
    every_way(|_| {
        let (top, cancel_top) = with_cancel_cause(&background());
        let (middle, cancel_middle) = with_cancel_cause(&with_value(&top, 1));
        let (below, _cancel) = with_cancel(&middle);
        let (other, _cancel) = with_cancel(&top);
        assert!(cause(&below).is_none());
        cancel_middle.cancel("first");
        cancel_middle.cancel("second");
        cancel_top.cancel("top");
        let text = |ctx: &Context| cause(ctx).unwrap().to_string();
        assert_eq!((text(&below), text(&middle)), ("first".into(), "first".into()));
        assert_eq!((text(&other), text(&top)), ("top".into(), "top".into()));
        assert_eq!(below.err(), CANCELLED);
        let (late, _cancel) = with_timeout(&below, LONG);
        assert_eq!(text(&late), "first");
        let (plain, cancel) = with_cancel(&background());
        cancel.cancel();
        assert_eq!(text(&plain), "context canceled");
        assert!(cause(&plain).unwrap().downcast_ref::<ContextError>().is_some());
    });
}

#[test]
fn a_call_runs_after_the_end_in_a_goroutine_of_its_own() {
    every_way(|_| {
        let (ctx, cancel) = with_cancel(&background());
        let (tx, rx) = chan(0);
        for i in 0..3 {
            let (tx, ctx) = (tx.clone(), ctx.clone());
            after_func(&ctx.clone(), move || tx.send((i, ctx.err()))); // parks
        }
        assert!(rx.recv_timeout(SHORT).is_err());
        cancel.cancel();
        let mut got: Vec<_> = rx.iter().take(3).collect();
        got.sort_unstable_by_key(|(i, _)| *i);
        assert_eq!(got, [(0, CANCELLED), (1, CANCELLED), (2, CANCELLED)]);
        // It has ended: at once.
        let tx2 = tx.clone();
        let stop = after_func(&ctx, move || tx2.send((4, None)));
        assert!(!stop.stop());
        assert_eq!(rx.recv(), Some((4, None)));
        let (late, _cancel) = with_timeout(&background(), SHORT);
        after_func(&late, move || tx.send((5, None)));
        assert_eq!((rx.recv(), rx.recv()), (Some((5, None)), None));
    });
}

#[test]
fn a_call_that_was_stopped_or_whose_context_is_gone_does_not_run() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        let call = |value: Counted| move || panic!("{value:?} ran");
        let (ctx, cancel) = with_cancel(&background());
        let stop = after_func(&ctx, call(Counted::new(1, &live)));
        assert!(stop.stop() && !stop() && !stop.clone().stop());
        assert_eq!(live.load(Ordering::SeqCst), 0);
        cancel.cancel();
        let (ctx, cancel) = with_timeout(&background(), LONG);
        let stop = after_func(&ctx, call(Counted::new(2, &live)));
        let done = ctx.done().clone();
        drop((ctx, cancel));
        assert_eq!(live.load(Ordering::SeqCst), 0);
        assert_eq!(done.recv(), None);
        assert!(!stop.stop());
        let stop = after_func(&background(), call(Counted::new(3, &live)));
        assert!(stop.stop() && !stop.stop());
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

/// A chain of many contexts, of several kinds.
fn chain(top: &Context, live: &Arc<AtomicUsize>) -> Vec<Context> {
    let mut all = vec![top.clone()];
    for i in 0..100_000 {
        let last = &all[i];
        let next = match i % 3 {
            0 => with_value(last, Counted::new(1, live)),
            1 => with_timeout(last, LONG).0,
            _ => with_cancel(last).0,
        };
        all.push(next);
    }
    all
}

#[test]
fn a_long_chain_is_cancelled_and_dropped_without_recursion() {
    alone(|| {
        let live = Arc::new(AtomicUsize::new(0));
        for bottom_first in [false, true] {
            let live = live.clone();
            on_a_small_stack(move || {
                let (top, cancel) = with_cancel(&background());
                let mut all = chain(&top, &live);
                cancel.cancel();
                assert!(all.iter().all(Context::is_done));
                assert_eq!(cause(&all[100_000]).unwrap().to_string(), "context canceled");
                let bottom = all.pop();
                if bottom_first {
                    drop(all);
                } else {
                    all.reverse();
                    drop(all); // nothing goes but the last
                    assert!(bottom.as_ref().unwrap().value::<u8>().is_none());
                }
                drop(bottom);
                assert_eq!(live.load(Ordering::SeqCst), 0);
            });
            // Not cancelled: each leaves its parent.
            let (top, _cancel) = with_cancel(&background());
            let live = Arc::new(AtomicUsize::new(0));
            let bottom = chain(&top, &live).pop();
            drop(top);
            on_a_small_stack(move || drop(bottom));
            assert_eq!(live.load(Ordering::SeqCst), 0);
        }
        let (top, _cancel) = with_timeout(&background(), Duration::from_millis(300));
        let all = chain(&top, &live);
        assert_eq!(all[100_000].done().recv(), None);
        until(|| all.iter().all(Context::is_done));
    });
}

#[test]
fn stress_a_child_of_a_cancelled_context_is_never_missed() {
    every_way(|way| {
        let mut seed = Rng::new("stress_a_child");
        for _ in 0..150 {
            let (top, cancel) = with_cancel(&background());
            let cancelled = Arc::new(AtomicBool::new(false));
            let peers: Vec<_> = (0..3)
                .map(|_| {
                    let (top, cancelled) = (top.clone(), cancelled.clone());
                    let mut rng = Rng(seed.next() | 1);
                    way.start(move || {
                        let mut kept = Vec::new();
                        for _ in 0..40 {
                            let after = cancelled.load(Ordering::SeqCst);
                            let (ctx, cancel) = match rng.below(3) {
                                0 => with_timeout(&top, Duration::from_micros(rng.below(200))),
                                1 => with_timeout(&with_value(&top, 1), LONG),
                                _ => with_cancel(&top),
                            };
                            assert!(!after || ctx.is_done(), "born after the end, alive");
                            match rng.below(4) {
                                0 => cancel.cancel(),
                                1 => drop((ctx, cancel)),
                                _ => kept.push((with_cancel(&ctx).0, ctx)),
                            }
                        }
                        kept
                    })
                })
                .collect();
            for _ in 0..seed.below(50) {
                go_lib::gosched();
            }
            cancel.cancel();
            cancelled.store(true, Ordering::SeqCst);
            for (grandchild, child) in peers.into_iter().flat_map(common::Peer::join) {
                assert!(child.is_done() && grandchild.is_done());
                assert_eq!((child.done().recv(), grandchild.done().recv()), (None, None));
            }
        }
    });
}

#[test]
fn stress_whoever_cancels_finds_all_below_ended_when_it_returns() {
    every_way(|way| {
        let mut seed = Rng::new("stress_whoever_cancels");
        for _ in 0..300 {
            let timeout = Duration::from_micros(1 + seed.below(100));
            let (top, cancel) = with_timeout(&background(), timeout);
            let mut below = vec![top.clone()];
            for i in 0..8 {
                below.push(with_cancel(&below[i / 2]).0);
            }
            let below = Arc::new(below);
            let peers: Vec<_> = (0..2)
                .map(|_| {
                    let (cancel, below) = (cancel.clone(), below.clone());
                    way.start(move || {
                        cancel.cancel();
                        for ctx in below.iter() {
                            assert!(ctx.is_done());
                            select! {
                                recv(ctx.done()) -> _ => (),
                                default => panic!("not closed"),
                            }
                        }
                    })
                })
                .collect();
            peers.into_iter().for_each(common::Peer::join);
        }
    });
}

/// A value whose drop parks: on a scheduler's stack that would end the process.
struct Parks(Arc<AtomicUsize>);

impl Drop for Parks {
    fn drop(&mut self) {
        go_lib::sleep(Duration::from_nanos(1));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn stress_what_is_the_users_never_runs_on_a_schedulers_stack() {
    every_way(|way| {
        let mut seed = Rng::new("stress_what_is_the_users");
        let dropped = Arc::new(AtomicUsize::new(0));
        let peers: Vec<_> = (0..3)
            .map(|_| {
                let (mut rng, dropped) = (Rng(seed.next() | 1), dropped.clone());
                way.start(move || {
                    for _ in 0..300 {
                        let ctx = with_value(&background(), Parks(dropped.clone()));
                        let timeout = Duration::from_micros(1 + rng.below(40));
                        let (ctx, cancel) = with_timeout(&ctx, timeout);
                        let (child, cancel_child) = with_cancel_cause(&ctx);
                        let parks = Parks(dropped.clone());
                        after_func(&child, move || drop(parks));
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(rng.below(60)) {
                            go_lib::gosched();
                        }
                        match rng.below(3) {
                            0 => cancel.cancel(),
                            1 => cancel_child.cancel("why"),
                            _ => (),
                        }
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        until(|| dropped.load(Ordering::SeqCst) == 3 * 300 * 2);
    });
}
