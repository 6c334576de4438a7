//! The claim word decides what ends a wait.

use std::sync::Arc;

use super::{explore, spawn, Token};
use crate::prim::{AtomicBool, Ordering};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::wait::Wake;

/// A G with what each party writes before it acts.
struct Wait {
    g: G,
    waiter: Token,
    peer: Token,
    timer: Token,
    interrupter: Token,
    /// Does what goready does for the winner: resumes the waiter, and shows it what was written.
    readied: AtomicBool,
}

impl Wait {
    fn new() -> Self {
        Wait {
            g: G::new(Kind::Go),
            waiter: Token::new(0),
            peer: Token::new(0),
            timer: Token::new(0),
            interrupter: Token::new(0),
            readied: AtomicBool::new(false),
        }
    }

    /// Stands for goready.
    fn ready(&self) {
        self.readied.store(true, Ordering::Release);
    }

    /// Stands for the sleep of a parked G.
    fn sleep(&self) {
        while !self.readied.load(Ordering::Acquire) {
            loom::thread::yield_now();
        }
    }
}

/// Proves: of a peer, a timer and an interrupt exactly one wins; the winner sees what the waiter
/// wrote before it waited, the waiter sees which one has readied it and what that one wrote; an
/// interrupt that lost stays pending.
///
/// Bound: 4 threads, 3 preemptions.
///
/// Fails without: Acquire in `claim` or `claim_generation` or `interrupt`; Release in `begin`; the CAS
/// in `claim` (load and store instead).
#[test]
fn exactly_one_claimer_wins() {
    explore("claim word: peer, timer, interrupt", 3, || {
        let w = Arc::new(Wait::new());
        let generation = w.g.wait.next_generation();
        let waiting = w.clone();
        let waiter = spawn(move || {
            let w = waiting;
            w.waiter.set(1);
            if !w.g.wait.begin() {
                return None;
            }
            w.sleep();
            let wake = w.g.wait.outcome();
            match wake {
                Wake::Peer => assert_eq!(w.peer.get(), 1),
                Wake::Timeout => assert_eq!(w.timer.get(), 1),
                Wake::Interrupt => assert_eq!(w.interrupter.get(), 1),
                Wake::Deadlock => unreachable!(),
            }
            Some(wake)
        });
        let peering = w.clone();
        let peer = spawn(move || {
            let w = peering;
            w.peer.set(1);
            let won = w.g.wait.claim_peer();
            if won {
                assert_eq!(w.waiter.get(), 1);
                w.ready();
            }
            won
        });
        let timing = w.clone();
        let timer = spawn(move || {
            let w = timing;
            w.timer.set(1);
            let won = w.g.wait.claim_timer(generation);
            if won {
                assert_eq!(w.waiter.get(), 1);
                w.ready();
            }
            won
        });
        w.interrupter.set(1);
        let interrupted = w.g.wait.interrupt();
        if interrupted {
            assert_eq!(w.waiter.get(), 1);
            w.ready();
        }
        let (peer, timer) = (peer.join().unwrap(), timer.join().unwrap());
        let won = u32::from(peer) + u32::from(timer) + u32::from(interrupted);
        match waiter.join().unwrap() {
            None => assert_eq!(won, 0),
            Some(wake) => {
                assert_eq!(won, 1);
                assert_eq!(wake == Wake::Peer, peer);
                assert_eq!(wake == Wake::Timeout, timer);
            }
        }
        assert!(w.g.wait.take_pending(), "an interrupt was lost");
        assert!(!w.g.wait.is_pending());
    });
}

/// Proves: a wait that begins while an interrupt comes never sleeps through it: it is refused, or
/// claimed; and one wait after the other needs its own claim.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the CAS in `begin` (a store instead: the interrupt is overwritten) and its
/// Release; the look at PENDING there; Release in `interrupt`.
#[test]
fn an_interrupt_against_the_beginning_of_a_wait_is_not_lost() {
    explore("claim word: interrupt against begin", 16, || {
        let w = Arc::new(Wait::new());
        let waiting = w.clone();
        let waiter = spawn(move || {
            let w = waiting;
            w.waiter.set(1);
            if w.g.wait.begin() {
                w.sleep();
                assert_eq!(w.g.wait.outcome(), Wake::Interrupt);
            } else {
                assert_eq!(w.g.wait.outcome(), Wake::Interrupt);
            }
            assert!(w.g.wait.is_pending());
            assert_eq!(w.interrupter.get(), 1);
            assert!(w.g.wait.take_pending());
            assert!(w.g.wait.begin());
            w.g.wait.is_waiting()
        });
        w.interrupter.set(1);
        if w.g.wait.interrupt() {
            assert_eq!(w.waiter.get(), 1);
            w.ready();
        }
        assert!(waiter.join().unwrap(), "the second wait was ended by the first's interrupt");
    });
}

/// Proves: a timer that fires late ends the wait that it was armed for or none.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the comparison of the generation in `claim_generation` (`claim` instead).
#[test]
fn a_late_timer_does_not_end_the_next_wait() {
    explore("claim word: late timer", 16, || {
        let w = Arc::new(Wait::new());
        let first = w.g.wait.next_generation();
        assert!(w.g.wait.begin());
        let timing = w.clone();
        let timer = spawn(move || timing.g.wait.claim_timer(first));
        let peer = w.g.wait.claim_peer();
        while w.g.wait.is_waiting() {
            loom::thread::yield_now();
        }
        let wake = w.g.wait.outcome();
        assert!(w.g.wait.begin());
        let timer = timer.join().unwrap();
        assert!(peer != timer && (wake == Wake::Timeout) == timer);
        assert!(w.g.wait.is_waiting());
    });
}
