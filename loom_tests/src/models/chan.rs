//! Channels. Each thread of a model is a thread of the runtime: it parks by the real `gopark` on
//! its M's note. The values are boxed tokens, so that loom sees whether what the sender wrote is
//! ordered before what the receiver reads.

use std::sync::Arc;

use super::{explore, spawn, Token, World};
use crate::runtime::block::chan::{Hchan, RecvError, SendError};
use crate::runtime::object::wait::Wait;

type Chan = Hchan<Box<Token>>;

/// A deadline that never is in the past; a wait for it may end at once in a model.
pub(super) const SOON: Wait = Wait::Until(i64::MAX - 1);

pub(super) fn chan(cap: usize) -> Arc<Chan> {
    Arc::new(Hchan::try_new(cap).unwrap())
}

/// A value that was written just before it is sent.
pub(super) fn value(v: u32) -> Box<Token> {
    let token = Box::new(Token::new(0));
    token.set(v);
    token
}

fn send(c: &Chan, v: u32) {
    assert!(c.send(value(v), Wait::Block).is_ok());
}

fn recv(c: &Chan) -> Option<u32> {
    c.recv(Wait::Block).unwrap().map(|t| t.get())
}

/// Nobody waits on `c` any more, and nothing is in it.
pub(super) fn assert_quiet(c: &Chan) {
    assert_eq!(c.len(), 0);
    assert!(c.cap() > 0 || c.header.send_must_wait() || c.is_closed(), "a receiver is left");
    assert!(c.header.recv_must_wait(), "a sender is left");
}

/// Proves: values go from sender to receiver once, in order, with what was written to them; a
/// parked side is readied, whether the other comes before, during or after the park; nothing is
/// left in the channel.
///
/// Bound: 2 threads, capacities 0, 1 and 2, 2 values; 3 preemptions.
///
/// Fails without: the lock in `send` or `recv` (Acquire or Release of `runtime::object::lock`); the order
/// in `thread_park` (`begin` before `unlockf`); `goready` after a step.
#[test]
fn send_and_receive() {
    for cap in 0..3 {
        explore(&format!("chan {cap}: send, recv"), 3, move || {
            let (world, c) = (World::new(0), chan(cap));
            let (world2, c2) = (world.clone(), c.clone());
            let sender = spawn(move || {
                world2.enter();
                send(&c2, 1);
                send(&c2, 2);
            });
            world.enter();
            assert_eq!((recv(&c), recv(&c)), (Some(1), Some(2)));
            sender.join().unwrap();
            assert_quiet(&c);
        });
    }
}

/// Proves: two senders and a receiver exchange each value once; a parked sender is served by the
/// receive that makes room.
///
/// Bound: 3 threads, capacities 0 and 1; 2 preemptions.
///
/// Fails without: the hand-over from `sendq` in `recv_step` (buffered: the sender sleeps on).
#[test]
fn two_senders_and_a_receiver() {
    for cap in 0..2 {
        explore(&format!("chan {cap}: two senders"), 2, move || {
            let (world, c) = (World::new(0), chan(cap));
            let senders: Vec<_> = [1, 2]
                .into_iter()
                .map(|v| {
                    let (world, c) = (world.clone(), c.clone());
                    spawn(move || {
                        world.enter();
                        send(&c, v);
                    })
                })
                .collect();
            world.enter();
            let first = recv(&c);
            let second = if cap == 0 { recv(&c) } else { None };
            // With a buffer, one receive lets both senders continue.
            for s in senders {
                s.join().unwrap();
            }
            let second = second.or_else(|| recv(&c));
            assert!(matches!((first, second), (Some(1), Some(2)) | (Some(2), Some(1))));
            assert_quiet(&c);
        });
    }
}

/// Proves: a close wakes a receiver and a sender that wait or are about to, each once; a receive
/// yields the value that was sent before, or nothing; a send that did not happen keeps its value.
///
/// Bound: 3 threads, capacity 0; 2 preemptions.
///
/// Fails without: `closed` set under the lock; the collection of `recvq` in `close`.
#[test]
fn close_against_a_sender_and_a_receiver() {
    explore("chan 0: close, send, recv", 2, || {
        let (world, c) = (World::new(0), chan(0));
        let (world2, c2) = (world.clone(), c.clone());
        let sender = spawn(move || {
            world2.enter();
            match c2.send(value(1), Wait::Block) {
                Ok(()) => true,
                Err(SendError::Closed(v)) => {
                    assert_eq!(v.get(), 1);
                    false
                }
                Err(e) => panic!("{e}"),
            }
        });
        let (world2, c2) = (world.clone(), c.clone());
        let closer = spawn(move || {
            world2.enter();
            assert!(c2.close().is_ok());
        });
        world.enter();
        let got = recv(&c);
        closer.join().unwrap();
        assert_eq!(sender.join().unwrap(), got == Some(1));
        assert!(c.close().is_err());
        assert_quiet(&c);
    });
}

/// Proves: a close wakes a sender that waits or is about to; it keeps its value.
///
/// Bound: 2 threads, capacities 0 and 1 (full); 4 preemptions.
///
/// Fails without: the collection of `sendq` in `close`.
#[test]
fn close_against_a_sender() {
    for cap in 0..2 {
        explore(&format!("chan {cap}: close, send"), 4, move || {
            let (world, c) = (World::new(0), chan(cap));
            let (world2, c2) = (world.clone(), c.clone());
            let closer = spawn(move || {
                world2.enter();
                assert!(c2.close().is_ok());
            });
            world.enter();
            let sent = (0..=cap as u32).take_while(|v| c.send(value(*v), Wait::Block).is_ok());
            let sent = sent.count() as u32;
            closer.join().unwrap();
            assert!((0..sent).all(|v| recv(&c) == Some(v)) && recv(&c).is_none());
            assert_quiet(&c);
        });
    }
}

/// Proves: the checks without the lock are right: a `Try` receive says "closed" only after
/// everything sent before the close was received, and sees what was written to it; a `Try` send
/// finds the room that is there, or the close.
///
/// Bound: 2 threads, capacity 1; unbounded (16 preemptions).
///
/// Fails without: Acquire in `is_closed`; Release of `closed` in `close` (both: a value that was
/// sent is missed).
#[test]
fn try_operations_against_a_send_and_a_close() {
    explore("chan 1: try, send, close", 16, || {
        let (world, c) = (World::new(0), chan(1));
        let (world2, c2) = (world.clone(), c.clone());
        let trying = spawn(move || {
            world2.enter();
            let mut got = None;
            for _ in 0..3 {
                match c2.recv(Wait::Try) {
                    Ok(Some(v)) => assert_eq!(got.replace(v.get()), None),
                    Ok(None) => assert_eq!(got, Some(1), "closed before drained"),
                    Err(e) => assert_eq!(e, RecvError::Empty),
                }
            }
            if got.is_some() {
                // There is room again, and the other one sends no more.
                match c2.send(value(2), Wait::Try) {
                    Ok(()) => assert_eq!(recv(&c2), Some(2)),
                    Err(e) => assert!(matches!(e, SendError::Closed(v) if v.get() == 2)),
                }
            }
            got
        });
        world.enter();
        send(&c, 1);
        assert!(c.close().is_ok());
        let got = trying.join().unwrap();
        assert_eq!(recv(&c), if got.is_none() { Some(1) } else { None });
        assert!(matches!(c.send(value(3), Wait::Try), Err(SendError::Closed(_))));
    });
}

/// Proves: of a send and a receive that may time out both happen or neither; a value that was not
/// passed is given back; a side that timed out left no waiter behind.
///
/// Bound: 2 threads, capacity 0; 4 preemptions.
///
/// Fails without: `remove` after a wake that was no peer's; the claim in `dequeue_claimed` (a
/// waiter that timed out gets a value).
#[test]
fn a_timeout_against_a_peer() {
    explore("chan 0: timeouts", 4, || {
        let (world, c) = (World::new(0), chan(0));
        let (world2, c2) = (world.clone(), c.clone());
        let sender = spawn(move || {
            world2.enter();
            match c2.send(value(1), SOON) {
                Ok(()) => true,
                Err(SendError::Timeout(v)) => {
                    assert_eq!(v.get(), 1);
                    false
                }
                Err(e) => panic!("{e}"),
            }
        });
        world.enter();
        let got = match c.recv(SOON) {
            Ok(v) => v.map(|t| t.get()),
            Err(e) => {
                assert_eq!(e, RecvError::Timeout);
                None
            }
        };
        assert_eq!(sender.join().unwrap(), got == Some(1));
        assert_quiet(&c);
    });
}

/// Proves: an interrupt ends a receive that waits or is about to, or leaves it its value; the
/// sender then keeps its own.
///
/// Bound: 3 threads, capacity 0; 2 preemptions.
///
/// Fails without: the look at PENDING in `begin` (the receive sleeps on).
#[test]
fn an_interrupt_against_a_peer() {
    explore("chan 0: interrupt", 2, || {
        let (world, c) = (World::new(0), chan(0));
        let m = world.enter();
        let (world2, c2) = (world.clone(), c.clone());
        let sender = spawn(move || {
            world2.enter();
            c2.send(value(1), SOON).is_ok()
        });
        let gp = m.curg.get() as usize;
        let world2 = world.clone();
        let interrupter = spawn(move || {
            world2.enter();
            let gp = gp as *mut crate::runtime::object::g::G;
            // SAFETY: the receiver's G lives as long as the world.
            unsafe {
                if (*gp).wait.interrupt() {
                    crate::runtime::proc::ready::goready(gp);
                }
            }
        });
        let got = match c.recv(Wait::Block) {
            Ok(v) => v.map(|t| t.get()),
            Err(e) => {
                assert_eq!(e, RecvError::Interrupted);
                None
            }
        };
        interrupter.join().unwrap();
        assert_eq!(sender.join().unwrap(), got == Some(1));
        assert_quiet(&c);
    });
}
