//! A P's ring: its owner against thieves.

use std::sync::Arc;

use super::{explore, spawn, Token};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::runq::{RunQ, CAP};

/// Gs whose creation loom watches: `tokens[i]` is written before `gs[i]` is put.
struct Gs {
    gs: Vec<G>,
    tokens: Vec<Token>,
}

impl Gs {
    fn new(n: usize) -> Self {
        Gs {
            gs: (0..n).map(|_| G::new(Kind::Go)).collect(),
            tokens: (0..n).map(|_| Token::new(0)).collect(),
        }
    }

    fn make(&self, i: usize) -> *mut G {
        self.tokens[i].set(1);
        std::ptr::from_ref(&self.gs[i]).cast_mut()
    }

    /// Runs the G: each may be taken once, after it was made.
    fn run(&self, gp: *mut G) -> u32 {
        if gp.is_null() {
            return 0;
        }
        // SAFETY: gp is one of ours.
        let i = unsafe { gp.offset_from(self.gs.as_ptr()) } as usize;
        assert_eq!(self.tokens[i].get(), 1, "a G was taken twice");
        self.tokens[i].set(2);
        1
    }
}

/// Takes all that is in the ring.
fn drain(q: &RunQ, gs: &Gs) -> u32 {
    let mut n = 0;
    loop {
        // SAFETY: the caller owns the ring.
        let (gp, _) = unsafe { q.get(true) };
        if gp.is_null() {
            return n;
        }
        n += gs.run(gp);
    }
}

/// Proves: each G is taken exactly once, by the owner or a thief, and its taker sees it as it was
/// put.
///
/// Bound: the owner with 3 Gs (one by `runnext`), a thief; 4 preemptions.
///
/// Fails without: Release of `tail` in `put`; Acquire of `tail` in `grab`; the CAS on `head` in
/// `get` (a store instead); the swap of `next` in `put` as Release.
#[test]
fn put_and_get_against_a_thief() {
    explore("runq: put, get, steal", 4, || {
        let shared = Arc::new((RunQ::new(), Gs::new(3)));
        let shared2 = shared.clone();
        let thief = spawn(move || {
            let (q, gs) = &*shared2;
            let mine = RunQ::new();
            // SAFETY: this thread owns `mine`, which is empty.
            let gp = unsafe { q.steal_into(&mine, true) };
            gs.run(gp) + drain(&mine, gs)
        });
        let (q, gs) = &*shared;
        // SAFETY: this thread owns the ring, the Gs are in no queue.
        let mut taken = unsafe {
            assert!(q.put(gs.make(0), true).is_none());
            assert!(q.put(gs.make(1), true).is_none());
            let taken = gs.run(q.get(true).0);
            assert!(q.put(gs.make(2), false).is_none());
            taken
        };
        taken += drain(q, gs);
        taken += thief.join().unwrap();
        taken += drain(q, gs);
        assert_eq!(taken, 3);
    });
}

/// Proves: two thieves and the owner share what is there without losing or doubling a G.
///
/// Bound: 4 Gs in a ring of 4, two thieves and the owner; 2 preemptions.
///
/// Fails without: the CAS on `head` in `grab` (a store instead).
#[test]
fn two_thieves_against_the_owner() {
    explore("runq: two thieves", 2, || {
        let shared = Arc::new((RunQ::new(), Gs::new(CAP as usize)));
        let (q, gs) = &*shared;
        for i in 0..CAP as usize {
            // SAFETY: this thread owns the ring.
            assert!(unsafe { q.put(gs.make(i), false) }.is_none());
        }
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                spawn(move || {
                    let (q, gs) = &*shared;
                    let mine = RunQ::new();
                    // SAFETY: this thread owns `mine`, which is empty.
                    let gp = unsafe { q.steal_into(&mine, false) };
                    gs.run(gp) + drain(&mine, gs)
                })
            })
            .collect();
        let mut taken = drain(q, gs);
        for t in thieves {
            taken += t.join().unwrap();
        }
        assert_eq!(taken, CAP);
    });
}

/// Proves: a full ring gives half of itself away exactly once while a thief steals, and reuses
/// only slots that were given back.
///
/// Bound: 6 Gs through a ring of 4, a thief; 3 preemptions.
///
/// Fails without: `batch.clear()` when the CAS in `overflow` fails; the CAS itself (a store).
#[test]
fn an_overflow_against_a_thief() {
    explore("runq: overflow", 3, || {
        let shared = Arc::new((RunQ::new(), Gs::new(6)));
        let (q, gs) = &*shared;
        for i in 0..4 {
            // SAFETY: this thread owns the ring.
            assert!(unsafe { q.put(gs.make(i), false) }.is_none());
        }
        let shared2 = shared.clone();
        let thief = spawn(move || {
            let (q, gs) = &*shared2;
            let mine = RunQ::new();
            // SAFETY: this thread owns `mine`, which is empty.
            let gp = unsafe { q.steal_into(&mine, false) };
            gs.run(gp) + drain(&mine, gs)
        });
        let mut taken = 0;
        for i in 4..6 {
            // SAFETY: this thread owns the ring.
            if let Some(batch) = unsafe { q.put(gs.make(i), false) } {
                for gp in batch {
                    taken += gs.run(gp);
                }
            }
        }
        taken += drain(q, gs);
        taken += thief.join().unwrap();
        assert_eq!(taken, 6);
    });
}
