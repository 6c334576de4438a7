//! Select.

use std::sync::Arc;

use super::chan::{assert_quiet, value, SOON};
use super::{explore, spawn, Token, World};
use crate::runtime::block::chan::Hchan;
use crate::runtime::block::select::{selectgo, Case, SelectError};
use crate::runtime::object::wait::Wait;

pub(super) type Chan = Hchan<Box<Token>>;

/// Two channels whose addresses, by which select locks, are in the same order in every execution.
pub(super) fn pair(cap: usize) -> Arc<[Chan; 2]> {
    Arc::new([Hchan::try_new(cap).unwrap(), Hchan::try_new(cap).unwrap()])
}

/// Receives from one of `cs`: which, and what.
fn recv_any(cs: &[&Chan], wait: Wait) -> Result<(usize, Option<u32>), SelectError> {
    let mut cases: Vec<_> = cs.iter().map(|c| Case::Recv(c)).collect();
    selectgo(&mut cases, wait, false).map(|s| (s.index, s.value.map(|t| t.get())))
}

/// Sends `v` to one of `cs`: which.
fn send_any(cs: &[&Chan], v: u32, wait: Wait) -> Result<usize, SelectError> {
    let mut cases: Vec<_> = cs.iter().map(|c| Case::Send(c, Some(value(v)))).collect();
    selectgo(&mut cases, wait, false).map(|s| s.index)
}

/// Proves: a select over two channels with a sender on each gets both values, once each, with what
/// was written to them; the case that lost is taken out before the select returns.
///
/// Bound: 3 threads, capacities 0 and 1; 2 preemptions.
///
/// Fails without: pass 3 (the waiter that is left takes the second value); the second look in pass
/// 2; the locks held from there to the park.
#[test]
fn a_select_against_two_senders() {
    for cap in 0..2 {
        explore(&format!("select: two senders, cap {cap}"), 2, move || {
            let (world, cs) = (World::new(0), pair(cap));
            let senders: Vec<_> = (0..2)
                .map(|i| {
                    let (world, cs) = (world.clone(), cs.clone());
                    spawn(move || {
                        world.enter();
                        assert!(cs[i].send(value(i as u32), Wait::Block).is_ok());
                    })
                })
                .collect();
            world.enter();
            let mut got: Vec<_> = (0..2)
                .map(|_| {
                    let (i, v) = recv_any(&[&cs[0], &cs[1]], Wait::Block).unwrap();
                    assert_eq!(v, Some(i as u32));
                    i
                })
                .collect();
            got.sort_unstable();
            assert_eq!(got, [0, 1]);
            for s in senders {
                s.join().unwrap();
            }
            cs.iter().for_each(assert_quiet);
        });
    }
}

/// Proves: a select that receives and one that sends, on the same two channels in opposite order,
/// meet on exactly one of them; neither waits forever, for a lock or for the other.
///
/// Bound: 2 threads, 3 preemptions; one round, and two rounds with 2 preemptions.
///
/// Fails without: the sorted order of the locks (deadlock); the claim in `dequeue_claimed` (both
/// cases win).
#[test]
fn select_against_select() {
    for (rounds, preemptions) in [(1, 3), (2, 2)] {
        explore(&format!("select: against select, {rounds}"), preemptions, move || {
            let (world, cs) = (World::new(0), pair(0));
            let (world2, cs2) = (world.clone(), cs.clone());
            let sender = spawn(move || {
                world2.enter();
                (0..rounds)
                    .map(|i| send_any(&[&cs2[0], &cs2[1]], i, Wait::Block).unwrap())
                    .collect::<Vec<_>>()
            });
            world.enter();
            let mut got = Vec::new();
            for round in 0..rounds {
                let (i, v) = recv_any(&[&cs[1], &cs[0]], Wait::Block).unwrap();
                assert_eq!(v, Some(round));
                got.push(1 - i);
            }
            assert_eq!(sender.join().unwrap(), got);
            cs.iter().for_each(assert_quiet);
        });
    }
}

/// Proves: a close of one channel wakes a select that waits or is about to; the value that a
/// sender has for the other is received by it or kept, not lost.
///
/// Bound: 3 threads; 2 preemptions.
///
/// Fails without: the collection in `close`; pass 3.
#[test]
fn a_select_against_a_close() {
    explore("select: close", 2, || {
        let (world, cs) = (World::new(0), pair(0));
        let (world2, cs2) = (world.clone(), cs.clone());
        let closer = spawn(move || {
            world2.enter();
            assert!(cs2[0].close().is_ok());
        });
        let (world2, cs2) = (world.clone(), cs.clone());
        let sender = spawn(move || {
            world2.enter();
            cs2[1].send(value(7), SOON).is_ok()
        });
        world.enter();
        let got = recv_any(&[&cs[0], &cs[1]], Wait::Block).unwrap();
        closer.join().unwrap();
        assert_eq!(sender.join().unwrap(), got == (1, Some(7)));
        assert!(got == (1, Some(7)) || got == (0, None));
        cs.iter().for_each(assert_quiet);
    });
}

/// Proves: a select that sends is told of a close and keeps its value.
///
/// Bound: 2 threads; 4 preemptions.
///
/// Fails without: the collection of `sendq` in `close`.
#[test]
fn a_sending_select_against_a_close() {
    explore("select: sender and close", 4, || {
        let (world, cs) = (World::new(0), pair(0));
        let (world2, cs2) = (world.clone(), cs.clone());
        let closer = spawn(move || {
            world2.enter();
            assert!(cs2[1].close().is_ok());
        });
        world.enter();
        let got = send_any(&[&cs[0], &cs[1]], 1, Wait::Block);
        assert_eq!(got, Err(SelectError::SendOnClosed(1)));
        closer.join().unwrap();
        cs.iter().for_each(assert_quiet);
    });
}

/// Proves: two selects that may time out both pass a value or neither does, and neither leaves a
/// waiter on any channel.
///
/// Bound: 2 threads; 3 preemptions.
///
/// Fails without: pass 3; the claim in `dequeue_claimed`.
#[test]
fn selects_with_timeouts() {
    explore("select: timeouts", 3, || {
        let (world, cs) = (World::new(0), pair(0));
        let (world2, cs2) = (world.clone(), cs.clone());
        let sender = spawn(move || {
            world2.enter();
            send_any(&[&cs2[0], &cs2[1]], 5, SOON).ok()
        });
        world.enter();
        let got = recv_any(&[&cs[1], &cs[0]], SOON);
        let sent = sender.join().unwrap();
        match got {
            Ok((i, v)) => assert_eq!((sent, v), (Some(1 - i), Some(5))),
            Err(e) => assert_eq!((sent, e), (None, SelectError::Timeout)),
        }
        cs.iter().for_each(assert_quiet);
    });
}

/// Proves: a select without waiting, against a sender, takes its value or leaves it, and says
/// "nothing" only if that was so at one moment for all channels: a token that moves from one
/// channel to the other, and is always in one of them, is found.
///
/// Bound: 2 threads, capacity 1; 4 preemptions.
///
/// Fails without: the locks of all channels in pass 2 (pass 1 alone looks at them one by one).
#[test]
fn a_select_that_may_not_wait_sees_one_moment() {
    explore("select: one moment", 4, || {
        let (world, cs) = (World::new(0), pair(1));
        world.enter();
        assert!(cs[1].send(value(1), Wait::Block).is_ok());
        let (world2, cs2) = (world.clone(), cs.clone());
        let looking = spawn(move || {
            world2.enter();
            recv_any(&[&cs2[0], &cs2[1]], Wait::Try)
        });
        // The second is put in before the first is taken out.
        assert!(cs[0].send(value(2), Wait::Try).is_ok());
        let took = matches!(cs[1].recv(Wait::Try), Ok(Some(_)));
        match looking.join().unwrap() {
            Ok((0, v)) => assert_eq!(v, Some(2)),
            Ok((_, v)) => assert_eq!((v, took), (Some(1), false)),
            Err(e) => panic!("{e}, though there always was a value"),
        }
    });
}
