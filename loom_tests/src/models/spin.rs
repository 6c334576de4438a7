//! Falling asleep against submitting work: the Dekker of `find::sleep` and `wake`.
//!
//! An M that finds nothing goes through the real `find::sleep`; a submitter makes work visible and
//! goes through the real `runqput_any`, `wakep`, `wake_host`, `arm_timer`. If both miss each other
//! the M sleeps forever, which loom reports as a deadlock.

use std::sync::Arc;

use super::{explore, running_g, spawn, World};
use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::M;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{find, stop, wake};

fn runnable(kind: Kind) -> Arc<Box<G>> {
    let g = running_g();
    casgstatus(&g, GRUNNING, GRUNNABLE);
    g.kind.set(kind);
    Arc::new(g)
}

fn at(g: &Arc<Box<G>>) -> *mut G {
    std::ptr::from_ref(&***g).cast_mut()
}

/// Submits `g` from the calling thread, which has no P.
fn submit(world: &World, g: &Arc<Box<G>>) {
    let m = world.enter();
    // SAFETY: runnable, in no queue.
    unsafe { wake::runqput_any(m, at(g), false) };
}

/// `m` found nothing on P `i` and falls asleep; on return it has a P.
fn fall_asleep(world: &World, m: &'static M, i: usize) {
    find::sleep(m, world.p(i), world.sched());
    assert!(!m.pp().is_null(), "awake without a P");
}

/// Proves: a G put into another P's ring while the only other M falls asleep, as a spinner or not,
/// wakes that M.
///
/// Bound: 2 threads, 4 preemptions.
///
/// Fails without: the fence in `find::sleep`; the one in `wakep`; the look at the rings in
/// `look_again`; the decrement of `nmspinning` before it.
#[test]
fn work_in_a_ring_is_not_slept_through() {
    for spinning in [true, false] {
        let name = if spinning { "submit: ring, spinner" } else { "submit: ring" };
        explore(name, 4, move || {
            let world = World::new(2);
            let g = runnable(Kind::Go);
            let world2 = world.clone();
            let sleeper = spawn(move || {
                let m = world2.enter_with_p(1);
                if spinning {
                    wake::start_spinning(m, world2.sched());
                }
                fall_asleep(&world2, m, 1);
            });
            let m = world.enter_with_p(0);
            // SAFETY: runnable, in no queue; this thread holds P 0.
            unsafe { wake::runqput_any(m, at(&g), false) };
            sleeper.join().unwrap();
            assert!(!world.p(0).runq.is_empty());
        });
    }
}

/// Proves: a G that a thread without a P puts into the global queue is not slept through.
///
/// Bound: 2 threads, 4 preemptions.
///
/// Fails without: the fence in `find::sleep` or in `wakep` (spinner: the length of the queue is
/// read without the lock).
#[test]
fn work_in_the_global_queue_is_not_slept_through() {
    for spinning in [true, false] {
        let name = if spinning { "submit: global, spinner" } else { "submit: global" };
        explore(name, 4, move || {
            let world = World::new(1);
            let g = runnable(Kind::Go);
            let world2 = world.clone();
            let sleeper = spawn(move || {
                let m = world2.enter_with_p(0);
                if spinning {
                    wake::start_spinning(m, world2.sched());
                }
                fall_asleep(&world2, m, 0);
            });
            submit(&world, &g);
            sleeper.join().unwrap();
        });
    }
}

/// Proves: a host goroutine that a thread without a P pushes to the inbox while P 0's M falls
/// asleep makes that M, or another, run P 0.
///
/// Bound: 2 threads, 4 preemptions.
///
/// Fails without: the fence in `find::sleep`; the one in `wake_host`; the look at the inbox in
/// `look_again`.
#[test]
fn work_in_the_inbox_is_not_slept_through() {
    explore("submit: inbox", 4, || {
        let world = World::new(1);
        let g = runnable(Kind::Host);
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let m = world2.enter_with_p(0);
            fall_asleep(&world2, m, 0);
        });
        submit(&world, &g);
        sleeper.join().unwrap();
        assert!(!world.p(0).hostq.is_empty());
    });
}

/// Proves: a timer that a thread without a P arms while the last M falls asleep is watched.
///
/// Bound: 2 threads, 4 preemptions. (A wait for a timer ends at once in a model.)
///
/// Fails without: the call of `timer_armed_from_outside` in `arm_timer`; the start of an M there.
/// (The fences on this path are not needed here: both sides go through `sched.lock`.)
#[test]
fn a_timer_armed_from_outside_is_not_slept_through() {
    explore("submit: timer", 4, || {
        let world = World::new(1);
        let g = runnable(Kind::Go);
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let m = world2.enter_with_p(0);
            fall_asleep(&world2, m, 0);
        });
        let m = world.enter();
        // SAFETY: the G outlives the execution, its timer is not armed.
        wake::arm_timer(m, 1, |timers| unsafe { timers.arm(at(&g), 1, 0) });
        sleeper.join().unwrap();
    });
}

/// Proves: a host goroutine that a thread without a P pushes to the inbox while P 0, taken from an M that sits in a
/// call, is handed off, is run: the P goes to an M that sleeps.
///
/// Bound: 3 threads (the M that sleeps, the one that hands off, the pusher), 3 preemptions.
///
/// Fails without: the second look in `handoffp`, or the fence before it; the fence in `wake_host`.
#[test]
fn work_in_the_inbox_of_a_p_that_is_handed_off_is_not_slept_through() {
    explore("submit: inbox, hand-off", 3, || {
        let world = World::new(1);
        let g = runnable(Kind::Host);
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let m = world2.enter();
            stop::stopm(m);
            assert!(std::ptr::eq(m.pp(), world2.p(0)), "awake without the P");
        });
        let (world2, g2) = (world.clone(), g.clone());
        let pusher = spawn(move || submit(&world2, &g2));
        wake::handoffp(world.sched(), world.p(0));
        pusher.join().unwrap();
        sleeper.join().unwrap();
        assert!(!world.p(0).hostq.is_empty());
    });
}

/// Proves: an M whose patience ends while somebody looks for an M for a P either gets that P, or has ended and is on
/// no list: never both, and the P is not lost. (In a model patience ends at once.)
///
/// Bound: 2 threads, 3 preemptions.
///
/// Fails without: the look in `idle::end` whether it is on the idle list still; the sleep after it in
/// `idle::sleep_or_end`.
#[test]
fn an_idle_m_that_ends_takes_no_p_along() {
    explore("idle: the end of an M", 3, || {
        let world = World::new(1);
        let s = world.sched();
        s.keep_idle.store(0, Ordering::Relaxed);
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let (m, s) = (world2.enter(), world2.sched());
            let me = std::ptr::from_ref(m).cast_mut();
            s.inner.lock().allm.push(me);
            stop::stopm(m);
            if m.pp().is_null() {
                assert!(m.ends.get(), "neither a P nor an end");
                let inner = s.inner.lock();
                assert!(inner.allm.is_empty() && inner.midle.is_empty());
                drop(inner);
                // A new one instead, which stays.
                m.ends.set(false);
                s.keep_idle.store(1, Ordering::Relaxed);
                stop::stopm(m);
            }
            assert!(!m.ends.get() && std::ptr::eq(m.pp(), world2.p(0)), "the P is lost");
        });
        world.enter();
        wake::startm(s, world.p(0), false);
        sleeper.join().unwrap();
    });
}
