//! The suspicion of a deadlock: the last one to fall asleep tells sysmon, which is about to sleep too.

use std::sync::Arc;

use super::{explore, spawn, World};
use crate::prim::Ordering;
use crate::runtime::block::sema::SemaphoreCore;
use crate::runtime::object::g::G;
use crate::runtime::object::m::NEVER;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::proc::ready::goready;
use crate::runtime::proc::{checkdead, find, lists, sysmon, wake};

/// Proves: when a thread begins to wait forever while the only M falls asleep, sysmon, which falls asleep as well, is
/// told, and finds that everything is dead.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the `look` in `thread_sleep` or in `stop_until`; the fence in `thread_sleep`; the one
/// in `find::sleep`; the one in `suspect`; the kick there; the fence in `sysmon::sleep`, or its look at
/// `maybe_dead`.
#[test]
fn the_last_to_fall_asleep_tells_sysmon() {
    explore("deadlock: suspected", 2, || {
        let world = World::new(1);
        let thread = world.enter();
        let gp: *mut G = thread.curg.get();
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let m = world2.enter_with_p(0);
            world2.sched().inner.lock().allm.push(std::ptr::from_ref(m).cast_mut());
            find::sleep(m, world2.p(0), world2.sched());
        });
        let world3 = world.clone();
        let g = gp.expose_provenance();
        let monitor = spawn(move || {
            world3.enter();
            let s = world3.sched();
            // sysmon swaps. loom would order the swap after a store that it has not seen.
            while !s.maybe_dead.load(Ordering::Acquire) {
                sysmon::sleep(s, NEVER, NEVER);
                loom::thread::yield_now();
            }
            assert!(checkdead::is_dead(s));
            // The end of both waits, so that the execution ends.
            let p = lists::pidleget(s, &mut s.inner.lock()).unwrap();
            wake::startm(s, p, false);
            let gp = std::ptr::with_exposed_provenance_mut::<G>(g);
            // SAFETY: the G lives as long as the world; readied once it was claimed.
            unsafe {
                assert!((*gp).wait.claim_deadlock());
                goready(gp);
            }
        });
        world.sched().inner.lock().foreign.push(std::ptr::from_ref(thread).cast_mut());
        let nobody = Arc::new(SemaphoreCore::new(0));
        assert_eq!(nobody.acquire(1, Wait::Block), Err(WaitError::Deadlock));
        monitor.join().unwrap();
        sleeper.join().unwrap();
    });
}
