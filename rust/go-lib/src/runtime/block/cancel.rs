//! The tree of things that can be cancelled: a node ends once, and everything below it ends with it.
//!
//! A cancel first marks the node and all its descendants, then closes their channels, the lowest
//! first. So a reader that sees a channel closed also sees that everything below it has ended.
//!
//! # Invariants
//! 1. A node ends when `open` is taken out of it, under its lock: by a cancel of its own, by its
//!    parent's, or by being abandoned. Nothing can register with it afterwards.
//! 2. A node is in its parent's `open` until the parent has ended, or it and all below it have: a
//!    cancel misses nothing, and what has ended leaves nothing behind. Locks of two nodes are never
//!    held at once.
//! 3. The alarm is set and stopped under the node's lock, and set only while it is `open`.
//! 4. A node whose last reference may be dropped on a scheduler's stack holds nothing of the
//!    user's: `open` has been taken out of it, and its calls were started, or dropped when it was
//!    abandoned.
//! 5. References upwards are weak: the owner of a node has its parents by other means.
//!
//! # Memory ordering
//! The lock orders everything but the look at `ended`, whose Acquire pairs with the Release in
//! `mark`: a reader that finds a node ended sees what `publish` wrote.
//!
//! Go: context/context.go (cancelCtx, propagateCancel, afterFuncCtx)

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Weak};

use crate::prim::{AtomicU32, Ordering};
use crate::runtime::block::time::{Alarm, Ring};
use crate::runtime::object::g::GoFn;
use crate::runtime::object::lock::Locked;
use crate::runtime::object::start::Start;
use crate::runtime::object::timers::NEVER;
use crate::runtime::proc::newproc::newproc_late;

/// How a node tells that it has ended.
pub(crate) trait Done: Send + Sync + 'static {
    /// Wakes all who wait for the end; the first call counts. It may run on a scheduler's stack.
    fn close(&self);
}

/// Why a node ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    Cancelled,
    Deadline,
}

/// How a node ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) why: Why,
    /// It ended with its parent, not by itself.
    pub(crate) inherited: bool,
}

/// `ended` of a node that has not, or that was abandoned.
const NOT: u32 = 0;
const CANCELLED: u32 = 1;
const DEADLINE: u32 = 2;
/// Added to one of those.
const INHERITED: u32 = 4;

impl End {
    fn pack(self) -> u32 {
        let why = match self.why {
            Why::Cancelled => CANCELLED,
            Why::Deadline => DEADLINE,
        };
        why | if self.inherited { INHERITED } else { 0 }
    }

    fn unpack(word: u32) -> Option<End> {
        let why = match word & !INHERITED {
            CANCELLED => Why::Cancelled,
            DEADLINE => Why::Deadline,
            _ => return None,
        };
        Some(End { why, inherited: word & INHERITED != 0 })
    }
}

/// A call that runs in a goroutine of its own when a node ends.
struct Call {
    f: GoFn,
    created_at: &'static Location<'static>,
}

enum Child<D> {
    Node(Arc<CancelNode<D>>),
    Call(Call),
}

/// In the order of their registration.
type Open<D> = BTreeMap<u64, Child<D>>;

struct Children<D> {
    /// By 1 and 2.
    open: Option<Open<D>>,
    next_key: u64,
}

/// A node of the tree.
pub(crate) struct CancelNode<D> {
    alarm: Alarm,
    pub(crate) done: D,
    /// The parent, and our key there. By 5.
    parent: Weak<CancelNode<D>>,
    key: u64,
    /// An [`End`], packed. Written under the lock, once.
    ended: AtomicU32,
    children: Locked<Children<D>>,
}

impl<D: Done> CancelNode<D> {
    /// A node below `parent`; it has ended if that has.
    pub(crate) fn new(parent: Option<&Arc<Self>>, done: D) -> Arc<Self> {
        let Some(parent) = parent else { return Self::make(Weak::new(), 0, done) };
        let mut children = parent.children.lock();
        let key = children.next_key;
        children.next_key += 1;
        let node = Self::make(Arc::downgrade(parent), key, done);
        if let Some(open) = &mut children.open {
            open.insert(key, Child::Node(node.clone()));
            return node;
        }
        drop(children);
        if let Some(End { why, .. }) = parent.end() {
            let _ = node.mark(End { why, inherited: true }, || ());
            node.done.close();
        }
        node
    }

    fn make(parent: Weak<Self>, key: u64, done: D) -> Arc<Self> {
        let children = Children { open: Some(BTreeMap::new()), next_key: 0 };
        Arc::new(CancelNode {
            alarm: Alarm::new(),
            done,
            parent,
            key,
            ended: AtomicU32::new(NOT),
            children: Locked::new(children),
        })
    }

    /// How it ended; `None`: it has not.
    pub(crate) fn end(&self) -> Option<End> {
        // Acquire: pairs with the Release in mark.
        End::unpack(self.ended.load(Ordering::Acquire))
    }

    /// Makes it end at `when_ns` of the monotonic clock; [`NEVER`] is a time that does not come.
    pub(crate) fn end_at(self: &Arc<Self>, when_ns: i64) {
        let children = self.children.lock();
        if children.open.is_some() && when_ns != NEVER {
            // SAFETY: by 3.
            unsafe { Alarm::set(self, when_ns, 0) };
        }
    }

    /// Runs `f` in a goroutine when the node ends. The key to take that back with.
    ///
    /// # Errors
    /// It has ended; `f`.
    pub(crate) fn add_call(
        &self,
        f: GoFn,
        created_at: &'static Location<'static>,
    ) -> Result<u64, GoFn> {
        let mut children = self.children.lock();
        let key = children.next_key;
        let Some(open) = &mut children.open else { return Err(f) };
        open.insert(key, Child::Call(Call { f, created_at }));
        children.next_key += 1;
        Ok(key)
    }

    /// Takes a call, or a child, out. False: it is not there, or not any more.
    pub(crate) fn remove(&self, key: u64) -> bool {
        // Dropped after the lock: a call is the user's.
        let child = self.children.lock().open.as_mut().and_then(|open| open.remove(&key));
        child.is_some()
    }

    /// Ends the node and all below it, and starts their calls. `publish` runs before anybody sees
    /// the end, under the lock, if it is this call that ends the node.
    ///
    /// The answer is the nodes, of it and those below, that somebody else is ending just now.
    pub(crate) fn cancel(self: &Arc<Self>, why: Why, publish: impl FnOnce()) -> Vec<Arc<Self>> {
        let Some(children) = self.mark(End { why, inherited: false }, publish) else {
            return vec![self.clone()];
        };
        let (mut nodes, mut calls, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        let mut found: Vec<Child<D>> = children.into_values().rev().collect();
        // A list, not a recursion: chains are long.
        while let Some(child) = found.pop() {
            match child {
                Child::Call(call) => calls.push(call),
                Child::Node(node) => match node.mark(End { why, inherited: true }, || ()) {
                    Some(children) => {
                        found.extend(children.into_values().rev());
                        nodes.push(node);
                    }
                    None => busy.push(node),
                },
            }
        }
        for node in nodes.iter().rev() {
            node.done.close();
        }
        self.done.close();
        // Not before: a cancel of the parent must find us as long as something below has not ended.
        self.leave_parent();
        for Call { f, created_at } in calls {
            newproc_late(Start::new(f), created_at);
        }
        busy
    }

    /// Ends the node by 1, and no other; returns the calls registered with it. `None`: it has ended
    /// before.
    fn mark(self: &Arc<Self>, end: End, publish: impl FnOnce()) -> Option<Open<D>> {
        let mut children = self.children.lock();
        let open = children.open.take()?;
        publish();
        // Release: pairs with the Acquire in end.
        self.ended.store(end.pack(), Ordering::Release);
        // SAFETY: by 3.
        unsafe { Alarm::stop(self) };
        Some(open)
    }

    /// Nobody can cancel the node or ask it any more: takes it out of the tree. Calls registered
    /// with it are dropped here.
    pub(crate) fn abandon(self: &Arc<Self>) {
        let open = {
            let mut children = self.children.lock();
            // SAFETY: by 3.
            unsafe { Alarm::stop(self) };
            children.open.take()
        };
        if open.is_some() {
            self.done.close();
            self.leave_parent();
        }
    }

    fn leave_parent(&self) {
        if let Some(parent) = self.parent.upgrade() {
            parent.remove(self.key);
        }
    }

    /// How many are registered with it.
    #[cfg(any(test, golib_loom))]
    pub(crate) fn registered(&self) -> usize {
        self.children.lock().open.as_ref().map_or(0, BTreeMap::len)
    }
}

impl<D: Done> Ring for CancelNode<D> {
    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn ring(self: Arc<Self>, _seq: u64) {
        // Those that others are ending are theirs: nobody waits on this stack.
        drop(self.cancel(Why::Deadline, || ()));
    }
}
