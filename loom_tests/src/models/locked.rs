//! A goroutine that keeps its M: the hand-over of a P to the M that is kept.

use std::sync::Arc;

use super::{explore, running_g, spawn, Token, World};
use crate::prim::Ordering;
use crate::runtime::object::g::G;
use crate::runtime::object::m::{ParkArgs, M, NEVER};
use crate::runtime::proc::leave::park_m;
use crate::runtime::proc::ready::ready;
use crate::runtime::proc::{checkdead, exit, lists, locked, wake};

unsafe fn nothing(_: *mut G, _: *mut ()) {}

/// Proves: an M that is kept for a goroutine gets the P of the M that finds this one runnable, as that
/// left it, though a wake-up of before comes between; the goroutine is run by it alone, and the P that
/// it gave away serves others.
///
/// Bound: 3 threads (the M that is kept, the one that readies and finds the goroutine, a late waker);
/// 2 preemptions.
///
/// Fails without: the wake-up in `startlockedm`; the order there (`nextp` before it); Release there;
/// Acquire in `take_nextp`; the order in `stoplockedm` (`clear` before the look at `nextp`); its second
/// sleep after a late wake-up; the P given away before.
#[test]
fn a_kept_m_gets_the_p_of_who_finds_its_goroutine() {
    explore("locked: park and start", 2, || {
        let world = World::new(2);
        // Somebody looks for work already, so that a P given away goes idle.
        world.sched().nmspinning.store(1, Ordering::Relaxed);
        let g = running_g();
        g.sched_sp.set(1);
        g.lock_depth.set(1);
        let gp = std::ptr::from_ref(&*g).cast_mut();
        let kept = world.enter_with_p(0);
        let arg = std::ptr::null_mut();
        kept.park_args.set(ParkArgs { unlockf: nothing, arg, deadline_ns: NEVER });
        // SAFETY: the goroutine is off its stack.
        unsafe { park_m(std::ptr::from_ref(kept).cast_mut(), gp) };
        // Stands for the plain fields of P 1.
        let used = Arc::new(Token::new(0));
        let (world2, used2, g2) = (world.clone(), used.clone(), gp.expose_provenance());
        let finder = spawn(move || {
            let m = world2.enter_with_p(1);
            let gp = std::ptr::with_exposed_provenance_mut::<G>(g2);
            // SAFETY: the G lives as long as the execution; readied once it was claimed; the P is ours.
            let (found, _) = unsafe {
                assert!((*gp).wait.claim_peer());
                ready(m, gp, false);
                world2.p(1).runq.get(true)
            };
            assert!(std::ptr::eq(found, gp));
            used2.set(1);
            locked::startlockedm(m, found);
            assert!(std::ptr::eq(m.pp(), world2.p(0)));
        });
        let at = std::ptr::from_ref(kept).expose_provenance();
        let late = spawn(move || {
            // SAFETY: Ms live as long as the world.
            unsafe { (*std::ptr::with_exposed_provenance::<M>(at)).park.wakeup() };
        });
        assert!(std::ptr::eq(locked::stoplockedm(kept), gp));
        assert!(std::ptr::eq(kept.pp(), world.p(1)));
        assert_eq!(used.get(), 1);
        used.set(2);
        assert!(g.lockedm.load(Ordering::Relaxed).is_null() && kept.lockedg.get().is_null());
        let s = world.sched();
        let idle = lists::pidleget(s, &mut s.inner.lock()).expect("it gave its P away");
        wake::startm(s, idle, false);
        finder.join().unwrap();
        late.join().unwrap();
    });
}

/// Proves: when the end of a host finds that no M schedules, one that sleeps for its goroutine does not
/// attach the interpreter any more, though it is being woken.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: `M::locked_asleep` in `none_schedules` (`lockedg` instead, which is still set between
/// the wake-up and the goroutine); its reset under the lock in `wakes`, or before the look at `exiting`.
#[test]
fn a_kept_m_that_wakes_while_the_host_ends_attaches_before_or_never() {
    explore("locked: wake-up against the end", 16, || {
        let world = World::new(0);
        let m = world.enter();
        let at = std::ptr::from_ref(m).cast_mut();
        world.sched().inner.lock().allm.push(at);
        // Any goroutine.
        m.lockedg.set(std::ptr::from_ref(&m.g0).cast_mut());
        checkdead::locked_sleeps(world.sched(), m, true);
        // Stands for the interpreter.
        let used = Arc::new(Token::new(0));
        let (world2, used2, at) = (world.clone(), used.clone(), at.expose_provenance());
        let kept = spawn(move || {
            // SAFETY: Ms live as long as the world.
            let m = unsafe { &*std::ptr::with_exposed_provenance::<M>(at) };
            if locked::wakes(world2.sched(), m) {
                used2.get();
            }
            m.stopped.store(1, Ordering::Release);
        });
        world.sched().exiting.store(true, Ordering::SeqCst);
        if exit::none_schedules(world.sched()) {
            used.set(1);
        }
        kept.join().unwrap();
    });
}
