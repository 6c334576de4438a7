//! The network poller: a waiter against the edge, an interrupt, the deadline, the close; sleeping in
//! the poller; the lock of a descriptor.

use std::sync::Arc;

use loom::sync::atomic::AtomicU32;

use super::{explore, spawn, Token, World};
use crate::prim::Ordering;
use crate::runtime::block::sema::{FdMutex, SemaphoreCore};
use crate::runtime::object::g::G;
use crate::runtime::object::note::Note;
use crate::runtime::object::readylist::ReadyList;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::poller::desc::{Mode, PollDesc};
use crate::runtime::poller::error::FdError;
use crate::runtime::proc::ready::goready;
use crate::runtime::proc::wake::attend;
use crate::runtime::proc::{find, stop};
use crate::sys::poll::READ;

/// A descriptor: the bytes to read, and their waiter.
struct Socket {
    pd: PollDesc,
    bytes: AtomicU32,
}

impl Socket {
    fn new() -> Arc<Socket> {
        Arc::new(Socket { pd: PollDesc::new(0), bytes: AtomicU32::new(0) })
    }

    /// Bytes come, and the poller hears of the edge.
    fn edge(&self, world: &World) {
        self.bytes.store(1, Ordering::Relaxed);
        let mut ready = ReadyList::new();
        self.pd.report(0, READ, &mut ready);
        let n = ready.drain_count();
        world.sched().netpoll.remove_waiters(n);
    }

    /// Reads as `NetFd::read_stream` does; how often it tried.
    fn read(&self) -> Result<u32, FdError> {
        let mut in_vain = self.pd.prepare(Mode::Read)?;
        for tries in 0.. {
            if in_vain {
                self.pd.wait(Mode::Read, None)?;
            }
            if self.bytes.load(Ordering::Relaxed) != 0 {
                return Ok(tries);
            }
            in_vain = true;
        }
        unreachable!()
    }
}

/// Proves: an edge before, during or after the wait is not lost, and the goroutine that it wakes
/// finds the data; nobody counts as waiting afterwards.
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: the look at `READY` in `wait`; `READY` in `unblock`; Release there; Acquire in
/// `prepare`.
#[test]
fn an_edge_is_not_lost() {
    explore("netpoll: edge", 4, || {
        let (world, socket) = (World::new(0), Socket::new());
        let (world2, socket2) = (world.clone(), socket.clone());
        let reader = spawn(move || {
            world2.enter();
            let tries = socket2.read().unwrap();
            assert!(tries <= 1, "an edge that told of nothing");
        });
        world.enter();
        socket.edge(&world);
        reader.join().unwrap();
        assert!(!world.sched().netpoll.has_waiters());
    });
}

/// Proves: a reader that took all there was, and says so, does not sleep through an edge that came
/// meanwhile.
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: the RMW in `unblock` (a store instead); Release there; Acquire in `prepare`.
#[test]
fn an_edge_after_the_last_byte_is_not_lost() {
    explore("netpoll: drained", 4, || {
        let (world, socket) = (World::new(0), Socket::new());
        let (world2, socket2) = (world.clone(), socket.clone());
        let reader = spawn(move || {
            world2.enter();
            assert!(!socket2.pd.prepare(Mode::Read).unwrap());
            if socket2.bytes.load(Ordering::Relaxed) == 0 {
                socket2.pd.drained();
                socket2.read().unwrap();
            }
        });
        world.enter();
        socket.edge(&world);
        reader.join().unwrap();
        assert!(!world.sched().netpoll.has_waiters());
    });
}

/// Proves: a waiter that an interrupt ended is not claimed by an edge in its next wait, of another
/// kind; the edge is not lost; nobody counts as waiting afterwards.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the claim under the lock in `unblock`; the edge kept as `READY` there when the claim
/// fails; the waiter's taking itself out in `wait`, its lock, or the look whether it is still there (a
/// `READY` is wiped out); its `remove_waiters`.
#[test]
fn an_edge_does_not_end_another_wait() {
    explore("netpoll: interrupt", 2, || {
        let (world, socket) = (World::new(0), Socket::new());
        let shared = Arc::new((SemaphoreCore::new(1), Token::new(0)));
        shared.0.acquire(1, Wait::Try).unwrap();
        let victim = world.enter();
        let g: *mut G = victim.curg.get();
        let (world2, socket2) = (world.clone(), socket.clone());
        let poller = spawn(move || {
            world2.enter();
            socket2.edge(&world2);
        });
        let (world3, shared3, g) = (world.clone(), shared.clone(), g.expose_provenance());
        let interrupter = spawn(move || {
            world3.enter();
            let g = std::ptr::with_exposed_provenance_mut::<G>(g);
            // SAFETY: the G lives as long as the world.
            unsafe {
                if (*g).wait.interrupt() {
                    goready(g);
                }
            }
            shared3.1.set(1);
            shared3.0.release(1).unwrap();
        });
        let waited = socket.pd.wait(Mode::Read, None);
        if let Err(e) = waited {
            assert_eq!(e, FdError::Wait(WaitError::Interrupted));
        }
        let wait = &victim.g0.wait;
        loop {
            wait.take_pending();
            match shared.0.acquire(1, Wait::Block) {
                Ok(()) => break,
                Err(e) => assert_eq!(e, WaitError::Interrupted),
            }
        }
        assert_eq!(shared.1.get(), 1, "woken by somebody else's edge");
        poller.join().unwrap();
        interrupter.join().unwrap();
        if waited.is_err() {
            socket.pd.wait(Mode::Read, None).unwrap();
        }
        assert!(!world.sched().netpoll.has_waiters());
    });
}

/// Proves: a deadline that is set to the past, or a close, ends a wait that begins at the same time.
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: the check in `wait` under the lock (before it instead); `unblock` in `set_deadline`
/// or `evict`; the flag set before they unlock (after it instead); `remove_waiters` in `wake_claimed`.
#[test]
fn the_end_is_not_slept_through() {
    for close in [false, true] {
        explore(if close { "netpoll: close" } else { "netpoll: deadline" }, 4, move || {
            let (world, socket) = (World::new(0), Socket::new());
            let (world2, socket2) = (world.clone(), socket.clone());
            let reader = spawn(move || {
                world2.enter();
                socket2.read().unwrap_err()
            });
            world.enter();
            if close {
                socket.pd.evict();
            } else {
                socket.pd.set_deadline(Mode::Read, 0).unwrap();
            }
            let expected = if close { FdError::Closed } else { FdError::Wait(WaitError::Timeout) };
            assert_eq!(reader.join().unwrap(), expected);
            assert!(!world.sched().netpoll.has_waiters());
        });
    }
}

/// Proves: an M that is about to sleep in the poller and its waker do not miss each other, and the
/// waker's writes are seen before the sleep, at its end, or after a sleep that ended by itself; the
/// note can be slept on afterwards.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the RMW in `begin_elsewhere` or `notify` (a load and a store instead); Acquire in
/// `begin_elsewhere` or `woken`; Release in `notify`; its answer that the owner sleeps elsewhere;
/// `end_elsewhere`, or its look for a wake-up that came meanwhile (a store instead).
#[test]
fn who_sleeps_elsewhere_is_woken_there() {
    for ends_by_itself in [false, true] {
        let name = if ends_by_itself { "note: elsewhere, ends" } else { "note: elsewhere" };
        explore(name, 16, move || {
            // The note, the place elsewhere, what is published.
            let shared = Arc::new((Note::new(), Note::new(), Token::new(0)));
            let shared2 = shared.clone();
            let waker = spawn(move || {
                let (note, elsewhere, token) = &*shared2;
                token.set(1);
                if note.notify() {
                    elsewhere.wakeup();
                }
            });
            let (note, elsewhere, token) = &*shared;
            if !note.begin_elsewhere() {
                assert_eq!(token.get(), 1);
            } else if ends_by_itself {
                elsewhere.sleep_until(1);
                note.end_elsewhere();
                note.sleep();
            } else {
                elsewhere.sleep();
                note.end_elsewhere();
            }
            assert!(note.woken());
            assert_eq!(token.get(), 1);
            note.clear();
            waker.join().unwrap();
        });
    }
}

/// Proves: while the last M falls asleep a thread without a P begins to wait: then that M, or one
/// that the thread starts, is in the poller. (In a model the poller's sleep ends at once; an M that
/// sleeps elsewhere sleeps forever.)
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: the start of an M in `attend`; its look at the idle Ps under `sched.lock` (a look at
/// `npidle` before it); the look at `waiters` in `begin_sleep`; the wait for the P that comes with a
/// wake-up (`take_promised_p` in `sleep_in_netpoll`).
#[test]
fn somebody_polls_for_a_waiter_without_a_p() {
    explore("netpoll: attend", 4, || {
        let world = World::new(1);
        let world2 = world.clone();
        let sleeper = spawn(move || {
            let m = world2.enter_with_p(0);
            find::sleep(m, world2.p(0), world2.sched());
            if m.pp().is_null() {
                // It has polled, and its P is with the thread that looks for an M: it sleeps on.
                world2.sched().netpoll.remove_waiters(1);
                stop::stopm(m);
            }
        });
        world.enter();
        world.sched().netpoll.add_waiter();
        attend(world.sched());
        sleeper.join().unwrap();
    });
}

/// Proves: one at a time has a mode, each sees what the last one did, and nobody waits forever.
///
/// Bound: 3 threads, 2 preemptions.
///
/// Fails without: Acquire in `lock`; Release in `unlock`; the wake-up there; the second look at
/// `LOCKED` in `wait`; the queue's lock around it and the enqueuing; the look whether others wait
/// still in `wake_one`.
#[test]
fn the_lock_of_a_descriptor_excludes_and_forgets_nobody() {
    explore("fdmutex: three that want it", 2, || {
        let world = World::new(0);
        let shared = Arc::new((FdMutex::new(), Token::new(0)));
        let use_it = |world: &World, (lock, io): &(FdMutex, Token)| {
            world.enter();
            lock.lock(0).unwrap();
            io.add(1);
            assert!(!lock.unlock(0));
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (world, shared) = (world.clone(), shared.clone());
                spawn(move || use_it(&world, &shared))
            })
            .collect();
        use_it(&world, &shared);
        for t in threads {
            t.join().unwrap();
        }
        assert_eq!(shared.1.get(), 3);
    });
}

/// Proves: a close ends the wait for a mode, or one that begins at the same time, while its holder
/// keeps the mode.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the wake-ups in `close`; the second look at `CLOSED` in `wait`; the queue's lock
/// around it and the enqueuing.
#[test]
fn a_close_ends_the_wait_for_a_descriptor() {
    explore("fdmutex: close", 16, || {
        let (world, lock) = (World::new(0), Arc::new(FdMutex::new()));
        lock.lock(0).unwrap();
        let (world2, lock2) = (world.clone(), lock.clone());
        let waiter = spawn(move || {
            world2.enter();
            lock2.lock(0)
        });
        world.enter();
        assert!(lock.close() && !lock.close());
        assert_eq!(waiter.join().unwrap(), Err(FdError::Closed));
        assert!(!lock.unlock(0) && lock.decref());
    });
}

/// Proves: after the close no use of a descriptor begins, and exactly one drops the last reference,
/// after all uses: it sees what they did.
///
/// Bound: 3 threads (a reader, one that only counts itself, the owner), 3 preemptions.
///
/// Fails without: the look at `CLOSED` in `lock` or `incref`; Acquire or Release in `unlock` or in
/// `decref`.
#[test]
fn the_last_use_of_a_descriptor_closes_it() {
    explore("fdmutex: references", 3, || {
        let world = World::new(0);
        // The lock, and what each use does.
        let shared = Arc::new((FdMutex::new(), Token::new(0), Token::new(0)));
        let close = |(_, read, counted): &(FdMutex, Token, Token)| {
            read.set(7);
            counted.set(7);
            1
        };
        let (world2, shared2) = (world.clone(), shared.clone());
        let reader = spawn(move || {
            world2.enter();
            let (lock, read, _) = &*shared2;
            if lock.lock(0).is_err() {
                return 0;
            }
            read.set(1);
            if lock.unlock(0) {
                close(&shared2)
            } else {
                0
            }
        });
        let shared3 = shared.clone();
        let counted = spawn(move || {
            let (lock, _, counted) = &*shared3;
            if !lock.incref() {
                return 0;
            }
            counted.set(1);
            if lock.decref() {
                close(&shared3)
            } else {
                0
            }
        });
        world.enter();
        let (lock, read, used) = &*shared;
        assert!(lock.close());
        let mut last = if lock.decref() { close(&shared) } else { 0 };
        last += reader.join().unwrap() + counted.join().unwrap();
        assert_eq!((last, read.get(), used.get()), (1, 7, 7));
        assert!(!lock.incref() && lock.lock(1).is_err());
    });
}
