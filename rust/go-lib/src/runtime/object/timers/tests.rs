//! The heap against a plain list.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Action, Timer, Timers, NEVER};
use crate::runtime::object::g::{Kind, G};
use crate::test_rng::Rng;

#[allow(clippy::vec_box, reason = "a G must not move: timers point into it")]
fn gs(n: usize) -> Vec<Box<G>> {
    (0..n).map(|_| Box::new(G::new(Kind::Go))).collect()
}

/// A G that waits, and the generation of that wait.
fn waiting(g: &mut G) -> (*mut G, u64) {
    let generation = g.wait.next_generation();
    assert!(g.wait.begin());
    (g, generation)
}

#[test]
fn random_arms_and_disarms_fire_the_rest_in_order() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let timers = Timers::new();
    let other = Timers::new();
    let mut all = gs(2000);
    let mut left = Vec::new();
    for g in &mut all {
        let when = (next() % 1000) as i64;
        let (gp, generation) = waiting(g);
        let to = if next() % 2 == 0 { &timers } else { &other };
        let before = to.next_when();
        // SAFETY: the Gs and the heaps outlive the test.
        let first = unsafe { to.arm(gp, when, generation) };
        assert_eq!(first, when < before);
        left.push((when, gp));
    }
    for i in (0..left.len()).rev() {
        if next() % 3 == 0 {
            let (_, gp) = left.swap_remove(i);
            // SAFETY: as above.
            assert!(unsafe { Timers::disarm(&(*gp).timer) });
            // SAFETY: as above.
            assert!(!unsafe { Timers::disarm(&(*gp).timer) });
        }
    }
    let when = |gp| left.iter().find(|(_, l)| *l == gp).map(|(w, _)| *w);
    let mut count = 0;
    for heap in [&timers, &other] {
        let mut fired = Vec::new();
        for now in [100, 500, 1000] {
            // SAFETY: as above.
            let after = unsafe { heap.run_expired(now, &mut |gp| fired.push(gp)) };
            assert!(after > now && after == heap.next_when());
        }
        assert_eq!(heap.next_when(), NEVER);
        let order: Vec<_> = fired.iter().map(|gp| when(*gp)).collect();
        assert!(order.iter().all(Option::is_some) && order.is_sorted());
        count += order.len();
    }
    assert_eq!(count, left.len());
}

#[test]
fn a_timer_of_an_earlier_wait_wakes_nobody() {
    let timers = Timers::new();
    let mut g = gs(1);
    let (gp, generation) = waiting(&mut g[0]);
    // SAFETY: the G and the heap outlive the test.
    unsafe {
        timers.arm(gp, 5, generation);
        assert!((*gp).wait.claim_peer());
        (*gp).wait.outcome();
        assert!((*gp).wait.begin());
        assert_eq!(
            timers.run_expired(9, &mut |gp| assert!(gp.is_null(), "woke a later wait")),
            NEVER
        );
        assert!((*gp).wait.is_waiting());
    }
}

#[test]
fn a_deadline_at_the_end_of_time_is_still_a_timer() {
    let timers = Timers::new();
    let mut g = gs(1);
    let (gp, generation) = waiting(&mut g[0]);
    // SAFETY: the G and the heap outlive the test.
    unsafe {
        assert!(timers.arm(gp, i64::MAX, generation));
        assert_ne!(timers.next_when(), NEVER);
        assert!(Timers::disarm(&(*gp).timer));
    }
    assert_eq!(timers.next_when(), NEVER);
}

/// Notes the timer's number in the list `arg`.
unsafe fn note(arg: *mut (), number: u64) -> *mut G {
    // SAFETY: the tests arm it with a list that outlives the heap.
    unsafe { (*arg.cast::<RefCell<Vec<u64>>>()).borrow_mut().push(number) };
    ptr::null_mut()
}

#[test]
fn a_heap_does_as_a_sorted_list_while_timers_are_armed_again_and_again() {
    const N: usize = 200;
    let mut rng = Rng::new("a_heap_does_as_a_sorted_list");
    let all: Vec<Timer> = (0..N).map(|_| Timer::new()).collect();
    let fired: RefCell<Vec<u64>> = RefCell::new(Vec::new());
    let heaps = [Timers::new(), Timers::new()];
    // (heap, when) of each armed one.
    let mut model: Vec<Option<(usize, i64)>> = vec![None; N];
    let mut now = 0;
    for _ in 0..20_000 {
        let i = rng.below(N as u64) as usize;
        // SAFETY: timers, heaps and the list outlive the loop.
        unsafe {
            if rng.one_in(20) {
                now += rng.below(8) as i64;
                for (h, heap) in heaps.iter().enumerate() {
                    let after = heap.run_expired(now, &mut |gp| assert!(gp.is_null()));
                    let when = |&i: &u64| model[i as usize].expect("armed").1;
                    let mut got = fired.take();
                    assert!(got.is_sorted_by_key(when), "out of order");
                    got.sort_unstable();
                    let is_due =
                        |at: &Option<(usize, i64)>| at.is_some_and(|at| at.0 == h && at.1 <= now);
                    let due = |i: &u64| is_due(&model[*i as usize]);
                    assert_eq!(got, (0..N as u64).filter(due).collect::<Vec<_>>());
                    model.iter_mut().filter(|at| is_due(at)).for_each(|at| *at = None);
                    assert_eq!(after, heap.next_when());
                }
            } else if rng.one_in(3) {
                assert_eq!(Timers::disarm(&all[i]), model[i].take().is_some());
            } else {
                Timers::disarm(&all[i]);
                // Of few times, so that many are equal.
                let (h, when) = (rng.below(2) as usize, now + rng.below(30) as i64 - 3);
                let before = heaps[h].next_when();
                let arg = (&raw const fired).cast_mut().cast();
                let action = Action { fire: note, arg, seq: i as u64 };
                let is_earliest = heaps[h].arm_for(&all[i], when, action);
                model[i] = Some((h, when));
                // The one that it was disarmed from may have been the earliest.
                assert!(is_earliest == (when < before));
            }
        }
        for (h, heap) in heaps.iter().enumerate() {
            let whens = model.iter().flatten().filter(|at| at.0 == h).map(|at| at.1);
            assert_eq!(heap.next_when(), whens.min().unwrap_or(NEVER));
        }
    }
}

#[test]
fn more_than_a_batch_that_is_due_at_once_goes_off_in_one_call() {
    let fired: RefCell<Vec<u64>> = RefCell::new(Vec::new());
    let all: Vec<Timer> = (0..100).map(|_| Timer::new()).collect();
    let timers = Timers::new();
    for (i, timer) in all.iter().enumerate() {
        let arg = (&raw const fired).cast_mut().cast();
        // SAFETY: timers, heap and list outlive the call.
        unsafe { timers.arm_for(timer, 7, Action { fire: note, arg, seq: i as u64 }) };
    }
    // SAFETY: as above.
    unsafe {
        assert_eq!(timers.run_expired(6, &mut |_| ()), 7);
        assert!(fired.take().is_empty());
        assert_eq!(timers.run_expired(7, &mut |_| ()), NEVER);
    }
    let mut fired = fired.take();
    fired.sort_unstable();
    assert_eq!(fired, (0..100).collect::<Vec<_>>());
}

/// Counts in `arg`.
unsafe fn count(arg: *mut (), _seq: u64) -> *mut G {
    // SAFETY: the test arms it with a counter that outlives the heap.
    unsafe { (*arg.cast::<AtomicU64>()).fetch_add(1, Ordering::Relaxed) };
    ptr::null_mut()
}

#[test]
fn a_timer_that_is_disarmed_while_it_goes_off_does_one_of_the_two() {
    const ROUNDS: u64 = 20_000;
    let (heaps, over) = ([Timers::new(), Timers::new()], AtomicBool::new(false));
    let (timer, fired) = (Timer::new(), AtomicU64::new(0));
    /// Timers and heaps are used by several Ms.
    struct Shared<'a>(&'a [Timers; 2]);
    // SAFETY: by the heaps' locks.
    unsafe impl Sync for Shared<'_> {}
    let shared = &Shared(&heaps);
    let mut disarmed = 0;
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            let Shared(heaps) = shared;
            while !over.load(Ordering::Acquire) {
                // SAFETY: the heaps outlive the threads.
                heaps.iter().for_each(|heap| _ = unsafe { heap.run_expired(1, &mut |_| ()) });
                std::thread::yield_now();
            }
        });
        for round in 0..ROUNDS {
            let arg = (&raw const fired).cast_mut().cast();
            let action = Action { fire: count, arg, seq: round };
            // SAFETY: all of it outlives the threads; disarmed or gone off, it is not armed.
            unsafe {
                heaps[round as usize % 2].arm_for(&timer, 1, action);
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                disarmed += u64::from(Timers::disarm(&timer));
            }
        }
        over.store(true, Ordering::Release);
    });
    assert_eq!(disarmed + fired.load(Ordering::Relaxed), ROUNDS);
    assert!(heaps.iter().all(|heap| heap.next_when() == NEVER));
}
