//! Select: each kind of arm, fairness, ownership, timeouts, nil channels, many channels, stress.

mod common;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, panic_text, until, Counted, Rng};
use go_lib::chan::{chan, Receiver, RecvError, SendError, Sender};
use go_lib::select;
use go_lib::select::Select;

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn each_arm_wins_when_it_alone_can_proceed() {
    every_way(|_| {
        let (tx, rx) = chan(1);
        let (out, sink) = chan(1);
        let turn = |rx: &Receiver<i32>, out: &Sender<i32>| {
            select! {
                recv(rx) -> v => format!("recv {v:?}"),
                send(out, 7) => "send".to_string(),
                default => { "default".to_string() }
            }
        };
        assert_eq!(turn(&rx, &out), "send");
        assert_eq!(turn(&rx, &out), "default");
        tx.send(1);
        assert_eq!(turn(&rx, &out), "recv Some(1)");
        tx.close();
        assert_eq!(turn(&rx, &out), "recv None");
        assert_eq!(sink.recv(), Some(7));
    });
}

#[test]
fn arms_may_stand_in_any_order_and_in_any_number() {
    alone(|| {
        let channels: Vec<_> = (0..12).map(|_| chan::<usize>(1)).collect();
        for (i, (tx, _)) in channels.iter().enumerate() {
            tx.send(i);
            let r = |i: usize| &channels[i].1;
            let got = select! {
                default => panic!("nothing"),
                recv(r(0)) -> v => (0, v),
                recv(r(1)) -> v => { (1, v) }
                recv(r(2)) -> v => { (2, v) },
                recv(r(3)) -> v => (3, v),
                recv(r(4)) -> v => (4, v),
                recv(r(5)) -> v => (5, v),
                recv(r(6)) -> v => (6, v),
                recv(r(7)) -> v => (7, v),
                recv(r(8)) -> v => (8, v),
                recv(r(9)) -> v => (9, v),
                recv(r(10)) -> v => (10, v),
                recv(r(11)) -> v => (11, v),
            };
            assert_eq!(got, (i, Some(i)));
        }
        // One arm; an arm without a binding; a pattern; trailing commas.
        let (tx, rx) = chan(1);
        tx.send((1, 2));
        assert_eq!(select! { send(tx, (0, 0)) => 0, recv(rx,) => 1, }, 1);
        tx.send((1, 2));
        select! { recv(rx) -> v => assert_eq!(v, Some((1, 2))) }
        select! { timeout(SHORT) => () }
        select! { default => () }
    });
}

#[test]
fn expressions_are_evaluated_once_and_in_order() {
    alone(|| {
        let (tx, rx) = chan(1);
        let (out, _sink) = chan(0);
        tx.send(1);
        let log = RefCell::new(Vec::new());
        let say = |what| log.borrow_mut().push(what);
        select! {
            send({ say("out"); &out }, { say("value"); 1 }) => unreachable!(),
            recv({ say("rx"); &rx }) -> v => { say("body"); assert_eq!(v, Some(1)) }
            timeout({ say("timeout"); LONG }) => unreachable!(),
        }
        assert_eq!(*log.borrow(), ["out", "value", "rx", "timeout", "body"]);
    });
}

#[test]
fn a_send_value_is_consumed_on_a_win_and_dropped_on_a_loss() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = chan(1);
        let (never, _sink) = chan(0);
        select! {
            send(tx, Counted::new(1, &live)) => (),
            send(never, Counted::new(2, &live)) => unreachable!(),
        }
        assert_eq!(live.load(Ordering::SeqCst), 1);
        let got = select! {
            send(never, Counted::new(3, &live)) => unreachable!(),
            recv(rx) -> v => {
                assert_eq!(live.load(Ordering::SeqCst), 1, "the loser is dropped before the body");
                v
            }
        };
        assert_eq!(got.map(|v| v.value), Some(1));
        select! {
            send(never, Counted::new(4, &live)) => unreachable!(),
            timeout(SHORT) => (),
        }
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_send_arm_on_a_closed_channel_panics_and_drops_its_value() {
    alone(|| {
        let live = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = chan(0);
        tx.close();
        let (_tx2, rx2) = chan::<u8>(0);
        let text = panic_text(|| {
            select! {
                send(tx, Counted::new(1, &live)) => (),
                recv(rx2) -> _v => (),
            }
        });
        assert_eq!((text.as_str(), live.load(Ordering::SeqCst)), ("send on closed channel", 0));
        drop(rx);
    });
}

#[test]
fn bodies_may_break_continue_and_return() {
    fn first_even(rx: &Receiver<i32>) -> Result<i32, String> {
        loop {
            select! {
                recv(rx) -> v => {
                    let v = v.ok_or("closed")?;
                    if v % 2 == 1 {
                        continue;
                    }
                    return Ok(v);
                }
                timeout(LONG) => break,
            }
        }
        Err("timeout".into())
    }
    alone(|| {
        let (tx, rx) = chan(3);
        [1, 3, 4].into_iter().for_each(|v| tx.send(v));
        assert_eq!(first_even(&rx), Ok(4));
        tx.close();
        assert_eq!(first_even(&rx), Err("closed".to_string()));
    });
}

#[test]
fn a_channel_may_be_a_temporary_an_option_or_a_reference() {
    alone(|| {
        let (tx, rx) = chan(4);
        let make = || rx.clone();
        tx.send(1);
        select! { recv(make()) -> v => assert_eq!(v, Some(1)), default => unreachable!() }
        let nil: Option<Receiver<i32>> = None;
        let nil_tx: Option<&Sender<i32>> = None;
        select! {
            recv(nil) -> _v => unreachable!(),
            send(nil_tx, 1) => unreachable!(),
            timeout(SHORT) => (),
        }
        tx.send(2);
        select! {
            recv(nil) -> _v => unreachable!(),
            recv(Some(&rx)) -> v => assert_eq!(v, Some(2)),
        }
        // The body may use what the arms borrowed.
        let mut slot = Some(rx);
        tx.send(3);
        select! {
            recv(slot) -> v => { slot = None; assert_eq!(v, Some(3)) }
        }
        assert!(slot.is_none());
    });
}

#[test]
fn random_among_the_ready_is_fair() {
    every_way(|_| {
        let channels: Vec<_> = (0..4).map(|_| chan::<()>(4001)).collect();
        for (tx, _) in &channels {
            (0..4001).for_each(|_| tx.send(()));
        }
        let mut won = [0; 4];
        for _ in 0..4000 {
            let i = select! {
                recv(channels[0].1) -> _v => 0,
                recv(channels[1].1) -> _v => 1,
                recv(channels[2].1) -> _v => 2,
                recv(channels[3].1) -> _v => 3,
            };
            won[i] += 1;
        }
        // 1000 each; ten standard deviations are 270.
        assert!(won.iter().all(|n| (730..1270).contains(n)), "{won:?}");
    });
}

#[test]
fn a_select_in_order_takes_the_first() {
    alone(|| {
        let channels: Vec<_> = (0..10).map(|_| chan::<usize>(100)).collect();
        for (i, (tx, _)) in channels.iter().enumerate().skip(3) {
            (0..50).for_each(|_| tx.send(i));
        }
        for _ in 0..50 {
            let mut s = Select::new().in_order();
            channels.iter().for_each(|(_, rx)| _ = s.recv(rx));
            assert_eq!(s.wait().value, Some(3));
        }
    });
}

#[test]
fn a_waiting_select_is_woken_by_each_kind_of_peer() {
    every_way(|way| {
        for what in 0..3 {
            let (tx, rx) = chan(0);
            let (out, sink) = chan(0);
            let peer = way.start(move || {
                go_lib::sleep(Duration::from_millis(1));
                match what {
                    0 => tx.send(5),
                    1 => assert_eq!(sink.recv(), Some(6)),
                    _ => tx.close(),
                }
                (tx, sink)
            });
            let got = select! {
                recv(rx) -> v => v,
                send(out, 6) => Some(6),
                timeout(LONG) => panic!("timed out"),
            };
            assert_eq!(got, [Some(5), Some(6), None][what]);
            let (tx, sink) = peer.join();
            // The other case left no waiter.
            if what < 2 {
                assert_eq!(tx.try_send_ok(1), Err(SendError::Full(1)));
            }
            assert_eq!(sink.try_recv_ok(), Err(RecvError::Empty));
        }
    });
}

#[test]
fn a_select_that_timed_out_leaves_nothing_on_any_channel() {
    every_way(|_| {
        let channels: Vec<_> = (0..10).map(|_| chan::<u8>(0)).collect();
        let begin = Instant::now();
        let mut s = Select::new();
        for (tx, rx) in &channels {
            s.recv(rx);
            s.send(tx, 1);
        }
        // Both directions of one channel: a select does not meet itself.
        assert_eq!(s.wait_timeout(Duration::from_millis(5)), None);
        assert!(begin.elapsed() >= Duration::from_millis(5));
        for (tx, rx) in &channels {
            assert_eq!(tx.try_send_ok(1), Err(SendError::Full(1)));
            assert_eq!(rx.try_recv_ok(), Err(RecvError::Empty));
        }
    });
}

#[test]
fn one_channel_in_many_cases_is_received_from_once() {
    every_way(|way| {
        let (tx, rx) = chan(0);
        let peer = way.start(move || (0..50).for_each(|i| tx.send(i)));
        for i in 0..50 {
            let v = select! { recv(rx) -> v => v, recv(rx) -> v => v, recv(rx) -> v => v };
            assert_eq!(v, Some(i));
        }
        peer.join();
        assert_eq!(rx.recv(), None);
    });
}

#[test]
fn a_select_over_a_hundred_channels_gets_every_value() {
    every_way(|way| {
        let (txs, rxs): (Vec<_>, Vec<_>) = (0..100).map(|_| chan::<usize>(0)).unzip();
        let peers: Vec<_> = txs
            .iter()
            .cloned()
            .enumerate()
            .step_by(10)
            .map(|(i, tx)| way.start(move || (0..20).for_each(|_| tx.send(i))))
            .collect();
        let mut sum = 0;
        for _ in 0..200 {
            let mut s = Select::new();
            rxs.iter().for_each(|rx| _ = s.recv(rx));
            let done = s.wait();
            assert_eq!(done.value, Some(done.index));
            sum += done.index;
        }
        assert_eq!(sum, 20 * (0..100).step_by(10).sum::<usize>());
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn select_against_select_passes_each_value_once() {
    every_way(|way| {
        let (a, b) = (chan::<u32>(0), chan::<u32>(0));
        let (atx, btx) = (a.0, b.0);
        let peer = way.start(move || {
            let (mut on_a, mut on_b) = (0, 0);
            for i in 0..2000 {
                select! {
                    send(atx, i) => on_a += 1,
                    send(btx, i) => on_b += 1,
                }
            }
            (on_a, on_b)
        });
        let (mut next, mut on_a, mut on_b) = (0, 0, 0);
        while next < 2000 {
            let v = select! {
                recv(b.1) -> v => { on_b += 1; v }
                recv(a.1) -> v => { on_a += 1; v }
            };
            assert_eq!(v, Some(next));
            next += 1;
        }
        assert_eq!(peer.join(), (on_a, on_b));
    });
}

#[test]
fn two_selects_on_the_same_channels_in_opposite_order_do_not_deadlock() {
    every_way(|way| {
        let (a, b) = (chan::<u32>(0), chan::<u32>(0));
        let (atx, arx, btx, brx) = (a.0.clone(), a.1.clone(), b.0.clone(), b.1.clone());
        // Each both sends and receives on both: whatever one does, the other does the opposite.
        let turn =
            |rx1: &Receiver<u32>, tx1: &Sender<u32>, rx2: &Receiver<u32>, tx2: &Sender<u32>| {
                select! {
                    recv(rx1) -> v => i64::from(v.unwrap()),
                    send(tx2, 3) => -3,
                    recv(rx2) -> v => i64::from(v.unwrap()),
                    send(tx1, 3) => -3,
                }
            };
        let peer = way.start(move || (0..1000).map(|_| turn(&arx, &atx, &brx, &btx)).sum::<i64>());
        let mine: i64 = (0..1000).map(|_| turn(&b.1, &b.0, &a.1, &a.0)).sum();
        assert_eq!(mine + peer.join(), 0);
    });
}

#[test]
fn stress_selects_with_timeouts_and_a_close_account_for_every_value() {
    every_way(|way| {
        let mut seed = Rng::new("stress_selects");
        for _ in 0..6 {
            let live = Arc::new(AtomicUsize::new(0));
            let n = 2 + seed.below(3) as usize;
            let (txs, rxs): (Vec<_>, Vec<_>) =
                (0..n).map(|_| chan::<Counted>(seed.below(2) as usize)).unzip();
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let (txs, live, mut rng) = (txs.clone(), live.clone(), Rng(seed.next() | 1));
                    way.start(move || {
                        let mut sent = 0;
                        for i in 0..200 {
                            let (a, b) = (rng.below(n as u64), rng.below(n as u64));
                            select! {
                                send(txs[a as usize], Counted::new(i, &live)) => sent += 1,
                                send(txs[b as usize], Counted::new(i, &live)) => sent += 1,
                                timeout(Duration::from_micros(rng.below(100))) => (),
                            }
                        }
                        sent
                    })
                })
                .collect();
            let receivers: Vec<_> = (0..2)
                .map(|_| {
                    let (rxs, mut rng) = (rxs.clone(), Rng(seed.next() | 1));
                    way.start(move || {
                        let (mut got, mut open) = (0, rxs.iter().collect::<Vec<_>>());
                        while !open.is_empty() {
                            let mut s = Select::new();
                            open.iter().for_each(|rx| _ = s.recv(rx));
                            match s.wait_timeout(Duration::from_micros(rng.below(200))) {
                                Some(done) if done.ok => got += 1,
                                Some(done) => drop(open.remove(done.index)),
                                None => go_lib::gosched(),
                            }
                        }
                        got
                    })
                })
                .collect();
            let sent: i32 = senders.into_iter().map(common::Peer::join).sum();
            drop(txs);
            let received: i32 = receivers.into_iter().map(common::Peer::join).sum();
            assert_eq!((sent, live.load(Ordering::SeqCst)), (received, 0));
        }
    });
}

#[test]
fn a_goroutine_in_an_empty_select_waits_for_ever_and_shows_it() {
    // It never ends: in a process of its own.
    if common::is_again() {
        go_lib::run(|| {
            go_lib::go!(|| select! {});
            until(|| go_lib::debug::stacks().contains("[select (no cases)"));
            std::process::exit(7)
        });
    }
    let out = common::run_again("a_goroutine_in_an_empty_select_waits_for_ever_and_shows_it");
    assert_eq!(out.status.code(), Some(7), "{}", String::from_utf8_lossy(&out.stderr));
}
