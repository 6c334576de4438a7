//! Contexts against a model: trees of random shape, for which the model knows which contexts have
//! ended, why, by when each ends, which values it sees and which calls have run.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, until, Counted, Rng};
use go_lib::chan::RecvError;
use go_lib::context::{
    after_func, background, cause, with_cancel, with_cancel_cause, with_deadline, with_value,
    without_cancel, CancelCauseFn, CancelFn, Context, ContextError, StopFn,
};

/// Values of three types, so that each hides those of its own.
struct Value<const KIND: usize>(u64);

enum Cancel {
    None,
    Plain(CancelFn),
    Cause(CancelCauseFn),
}

/// A context and what must be true of it.
struct Node {
    /// None: nothing refers to it any more, except its children.
    ctx: Option<(Context, Cancel)>,
    parent: Option<usize>,
    /// The context whose end is its own: itself, one above, or none.
    owner: Option<usize>,
    ended: Option<(ContextError, String)>,
    deadline: Option<Instant>,
    values: [Option<u64>; 3],
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waits,
    Stopped,
    Ran,
}

/// An `after_func`: whose end it waits for, and how often it ran.
struct Call {
    stop: StopFn,
    of: Option<usize>,
    state: State,
    ran: Arc<AtomicUsize>,
}

struct Tree {
    nodes: Vec<Node>,
    calls: Vec<Call>,
    /// The functions that have not been dropped.
    live: Arc<AtomicUsize>,
    history: String,
}

impl Tree {
    fn new() -> Tree {
        let root = Node {
            ctx: Some((background(), Cancel::None)),
            parent: None,
            owner: None,
            ended: None,
            deadline: None,
            values: [None; 3],
        };
        Tree { nodes: vec![root], calls: vec![], live: Arc::default(), history: String::new() }
    }

    fn ended(&self, i: usize) -> Option<(ContextError, String)> {
        self.nodes[i].owner.and_then(|owner| self.nodes[owner].ended.clone())
    }

    /// A node below `parent`, which has its values, its deadline and its end.
    fn add(&mut self, parent: usize, ctx: (Context, Cancel)) -> &mut Node {
        let of = &self.nodes[parent];
        let (i, owns) = (self.nodes.len(), !matches!(ctx.1, Cancel::None));
        let node = Node {
            ctx: Some(ctx),
            parent: Some(parent),
            owner: if owns { Some(i) } else { of.owner },
            ended: self.ended(parent).filter(|_| owns),
            deadline: of.deadline,
            values: of.values,
        };
        self.nodes.push(node);
        &mut self.nodes[i]
    }

    /// `i` ends by itself, unless it has: so do all below it that it reaches.
    fn end(&mut self, i: usize, why: ContextError, text: String) {
        if self.nodes[i].ended.is_some() {
            return;
        }
        self.nodes[i].ended = Some((why, text.clone()));
        for call in self.calls.iter_mut().filter(|c| c.of == Some(i) && c.state == State::Waits) {
            call.state = State::Ran;
        }
        for below in i + 1..self.nodes.len() {
            let reaches = |p: usize| self.nodes[p].owner == Some(i);
            let is_owner = self.nodes[below].owner == Some(below);
            if is_owner && self.nodes[below].parent.is_some_and(reaches) {
                self.end(below, why, text.clone());
            }
        }
    }

    fn step(&mut self, rng: &mut Rng, far: Instant) {
        let held: Vec<_> = (0..self.nodes.len()).filter(|i| self.nodes[*i].ctx.is_some()).collect();
        let i = held[rng.below(held.len() as u64) as usize];
        let Some((ctx, cancel)) = &self.nodes[i].ctx else { unreachable!() };
        let what = rng.below(14);
        self.history += &format!("{what} of {i}\n");
        match what {
            0 | 1 => {
                let (ctx, cancel) = with_cancel(ctx);
                self.add(i, (ctx, Cancel::Plain(cancel)));
            }
            2 => {
                let (ctx, cancel) = with_cancel_cause(ctx);
                self.add(i, (ctx, Cancel::Cause(cancel)));
            }
            3 | 4 => {
                let past = rng.below(4) == 0;
                let at =
                    if past { Instant::now() } else { far + Duration::from_secs(rng.below(9)) };
                let (ctx, cancel) = with_deadline(ctx, at);
                let node = self.add(i, (ctx, Cancel::Plain(cancel)));
                node.deadline = Some(node.deadline.map_or(at, |earlier| earlier.min(at)));
                let n = self.nodes.len() - 1;
                if past && self.nodes[n].deadline == Some(at) {
                    let why = ContextError::DeadlineExceeded;
                    self.end(n, why, why.to_string());
                }
            }
            5 | 6 => {
                let (kind, value) = (rng.below(3) as usize, rng.next());
                let ctx = match kind {
                    0 => with_value(ctx, Value::<0>(value)),
                    1 => with_value(ctx, Value::<1>(value)),
                    _ => with_value(ctx, Value::<2>(value)),
                };
                self.add(i, (ctx, Cancel::None)).values[kind] = Some(value);
            }
            7 => {
                let ctx = without_cancel(ctx);
                let node = self.add(i, (ctx, Cancel::None));
                (node.owner, node.deadline) = (None, None);
            }
            8 => {
                let why = ContextError::Cancelled;
                let text = format!("because of {}", rng.next());
                match cancel {
                    Cancel::None => (),
                    Cancel::Plain(cancel) => {
                        cancel.cancel();
                        self.end(i, why, why.to_string());
                    }
                    Cancel::Cause(cancel) => {
                        cancel.cancel(text.as_str());
                        self.end(i, why, text);
                    }
                }
            }
            9 | 10 => {
                let (ran, alive) = (Arc::new(AtomicUsize::new(0)), Counted::new(1, &self.live));
                let ran2 = ran.clone();
                let stop = after_func(ctx, move || {
                    let alive = alive; // all of it, until its end
                    ran2.fetch_add(alive.value as usize, Ordering::SeqCst);
                });
                let state = if self.ended(i).is_some() { State::Ran } else { State::Waits };
                self.calls.push(Call { stop, of: self.nodes[i].owner, state, ran });
            }
            11 if self.nodes.iter().any(|n| n.parent == Some(i)) => {
                // It stays: those below keep it.
                self.nodes[i].ctx = None;
            }
            _ if !self.calls.is_empty() => {
                let n = rng.below(self.calls.len() as u64) as usize;
                let call = &mut self.calls[n];
                assert_eq!(call.stop.stop(), call.state == State::Waits, "{}", self.history);
                if call.state == State::Waits {
                    call.state = State::Stopped;
                }
            }
            _ => (),
        }
    }

    fn check(&self) {
        for (i, node) in self.nodes.iter().enumerate() {
            let Some((ctx, _)) = &node.ctx else { continue };
            let (err, text) = self.ended(i).unzip();
            let what = || format!("{i}, after\n{}", self.history);
            assert_eq!(ctx.err(), err, "the end of {}", what());
            assert_eq!(cause(ctx).map(|c| c.to_string()), text, "the cause of {}", what());
            assert_eq!(ctx.deadline(), node.deadline, "the deadline of {}", what());
            let closed = if err.is_some() { Ok(None) } else { Err(RecvError::Empty) };
            assert_eq!(ctx.done().try_recv_ok(), closed, "{}", what());
            let values = [
                ctx.value::<Value<0>>().map(|v| v.0),
                ctx.value::<Value<1>>().map(|v| v.0),
                ctx.value::<Value<2>>().map(|v| v.0),
            ];
            assert_eq!(values, node.values, "the values of {}", what());
        }
        for (n, call) in self.calls.iter().enumerate() {
            let expected = usize::from(call.state == State::Ran);
            until(|| call.ran.load(Ordering::SeqCst) >= expected);
            assert_eq!(call.ran.load(Ordering::SeqCst), expected, "call {n}, {}", self.history);
        }
        let waiting = self.calls.iter().filter(|c| c.state == State::Waits).count();
        until(|| self.live.load(Ordering::SeqCst) == waiting);
    }
}

#[test]
fn trees_of_contexts_do_what_the_model_does() {
    every_way(|_| {
        let mut rng = Rng::new("trees_of_contexts");
        let far = Instant::now() + Duration::from_secs(1000);
        for _ in 0..30 {
            let mut tree = Tree::new();
            for _ in 0..50 {
                tree.step(&mut rng, far);
                tree.check();
            }
            // With all its contexts gone no call can run any more.
            tree.nodes.clear();
            let live = tree.live.clone();
            tree.calls.retain(|call| call.of.is_none());
            drop(tree);
            until(|| live.load(Ordering::SeqCst) == 0);
        }
    });
}

#[test]
fn of_a_tree_of_deadlines_each_node_ends_by_the_earliest_above_it() {
    alone(|| {
        let mut rng = Rng::new("tree_of_deadlines");
        let begin = Instant::now();
        let mut nodes: Vec<(Context, Option<Instant>)> = vec![(background(), None)];
        for i in 0..300 {
            let parent = rng.below(1 + i / 2) as usize;
            let (above, earliest) = (nodes[parent].0.clone(), nodes[parent].1);
            let (ctx, by) = match rng.below(4) {
                0 => (with_cancel(&above).0, earliest),
                1 => (with_value(&above, Value::<0>(i)), earliest),
                2 if rng.below(8) == 0 => (without_cancel(&above), None),
                _ => {
                    let at = begin + Duration::from_micros(2000 + rng.below(40_000));
                    (with_deadline(&above, at).0, Some(earliest.map_or(at, |e| e.min(at))))
                }
            };
            nodes.push((ctx, by));
        }
        nodes.sort_by_key(|(_, by)| *by);
        for (ctx, by) in &nodes {
            assert_eq!(ctx.deadline(), *by);
            if let Some(by) = by {
                assert_eq!(ctx.done().recv(), None);
                assert!(Instant::now() >= *by, "too early");
                assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
                assert_eq!(cause(ctx).unwrap().to_string(), "context deadline exceeded");
            }
        }
        // Those without one continue.
        assert!(nodes.iter().all(|(ctx, by)| ctx.is_done() == by.is_some()));
    });
}
