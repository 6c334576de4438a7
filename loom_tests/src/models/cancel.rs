//! The tree of contexts: a cancel against registration, against a drop, against another cancel.

use std::sync::Arc;

use super::timers::ring_due;
use super::{explore, spawn, Token, World};
use crate::runtime::block::cancel::{CancelNode, Done, End, Why};
use crate::runtime::block::sema::Event;
use crate::runtime::object::timers::NEVER;
use crate::runtime::object::wait::Wait;
use crate::runtime::object::waitreason::WaitReason;

struct Closed(Event);

impl Done for Closed {
    fn close(&self) {
        self.0.set();
    }
}

type Node = CancelNode<Closed>;

fn node(parent: Option<&Arc<Node>>) -> Arc<Node> {
    CancelNode::new(parent, Closed(Event::new()))
}

/// Cancels as a user does: waits for what others are ending.
fn cancel_and_wait(node: &Arc<Node>) {
    for busy in node.cancel(Why::Cancelled, || ()) {
        busy.done.0.wait(Wait::Block, WaitReason::ChanReceive).unwrap();
    }
}

const INHERITED: Option<End> = Some(End { why: Why::Cancelled, inherited: true });

/// Proves: a child that registers while its parent is cancelled ends with it, once both have
/// returned, and its deadline is not in the heap then; a reader that finds a node ended sees
/// everything published before.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the look at `open` under the same lock as the insertion in `new`, and as the
/// setting in `end_at`; Release in `mark`; Acquire in `end`.
#[test]
fn a_cancel_against_the_registration_of_a_child() {
    explore("cancel: registration", 16, || {
        let world = World::new(1);
        let shared = Arc::new((node(None), Token::new(0)));
        let (world2, shared2) = (world.clone(), shared.clone());
        let registering = spawn(move || {
            world2.enter();
            if shared2.0.end().is_some() {
                assert_eq!(shared2.1.get(), 1, "ended before it was published");
            }
            let child = node(Some(&shared2.0));
            child.end_at(9);
            child
        });
        world.enter();
        let (parent, cause) = &*shared;
        assert!(parent.cancel(Why::Cancelled, || cause.set(1)).is_empty());
        let child = registering.join().unwrap();
        assert!(child.end() == INHERITED && child.done.0.is_set());
        assert_eq!((parent.registered(), world.p(0).timers.next_when()), (0, NEVER));
        assert_eq!(Arc::strong_count(&child), 1);
    });
}

/// Proves: of a parent's cancel, a child's drop and its deadline, whichever comes first ends the
/// child, and its channel is closed; nothing of it stays in the parent or in the heap, and the
/// runtime keeps no reference.
///
/// Bound: 3 threads; 3 preemptions.
///
/// Fails without: `close` in `abandon`.
#[test]
fn a_cancel_and_a_deadline_against_the_drop_of_a_child() {
    explore("cancel: drop", 3, || {
        let world = World::new(1);
        world.enter();
        let parent = node(None);
        let child = node(Some(&parent));
        child.end_at(1);
        let (world2, child2) = (world.clone(), child.clone());
        let dropping = spawn(move || {
            world2.enter();
            child2.abandon();
            assert!(child2.done.0.is_set() || child2.end().is_some());
        });
        let world2 = world.clone();
        let ringing = spawn(move || {
            world2.enter();
            ring_due(&world2, 5);
        });
        cancel_and_wait(&parent);
        dropping.join().unwrap();
        ringing.join().unwrap();
        assert!(child.done.0.is_set() && parent.done.0.is_set());
        assert_eq!((parent.registered(), child.registered()), (0, 0));
        assert_eq!(world.p(0).timers.next_when(), NEVER);
        assert_eq!((Arc::strong_count(&parent), Arc::strong_count(&child)), (1, 1));
    });
}

/// Proves: a child that is cancelled and one that is dropped at the same time leave nothing in
/// their parent, which continues, nor in the heap.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: `leave_parent` and the alarm's stop, in `abandon` and in a cancel.
#[test]
fn a_child_leaves_its_parent_alone() {
    explore("cancel: children only", 16, || {
        let world = World::new(1);
        world.enter();
        let parent = node(None);
        let (first, second) = (node(Some(&parent)), node(Some(&parent)));
        first.end_at(9);
        second.end_at(9);
        let world2 = world.clone();
        let dropping = spawn(move || {
            world2.enter();
            first.abandon();
        });
        cancel_and_wait(&second);
        dropping.join().unwrap();
        assert_eq!((parent.registered(), parent.end()), (0, None));
        assert_eq!(world.p(0).timers.next_when(), NEVER);
        assert!(!parent.done.0.is_set() && second.done.0.is_set());
    });
}

/// Proves: when a cancel returns, everything below has ended and its channels are closed, even
/// nodes that another cancel, further down, is about to end.
///
/// Bound: 2 threads, three levels; unbounded (16 preemptions).
///
/// Fails without: one winner in `mark`; `leave_parent` after the channels are closed in `cancel`; the nodes that others
/// are ending in its answer; the lowest channels closed first.
#[test]
fn a_cancel_against_one_further_down() {
    explore("cancel: two cancels", 16, || {
        let world = World::new(1);
        world.enter();
        let top = node(None);
        let middle = node(Some(&top));
        let bottom = node(Some(&middle));
        let (world2, middle2) = (world.clone(), middle.clone());
        let other = spawn(move || {
            world2.enter();
            middle2.cancel(Why::Deadline, || ()).len()
        });
        cancel_and_wait(&top);
        for node in [&top, &middle, &bottom] {
            assert!(node.end().is_some() && node.done.0.is_set());
        }
        assert_eq!(bottom.end().map(|e| e.why), middle.end().map(|e| e.why));
        assert_eq!(other.join().unwrap(), usize::from(middle.end() == INHERITED));
        assert_eq!((top.registered(), middle.registered()), (0, 0));
    });
}
