//! The global queue, and the host's queue with its inbox.

use std::sync::Arc;

use super::{explore, spawn, Token, World};
use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::hostq::HostQ;

/// Proves: each G of the global queue is taken once and seen as it was put; the length that is
/// read without the lock is right when nobody is at it.
///
/// Bound: two submitters, one taker; 3 preemptions.
///
/// Fails without: the lock's Acquire or Release (`runtime::object::lock`).
#[test]
fn the_global_queue_hands_each_g_on_once() {
    explore("global queue", 3, || {
        let world = World::new(0);
        let gs = Arc::new([(G::new(Kind::Go), Token::new(0)), (G::new(Kind::Go), Token::new(0))]);
        let submitters: Vec<_> = (0..2)
            .map(|i| {
                let (world, gs) = (world.clone(), gs.clone());
                spawn(move || {
                    gs[i].1.set(7);
                    let s = world.sched();
                    let gp = std::ptr::from_ref(&gs[i].0).cast_mut();
                    // SAFETY: the lock is held, gp is in no queue.
                    unsafe { s.globrunqput(&mut s.inner.lock(), gp) };
                })
            })
            .collect();
        let s = world.sched();
        let mut taken = 0;
        let mut take = || {
            let gp = s.globrunqpop(&mut s.inner.lock());
            if let Some(i) = gs.iter().position(|g| std::ptr::eq(&g.0, gp)) {
                assert_eq!(gs[i].1.get(), 7);
                gs[i].1.set(8);
                taken += 1;
            }
        };
        take();
        for t in submitters {
            t.join().unwrap();
        }
        take();
        take();
        assert_eq!((taken, s.runqsize.load(Ordering::Relaxed)), (2, 0));
    });
}

/// Proves: a G that another thread pushes to the inbox arrives once, is seen as it was pushed, and
/// two of one pusher keep their order; the owner's own Gs are not disturbed.
///
/// Bound: two pushers (one with two Gs), the owner; 3 preemptions.
///
/// Fails without: Release in `push_inbox`; Acquire in `drain_inbox`.
#[test]
fn the_inbox_keeps_order_and_loses_nothing() {
    explore("host queue's inbox", 3, || {
        let q = Arc::new(HostQ::new());
        let gs: Arc<Vec<_>> =
            Arc::new((0..4).map(|_| (G::new(Kind::Host), Token::new(0))).collect());
        let push = |q: &HostQ, gs: &[(G, Token)], i: usize| {
            gs[i].1.set(1);
            // SAFETY: in no queue.
            unsafe { q.push_inbox(std::ptr::from_ref(&gs[i].0).cast_mut()) };
        };
        let take = |q: &HostQ, gs: &[(G, Token)], order: &mut Vec<usize>| {
            // SAFETY: this thread owns the queue.
            let gp = unsafe { q.get() };
            if let Some(i) = gs.iter().position(|g| std::ptr::eq(&g.0, gp)) {
                assert_eq!(gs[i].1.get(), 1);
                gs[i].1.set(2);
                order.push(i);
            }
        };
        let (q2, gs2) = (q.clone(), gs.clone());
        let owner = spawn(move || {
            let mut order = Vec::new();
            gs2[3].1.set(1);
            // SAFETY: this thread owns the queue.
            unsafe { q2.put(std::ptr::from_ref(&gs2[3].0).cast_mut(), true) };
            for _ in 0..3 {
                take(&q2, &gs2, &mut order);
            }
            order
        });
        let (q2, gs2) = (q.clone(), gs.clone());
        let pusher = spawn(move || push(&q2, &gs2, 2));
        push(&q, &gs, 0);
        push(&q, &gs, 1);
        pusher.join().unwrap();
        let mut order = owner.join().unwrap();
        for _ in 0..3 {
            take(&q, &gs, &mut order);
        }
        let at = |i| order.iter().position(|o| *o == i).expect("a G was lost");
        assert!(order.len() == 4 && at(0) < at(1));
        assert!(at(2) < 4 && at(3) < 4 && q.is_empty());
    });
}
