//! The hand-shake of a park: `park_m` against a peer that readies and an interrupt.

use std::sync::Arc;

use super::{explore, running_g, spawn, Token, World};
use crate::prim::Ordering;
use crate::runtime::object::g::{G, GRUNNABLE, GWAITING};
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::m::{ParkArgs, NEVER};
use crate::runtime::object::sudog::{Sudog, WaitQ};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::leave::park_m;
use crate::runtime::proc::ready::ready;

/// A primitive as its waiters see it: a queue under a lock.
struct Primitive {
    lock: Mutex,
    q: WaitQ,
    g: Box<G>,
    sg: Sudog,
    left: Token,
}

// SAFETY: the queue is used under the lock.
unsafe impl Send for Primitive {}
// SAFETY: as Send.
unsafe impl Sync for Primitive {}

impl Primitive {
    fn new() -> Arc<Primitive> {
        let g = running_g();
        let gp = std::ptr::from_ref(&*g).cast_mut();
        Arc::new(Primitive {
            lock: Mutex::new(),
            q: WaitQ::new(),
            g,
            sg: Sudog::new(gp, std::ptr::null_mut(), 0),
            left: Token::new(0),
        })
    }

    fn gp(&self) -> *mut G {
        std::ptr::from_ref(&*self.g).cast_mut()
    }

    fn sg(&self) -> *mut Sudog {
        std::ptr::from_ref(&self.sg).cast_mut()
    }

    /// The goroutine parks on the M of the calling thread, which holds P 0.
    fn park(&self, world: &World) {
        let m = world.enter_with_p(0);
        self.left.set(1);
        self.lock.lock();
        // SAFETY: the lock is held; `unlock` releases it; the goroutine is off its stack.
        unsafe {
            self.q.enqueue(self.sg());
            self.g.waitreason.set(WaitReason::ChanReceive);
            let arg = std::ptr::from_ref(&self.lock).cast_mut().cast();
            m.park_args.set(ParkArgs { unlockf: unlock, arg, deadline_ns: NEVER });
            park_m(std::ptr::from_ref(m).cast_mut(), self.gp());
        }
    }
}

unsafe fn unlock(_: *mut G, lock: *mut ()) {
    // SAFETY: the argument of `park`.
    unsafe { (*lock.cast::<Mutex>()).unlock() };
}

/// How often `gp` is in a queue.
fn queued(world: &World, gp: *mut G) -> usize {
    let mut n = 0;
    for i in 0..2 {
        loop {
            // SAFETY: all other threads have ended.
            let (got, _) = unsafe { world.p(i).runq.get(true) };
            if got.is_null() {
                break;
            }
            n += usize::from(std::ptr::eq(got, gp));
        }
    }
    let s = world.sched();
    let got = s.globrunqpop(&mut s.inner.lock());
    n + usize::from(std::ptr::eq(got, gp))
}

/// Proves: a goroutine that parks while a peer readies it and an interrupt comes is made runnable
/// exactly once, in the status Gwaiting (casgstatus throws otherwise), after its context was left;
/// a peer that finds its sudog finds a wait that can be claimed, or one that was.
///
/// Bound: 3 threads (parker with P 0, peer with P 1, interrupter without a P); 4 preemptions.
///
/// Fails without: the order in `park_m` (`unlockf` before `begin`: the peer's claim fails and it
/// drops the waiter; `unlockf` before Gwaiting: readied in Grunning); the path for a refused wait.
#[test]
fn a_park_against_a_peer_and_an_interrupt() {
    explore("park/ready: peer and interrupt", 4, || {
        let world = World::new(2);
        let prim = Primitive::new();
        let (world2, prim2) = (world.clone(), prim.clone());
        let parker = spawn(move || prim2.park(&world2));
        let (world2, prim2) = (world.clone(), prim.clone());
        let peer = spawn(move || {
            let m = world2.enter_with_p(1);
            prim2.lock.lock();
            // SAFETY: the lock is held; readied below.
            let sg = unsafe { prim2.q.dequeue_claimed() };
            prim2.lock.unlock();
            if !sg.is_null() {
                assert_eq!(prim2.left.get(), 1);
                // SAFETY: claimed; no lock held.
                unsafe { ready(m, (*sg).g, true) };
            }
        });
        let m = world.enter();
        if prim.g.wait.interrupt() {
            // SAFETY: claimed; no lock held.
            unsafe { ready(m, prim.gp(), true) };
        }
        parker.join().unwrap();
        peer.join().unwrap();
        assert_eq!(queued(&world, prim.gp()), 1);
        assert_eq!(prim.g.status.load(Ordering::Relaxed), GRUNNABLE);
    });
}

/// Proves: without an interrupt the peer alone decides: it readies the goroutine once, or comes
/// before it and finds nothing.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the order in `park_m` (`unlockf` before `begin`: the waiter is dropped and sleeps
/// forever).
#[test]
fn a_park_against_a_peer() {
    explore("park/ready: peer", 16, || {
        let world = World::new(2);
        let prim = Primitive::new();
        let (world2, prim2) = (world.clone(), prim.clone());
        let parker = spawn(move || prim2.park(&world2));
        let m = world.enter_with_p(1);
        prim.lock.lock();
        let came_first = prim.q.is_empty();
        // SAFETY: the lock is held; readied below.
        let sg = unsafe { prim.q.dequeue_claimed() };
        prim.lock.unlock();
        assert_eq!(sg.is_null(), came_first);
        if !sg.is_null() {
            assert_eq!(prim.left.get(), 1);
            // SAFETY: claimed; no lock held.
            unsafe { ready(m, (*sg).g, true) };
        }
        parker.join().unwrap();
        assert_eq!(queued(&world, prim.gp()), usize::from(!came_first));
        let status = prim.g.status.load(Ordering::Relaxed);
        assert_eq!(status, if came_first { GWAITING } else { GRUNNABLE });
    });
}
