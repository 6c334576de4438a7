//! An interrupt against every kind of wait: how a cancelled goroutine leaves it.
//!
//! A host keeps the interrupt pending for as long as the cancelled block lasts, so it is left pending
//! here, and the next wait has to be refused too.

use std::sync::Arc;

use super::chan::{assert_quiet, chan, value, SOON};
use super::select::pair;
use super::{explore, spawn, World};
use crate::runtime::block::chan::SendError;
use crate::runtime::block::select::{selectgo, Case, SelectError};
use crate::runtime::block::sema::{CondCore, MutexCore, RwMutexCore, SemaphoreCore, WaitGroupCore};
use crate::runtime::object::g::G;
use crate::runtime::object::m::M;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::proc::ready::goready;

/// The G of the thread that is interrupted.
#[derive(Clone, Copy)]
struct Victim(*mut G);

// SAFETY: a G's claim word is shared in the product too; it lives as long as the world.
unsafe impl Send for Victim {}

impl Victim {
    fn of(m: &M) -> Victim {
        Victim(m.curg.get())
    }

    fn interrupt(self) {
        // SAFETY: as above; the claimer readies it.
        unsafe {
            if (*self.0).wait.interrupt() {
                goready(self.0);
            }
        }
    }

    /// The outcome of a cancelled goroutine's next wait.
    fn assert_still_interrupted(self) {
        // SAFETY: as above.
        unsafe { assert!((*self.0).wait.is_pending()) };
        assert_eq!(SemaphoreCore::new(0).acquire(1, Wait::Block), Err(WaitError::Interrupted));
    }
}

/// True for a wait that came to its end, false for one that was interrupted.
fn ended(result: Result<(), WaitError>) -> bool {
    if let Err(e) = result {
        assert_eq!(e, WaitError::Interrupted);
    }
    result.is_ok()
}

/// Proves: a send that is interrupted has not sent, and leaves no waiter; one that was received says so.
///
/// Bound: 3 threads, capacity 0; 2 preemptions.
///
/// Fails without: `remove` after a wake that was no peer's; the look at PENDING in `begin`.
#[test]
fn a_send_is_interrupted_or_done() {
    explore("interrupt: send", 2, || {
        let (world, c) = (World::new(0), chan(0));
        let victim = Victim::of(world.enter());
        let (world2, c2) = (world.clone(), c.clone());
        let receiver = spawn(move || {
            world2.enter();
            c2.recv(SOON).is_ok()
        });
        let world2 = world.clone();
        let interrupter = spawn(move || {
            world2.enter();
            victim.interrupt();
        });
        let sent = match c.send(value(1), Wait::Block) {
            Ok(()) => true,
            Err(e) => {
                assert!(matches!(e, SendError::Interrupted(_)));
                false
            }
        };
        interrupter.join().unwrap();
        assert_eq!(receiver.join().unwrap(), sent);
        assert_quiet(&c);
        victim.assert_still_interrupted();
    });
}

/// Proves: a select that is interrupted has received nothing and is out of both queues; one that
/// received keeps its value.
///
/// Bound: 3 threads, two channels of capacity 0; 2 preemptions.
///
/// Fails without: pass 3 (a waiter is left behind); the look at PENDING in `begin`.
#[test]
fn a_select_is_interrupted_or_done() {
    explore("interrupt: select", 2, || {
        let (world, cs) = (World::new(0), pair(0));
        let victim = Victim::of(world.enter());
        let (world2, cs2) = (world.clone(), cs.clone());
        let sender = spawn(move || {
            world2.enter();
            cs2[1].send(value(1), SOON).is_ok()
        });
        let world2 = world.clone();
        let interrupter = spawn(move || {
            world2.enter();
            victim.interrupt();
        });
        let mut cases: Vec<_> = cs.iter().map(Case::Recv).collect();
        let got = match selectgo(&mut cases, Wait::Block, false) {
            Ok(s) => {
                assert_eq!((s.index, s.value.map(|t| t.get())), (1, Some(1)));
                true
            }
            Err(e) => {
                assert!(matches!(e, SelectError::Interrupted));
                false
            }
        };
        interrupter.join().unwrap();
        assert_eq!(sender.join().unwrap(), got);
        cs.iter().for_each(assert_quiet);
        victim.assert_still_interrupted();
    });
}

/// Proves: a lock that is interrupted is not held, and the mutex goes to the one behind it; one that
/// was obtained is held.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: WOKEN given up by a woken waiter that was interrupted; the look at PENDING in `begin`.
#[test]
fn a_lock_is_interrupted_or_held() {
    explore("interrupt: Mutex", 2, || {
        let (world, mutex) = (World::new(0), Arc::new(MutexCore::new()));
        let victim = Victim::of(world.enter());
        assert!(mutex.try_lock());
        let (world2, mutex2) = (world.clone(), mutex.clone());
        let other = spawn(move || {
            world2.enter();
            mutex2.lock(Wait::Block).unwrap();
            mutex2.unlock().unwrap();
        });
        let (world2, mutex2) = (world.clone(), mutex.clone());
        let interrupter = spawn(move || {
            world2.enter();
            mutex2.unlock().unwrap();
            victim.interrupt();
        });
        if ended(mutex.lock(Wait::Block)) {
            mutex.unlock().unwrap();
        }
        interrupter.join().unwrap();
        other.join().unwrap();
        assert!(mutex.try_lock());
        victim.assert_still_interrupted();
    });
}

/// Proves: a writer that is interrupted lets the readers in that queued behind it.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `writer_left`; the look at PENDING in `begin`.
#[test]
fn an_interrupted_writer_forgets_no_reader() {
    explore("interrupt: RwMutex", 2, || {
        let (world, lock) = (World::new(0), Arc::new(RwMutexCore::new()));
        let victim = Victim::of(world.enter());
        lock.rlock(Wait::Block).unwrap();
        let (world2, lock2) = (world.clone(), lock.clone());
        let reader = spawn(move || {
            world2.enter();
            lock2.rlock(Wait::Block).unwrap();
            lock2.runlock().unwrap();
        });
        let world2 = world.clone();
        let interrupter = spawn(move || {
            world2.enter();
            victim.interrupt();
        });
        assert!(!ended(lock.lock(Wait::Block)));
        interrupter.join().unwrap();
        reader.join().unwrap();
        lock.runlock().unwrap();
        assert_eq!(lock.held(), (0, false));
        victim.assert_still_interrupted();
    });
}

/// Proves: an interrupted acquire holds no permit, and a waiter behind it that wants fewer
/// continues; one that was granted holds all of its permits.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `grant` after a wait that failed; the look at PENDING in `begin`.
#[test]
fn an_acquire_is_interrupted_or_granted() {
    explore("interrupt: Semaphore", 2, || {
        let (world, semaphore) = (World::new(0), Arc::new(SemaphoreCore::new(2)));
        let victim = Victim::of(world.enter());
        semaphore.acquire(1, Wait::Block).unwrap();
        let (world2, semaphore2) = (world.clone(), semaphore.clone());
        let small = spawn(move || {
            world2.enter();
            semaphore2.acquire(1, Wait::Block).unwrap();
            semaphore2.release(1).unwrap();
        });
        let world2 = world.clone();
        let interrupter = spawn(move || {
            world2.enter();
            victim.interrupt();
        });
        assert!(!ended(semaphore.acquire(2, Wait::Block)));
        interrupter.join().unwrap();
        small.join().unwrap();
        assert_eq!(semaphore.free(), 1);
        victim.assert_still_interrupted();
    });
}

/// Proves: of two that wait for one notification the other one gets it if the first is interrupted
/// before it has it.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the loop in `notify` (a claim that fails ends it); the look at PENDING in `begin`.
#[test]
fn a_notification_is_taken_or_goes_on() {
    explore("interrupt: Cond", 2, || {
        let (world, shared) =
            (World::new(0), Arc::new((MutexCore::new(), CondCore::new(), super::Token::new(0))));
        let victim = Victim::of(world.enter());
        // A goroutine woken without having been interrupted consumes what there is, or passes it
        // on.
        let (world2, shared2) = (world.clone(), shared.clone());
        let other = spawn(move || {
            world2.enter();
            let (mutex, cond, ready) = &*shared2;
            mutex.lock(Wait::Block).unwrap();
            while ready.get() == 0 {
                cond.wait(Wait::Block, || mutex.unlock().unwrap()).unwrap();
                mutex.lock(Wait::Block).unwrap();
            }
            mutex.unlock().unwrap();
        });
        let (world2, shared2) = (world.clone(), shared.clone());
        let giver = spawn(move || {
            world2.enter();
            let (mutex, cond, ready) = &*shared2;
            mutex.lock(Wait::Block).unwrap();
            ready.set(1);
            mutex.unlock().unwrap();
            victim.interrupt();
            cond.notify(1);
        });
        let (mutex, cond, ready) = &*shared;
        // Uninterrupted so far only if it need not wait: a host locks again in a shield.
        let locked = ended(mutex.lock(Wait::Block));
        if locked {
            let mut woken = false;
            if ready.get() == 0 {
                woken = ended(cond.wait(Wait::Block, || mutex.unlock().unwrap()));
            } else {
                mutex.unlock().unwrap();
            }
            if woken {
                cond.notify(1); // not for us alone
            }
        }
        giver.join().unwrap();
        other.join().unwrap();
        victim.assert_still_interrupted();
    });
}

/// Proves: a wait for a group ends with it or by the interrupt, and the group can be used on.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: `remove` after a wake that was no peer's (the next `done` finds a waiter that is
/// gone); the look at PENDING in `begin`.
#[test]
fn a_wait_for_a_group_is_interrupted_or_done() {
    explore("interrupt: WaitGroup", 2, || {
        let (world, group) = (World::new(0), Arc::new(WaitGroupCore::new()));
        let victim = Victim::of(world.enter());
        group.add(1).unwrap();
        let (world2, group2) = (world.clone(), group.clone());
        let other = spawn(move || {
            world2.enter();
            group2.wait(Wait::Block).unwrap();
        });
        let (world2, group2) = (world.clone(), group.clone());
        let worker = spawn(move || {
            world2.enter();
            victim.interrupt();
            group2.add(-1).unwrap();
        });
        ended(group.wait(Wait::Block));
        worker.join().unwrap();
        other.join().unwrap();
        assert_eq!(group.count(), 0);
        group.wait(Wait::Block).unwrap();
        victim.assert_still_interrupted();
    });
}
