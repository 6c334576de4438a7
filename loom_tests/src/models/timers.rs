//! The timer heap, and the timers that users set: firing against stopping.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{explore, spawn, World};
use crate::prim::{AtomicBool, Ordering};
use crate::runtime::block::chan::Hchan;
use crate::runtime::block::timetimer::{TickChan, TimeTimer};
use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::timers::{Timers, NEVER};
use crate::runtime::object::wait::{Wait, Wake};

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
        // Stands for goready, without which a parked G does not resume.
        let readied = Arc::new(AtomicBool::new(false));
        let (s2, readied2) = (s.clone(), readied.clone());
        let firing = spawn(move || {
            let mut woken = 0;
            let mut ready = |gp: *mut G| {
                if !gp.is_null() {
                    woken += 1;
                    readied2.store(true, Ordering::Release);
                }
            };
            // SAFETY: as above.
            unsafe { s2.timers.run_expired(5, &mut ready) };
            woken
        });
        let peer = s.g.wait.claim_peer();
        while !peer && !readied.load(Ordering::Acquire) {
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

struct Ticks(Hchan<Instant>);

impl TickChan for Ticks {
    fn hchan(&self) -> &Hchan<Instant> {
        &self.0
    }
}

/// A timer and its channel.
fn timer() -> (Arc<TimeTimer>, Arc<Ticks>) {
    let (timer, ticks) = (TimeTimer::new(), Arc::new(Ticks(Hchan::try_new(1).unwrap())));
    let to: Weak<Ticks> = Arc::downgrade(&ticks);
    timer.tick_into(to);
    (timer, ticks)
}

/// Rings what is due at `now` on the world's only P, whose heap threads without a P use.
pub(crate) fn ring_due(world: &World, now: i64) {
    // SAFETY: alarms' owners live while they are set; P 0 lives as long as the world.
    unsafe { world.p(0).timers.run_expired(now, &mut |gp| assert!(gp.is_null())) };
}

/// Proves: once a stop has returned there is no tick of before in the channel and none comes, be the
/// alarm in the heap, popped, or ringing; nor after a new setting, which ticks once in its own time.
/// The runtime keeps no reference.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the comparison of `seq` in `ring`; the receive in `disarm`; the lock around `seq`
/// and the offer in `ring`.
#[test]
fn a_stop_or_a_new_setting_against_a_ring() {
    for anew in [false, true] {
        explore(&format!("timer: stop against ring, anew {anew}"), 16, move || {
            let world = World::new(1);
            world.enter();
            let (timer, ticks) = timer();
            assert!(!timer.set(1, 0, None));
            let world2 = world.clone();
            let ringing = spawn(move || {
                world2.enter();
                ring_due(&world2, 5);
            });
            // Nobody receives, so it was always still to go off.
            assert!(if anew { timer.set(9, 0, None) } else { timer.stop() });
            assert_eq!(ticks.0.len(), 0, "a stale tick");
            ringing.join().unwrap();
            assert_eq!(ticks.0.len(), 0, "a stale tick came later");
            assert_eq!(world.p(0).timers.next_when(), if anew { 9 } else { NEVER });
            ring_due(&world, 9);
            assert_eq!(ticks.0.len(), usize::from(anew));
            assert_eq!((timer.stop(), timer.stop()), (anew, false));
            assert_eq!((Arc::strong_count(&timer), Arc::strong_count(&ticks)), (1, 1));
        });
    }
}

/// Proves: of a stop and of a tick for a receiver that waits exactly one happens.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the comparison of `seq` in `ring`, under one lock with the offer; the receive in
/// `disarm` (a tick that came before the receiver would be left to it); `goready` after the offer.
#[test]
fn a_stop_against_a_tick_for_a_waiting_receiver() {
    explore("timer: stop against receiver", 2, || {
        let world = World::new(1);
        world.enter();
        let (timer, ticks) = timer();
        timer.set(1, 0, None);
        let (world2, ticks2) = (world.clone(), ticks.clone());
        let receiver = spawn(move || {
            world2.enter();
            ticks2.0.recv(Wait::Block).unwrap().is_some()
        });
        let world2 = world.clone();
        let ringing = spawn(move || {
            world2.enter();
            ring_due(&world2, 5);
        });
        let stopped = timer.stop();
        ringing.join().unwrap();
        // The waiter that stays gets this.
        ticks.0.close().unwrap();
        assert_eq!(receiver.join().unwrap(), !stopped);
    });
}
