//! The timer heap: firing against stopping.

use std::sync::Arc;

use super::{explore, spawn};
use crate::runtime::g::{Kind, Wake, G};
use crate::runtime::timers::{Timers, NEVER};

struct Shared {
    timers: Timers,
    other: Timers,
    g: G,
}

impl Shared {
    fn gp(&self) -> *mut G {
        std::ptr::from_ref(&self.g).cast_mut()
    }
}

/// Proves: a timer that fires while its wait is ended by a peer and then stopped wakes its wait or
/// nobody; after the stop it is in no heap, can be armed again elsewhere at once, and the late
/// firing does not end the wait for which it is armed then.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: Acquire in the heap's lock; the second look at `heap` in `disarm`; the generation
/// in `claim_timer`.
#[test]
fn a_stop_against_a_timer_that_fires() {
    explore("timer against stop", 16, || {
        let s =
            Arc::new(Shared { timers: Timers::new(), other: Timers::new(), g: G::new(Kind::Go) });
        let first = s.g.wait.next_generation();
        assert!(s.g.wait.begin());
        // SAFETY: everything outlives the execution; the timer is not armed.
        assert!(unsafe { s.timers.arm(s.gp(), 1, first) });
        let s2 = s.clone();
        let firing = spawn(move || {
            let mut woken = 0;
            // SAFETY: as above.
            unsafe { s2.timers.run_expired(5, &mut |gp| woken += u32::from(!gp.is_null())) };
            woken
        });
        let peer = s.g.wait.claim_peer();
        while s.g.wait.is_waiting() {
            loom::thread::yield_now();
        }
        let wake = s.g.wait.outcome();
        assert_eq!(wake == Wake::Peer, peer);
        if wake != Wake::Timeout {
            // SAFETY: as above.
            unsafe { Timers::disarm(&s.g.timer) };
        }
        // The next wait, with its timer on another P.
        let second = s.g.wait.next_generation();
        assert!(s.g.wait.begin());
        // SAFETY: as above.
        assert!(unsafe { s.other.arm(s.gp(), 9, second) });
        let woken = firing.join().unwrap();
        assert_eq!(woken, u32::from(wake == Wake::Timeout));
        assert!(s.g.wait.is_waiting());
        assert_eq!((s.timers.next_when(), s.other.next_when()), (NEVER, 9));
        // SAFETY: as above.
        assert!(unsafe { Timers::disarm(&s.g.timer) });
        // SAFETY: as above.
        assert!(!unsafe { Timers::disarm(&s.g.timer) });
        assert_eq!(s.other.next_when(), NEVER);
    });
}

/// Proves: two Ps' Ms that run one heap fire each timer once.
///
/// Bound: 2 threads, 2 timers, 4 preemptions.
///
/// Fails without: the heap's lock in `run_expired`.
#[test]
fn two_that_run_one_heap_fire_each_timer_once() {
    explore("timers: two runners", 4, || {
        let timers = Arc::new(Timers::new());
        let gs = Arc::new([G::new(Kind::Go), G::new(Kind::Go)]);
        for g in gs.iter() {
            let generation = g.wait.next_generation();
            assert!(g.wait.begin());
            // SAFETY: everything outlives the execution.
            unsafe { timers.arm(std::ptr::from_ref(g).cast_mut(), 1, generation) };
        }
        let run = |timers: &Timers| {
            let mut woken = 0;
            // SAFETY: as above.
            let next =
                unsafe { timers.run_expired(5, &mut |gp| woken += u32::from(!gp.is_null())) };
            assert_eq!(next, NEVER);
            woken
        };
        let (timers2, gs2) = (timers.clone(), gs.clone());
        let other = spawn(move || (run(&timers2), gs2).0);
        let mine = run(&timers);
        assert_eq!(mine + other.join().unwrap(), 2);
    });
}
