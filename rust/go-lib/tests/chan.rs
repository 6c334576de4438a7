//! Channels: the table of states, order, ownership, closing, timeouts, stress.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, every_way, panic_text, until, Counted, Rng, Way};
use go_lib::chan::{chan, CloseOfClosed, RecvError, SendError};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_table_of_states_holds_for_each_operation() {
    every_way(|_| {
        for cap in [0, 1, 3] {
            let (tx, rx) = chan(cap);
            // Empty.
            assert_eq!(rx.try_recv_ok(), Err(RecvError::Empty));
            assert_eq!(rx.recv_timeout(SHORT), Err(RecvError::Timeout));
            assert_eq!((rx.try_recv(), tx.len(), rx.cap()), (None, 0, cap));
            // Full.
            for i in 0..cap {
                assert_eq!(tx.try_send_ok(i), Ok(()));
                assert_eq!(rx.len(), i + 1);
            }
            assert_eq!(tx.try_send_ok(99), Err(SendError::Full(99)));
            assert_eq!(tx.send_timeout(98, SHORT), Err(SendError::Timeout(98)));
            assert!(!tx.try_send(97));
            assert!(!tx.is_closed());
            // Closed, not drained.
            tx.close();
            assert!(tx.is_closed() && rx.is_closed());
            assert_eq!(tx.try_send_ok(96), Err(SendError::Closed(96)));
            assert_eq!(tx.send_ok(95), Err(SendError::Closed(95)));
            assert_eq!(tx.send_timeout(94, SHORT), Err(SendError::Closed(94)));
            assert_eq!(tx.close_ok(), Err(CloseOfClosed));
            for i in 0..cap {
                match i % 3 {
                    0 => assert_eq!(rx.recv(), Some(i)),
                    1 => assert_eq!(rx.try_recv_ok(), Ok(Some(i))),
                    _ => assert_eq!(rx.recv_timeout(SHORT), Ok(Some(i))),
                }
            }
            // Closed and drained.
            assert_eq!(rx.recv(), None);
            assert_eq!(rx.try_recv_ok(), Ok(None));
            assert_eq!(rx.recv_timeout(LONG), Ok(None));
            assert_eq!(rx.iter().next(), None);
        }
    });
}

#[test]
fn misuse_panics_with_gos_words() {
    alone(|| {
        let (tx, rx) = chan(1);
        tx.close();
        assert_eq!(panic_text(|| tx.send(1)), "send on closed channel");
        assert_eq!(panic_text(|| _ = tx.try_send(1)), "send on closed channel");
        assert_eq!(panic_text(|| tx.close()), "close of closed channel");
        assert_eq!(panic_text(|| drop(chan::<u64>(usize::MAX))), "makechan: size out of range");
        assert_eq!(rx.recv(), None);
    });
}

#[test]
fn an_unbuffered_send_returns_only_after_its_receive_has_begun() {
    every_way(|way| {
        let (tx, rx) = chan(0);
        let sent = Arc::new(AtomicUsize::new(0));
        let sent2 = sent.clone();
        let sender = way.start(move || {
            for i in 0..100 {
                tx.send(i);
                sent2.store(i + 1, Ordering::SeqCst);
            }
        });
        for i in 0..100 {
            assert!(sent.load(Ordering::SeqCst) <= i);
            assert_eq!(rx.recv(), Some(i));
        }
        sender.join();
        assert_eq!(rx.recv(), None);
    });
}

#[test]
fn values_of_one_sender_arrive_in_order() {
    every_way(|way| {
        for cap in [0, 1, 2, 7, 128] {
            let (tx, rx) = chan(cap);
            let sender = way.start(move || (0..2000).for_each(|i| tx.send(i)));
            assert!(rx.iter().eq(0..2000));
            sender.join();
        }
    });
}

#[test]
fn waiting_senders_are_served_in_the_order_in_which_they_came() {
    every_way(|way| {
        let (tx, rx) = chan(2);
        let peers: Vec<_> = (0..6)
            .map(|i| {
                let (started, begun) = chan(0);
                let tx = tx.clone();
                let peer = way.start(move || {
                    started.send(());
                    tx.send(i);
                });
                begun.recv();
                // The next one begins only when this one has surely queued up, on a busy machine and under an emulator, too.
                if i >= 2 {
                    let ms = if cfg!(windows) { 100 } else { 20 };
                    go_lib::sleep(Duration::from_millis(ms));
                } else {
                    until(|| rx.len() > i);
                }
                peer
            })
            .collect();
        assert!(rx.iter().take(6).eq(0..6));
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn zero_sized_and_large_values_pass_unharmed() {
    every_way(|way| {
        let (tx, rx) = chan::<()>(3);
        let peer = way.start(move || (0..10).for_each(|_| tx.send(())));
        assert_eq!(rx.iter().count(), 10);
        peer.join();
        let (tx, rx) = chan::<[u64; 300]>(1);
        let peer = way.start(move || (0..10).for_each(|i| tx.send([i; 300])));
        for (i, v) in rx.iter().enumerate() {
            assert!(v.iter().all(|x| *x == i as u64));
        }
        peer.join();
        let (tx, rx) = chan::<()>(usize::MAX); // needs no memory
        tx.send(());
        assert_eq!((tx.cap(), rx.len()), (usize::MAX, 1));
    });
}

#[test]
fn every_value_is_dropped_exactly_once() {
    every_way(|way| {
        let live = Arc::new(AtomicUsize::new(0));
        // Left in the buffer, refused, timed out, given back by a close.
        let (tx, rx) = chan(2);
        tx.send(Counted::new(1, &live));
        tx.send(Counted::new(2, &live));
        assert_eq!(tx.try_send_ok(Counted::new(3, &live)).unwrap_err().into_inner().value, 3);
        let e = tx.send_timeout(Counted::new(4, &live), SHORT).unwrap_err();
        assert!(matches!(&e, SendError::Timeout(v) if v.value == 4));
        drop(e);
        assert_eq!(live.load(Ordering::SeqCst), 2);
        let (tx2, live2) = (tx.clone(), live.clone());
        let waiting = way.start(move || tx2.send_ok(Counted::new(5, &live2)));
        until(|| live.load(Ordering::SeqCst) == 3);
        go_lib::sleep(SHORT);
        tx.close();
        assert!(matches!(waiting.join(), Err(SendError::Closed(v)) if v.value == 5));
        assert_eq!(rx.recv().map(|v| v.value), Some(1));
        assert_eq!(live.load(Ordering::SeqCst), 1);
        drop((tx, rx));
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_close_wakes_all_who_wait() {
    every_way(|way| {
        let (tx, rx) = chan::<u8>(0);
        let receivers: Vec<_> = (0..20)
            .map(|_| {
                let rx = rx.clone();
                way.start(move || rx.recv())
            })
            .collect();
        let (full, _rx2) = chan(1);
        full.send(0);
        let senders: Vec<_> = (0..20)
            .map(|i| {
                let full = full.clone();
                way.start(move || full.send_ok(i))
            })
            .collect();
        go_lib::sleep(Duration::from_millis(5));
        tx.close();
        full.close();
        for (i, s) in senders.into_iter().enumerate() {
            assert_eq!(s.join(), Err(SendError::Closed(i as i32)));
        }
        assert!(receivers.into_iter().all(|r| r.join().is_none()));
    });
}

#[test]
fn the_last_sender_that_is_dropped_closes() {
    every_way(|way| {
        let (tx, rx) = chan(1);
        let tx2 = tx.clone();
        drop(tx);
        assert!(!rx.is_closed());
        let peer = way.start(move || tx2.send(1));
        assert_eq!((rx.recv(), rx.recv()), (Some(1), None));
        peer.join();
        // One that was closed by hand is not closed again, nor when a goroutine panics.
        let (tx, rx) = chan::<u8>(0);
        tx.close();
        drop(tx);
        assert!(rx.is_closed());
        let (tx, rx) = chan::<u8>(0);
        let peer = way.start(move || {
            let _tx = tx;
            std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new("quiet"))).unwrap_err();
        });
        assert_eq!(rx.recv(), None);
        peer.join();
    });
}

#[test]
fn an_operation_that_timed_out_leaves_nothing() {
    every_way(|_| {
        let (tx, rx) = chan(0);
        for i in 0..50 {
            assert_eq!(rx.recv_timeout(Duration::from_micros(100)), Err(RecvError::Timeout));
            assert_eq!(tx.send_timeout(i, Duration::from_micros(100)), Err(SendError::Timeout(i)));
        }
        // A waiter left behind would take or offer a value here.
        assert_eq!(tx.try_send_ok(1), Err(SendError::Full(1)));
        assert_eq!(rx.try_recv_ok(), Err(RecvError::Empty));
    });
}

#[test]
fn a_timeout_is_not_early_and_a_deadline_far_away_waits() {
    every_way(|way| {
        let (tx, rx) = chan::<u8>(0);
        let begin = Instant::now();
        assert_eq!(rx.recv_timeout(Duration::from_millis(20)), Err(RecvError::Timeout));
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvError::Timeout));
        let peer = way.start(move || {
            go_lib::sleep(Duration::from_millis(5));
            tx.send_timeout(1, Duration::MAX)
        });
        assert_eq!(rx.recv_timeout(Duration::MAX), Ok(Some(1)));
        assert_eq!(peer.join(), Ok(()));
    });
}

#[test]
fn a_timeout_against_a_send_loses_no_value() {
    every_way(|way| {
        let mut rng = Rng::new("a_timeout_against_a_send_loses_no_value");
        let (tx, rx) = chan(0);
        let peer = way.start(move || {
            let mut sent = 0;
            for i in 0..300_u64 {
                let mut v = i;
                while let Err(e) = tx.send_timeout(v, Duration::from_micros(30)) {
                    v = e.into_inner();
                }
                sent += i;
            }
            sent
        });
        let mut received = 0;
        loop {
            match rx.recv_timeout(Duration::from_micros(10 + rng.below(60))) {
                Ok(Some(v)) => received += v,
                Ok(None) => break,
                Err(e) => assert_eq!(e, RecvError::Timeout),
            }
        }
        assert_eq!(received, peer.join());
    });
}

#[test]
fn iterators_borrow_and_own() {
    alone(|| {
        let (tx, rx) = chan(3);
        (0..3).for_each(|i| tx.send(i));
        drop(tx);
        let mut sum = 0;
        for v in &rx {
            sum += v;
        }
        assert_eq!((sum, rx.into_iter().count()), (3, 0));
        let (tx, rx) = chan(1);
        tx.send('x');
        assert_eq!(format!("{tx:?}"), "Sender { len: 1, cap: 1, closed: false }");
        assert_eq!(format!("{rx:?}"), "Receiver { len: 1, cap: 1, closed: false }");
    });
}

#[test]
fn a_panicking_goroutine_gives_its_values_back() {
    alone(|| {
        let live = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = chan(4);
        let (live2, peer_rx) = (live.clone(), rx.clone());
        let peer = common::start(common::Kind::Goroutine, move || {
            let _held = peer_rx.recv();
            let _more = Counted::new(2, &live2);
            std::panic::resume_unwind(Box::new("quiet"));
        });
        tx.send(Counted::new(1, &live));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| peer.join())).is_err());
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

/// Random senders and receivers, blocking, trying and with timeouts, on one channel.
fn stress(way: Way, seed: &mut Rng) {
    let cap = [0, 1, 2, 16][seed.below(4) as usize];
    let (senders, receivers) = (1 + seed.below(4), 1 + seed.below(4));
    let live = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = chan(cap);
    let producers: Vec<_> = (0..senders)
        .map(|s| {
            let (tx, live, mut rng) = (tx.clone(), live.clone(), Rng(seed.next() | 1));
            way.start(move || {
                for i in 0..400 {
                    let mut v = Counted::new(s * 1000 + i, &live);
                    loop {
                        let r = match rng.below(4) {
                            0 => tx.try_send_ok(v),
                            1 => tx.send_timeout(v, Duration::from_micros(rng.below(50))),
                            _ => tx.send_ok(v),
                        };
                        match r {
                            Ok(()) => break,
                            Err(e) => v = e.into_inner(),
                        }
                        go_lib::gosched();
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let consumers: Vec<_> = (0..receivers)
        .map(|_| {
            let (rx, mut rng) = (rx.clone(), Rng(seed.next() | 1));
            way.start(move || {
                let mut got = Vec::new();
                loop {
                    let r = match rng.below(4) {
                        0 => rx.try_recv_ok(),
                        1 => rx.recv_timeout(Duration::from_micros(rng.below(50))),
                        _ => Ok(rx.recv()),
                    };
                    match r {
                        Ok(Some(v)) => got.push(v.value),
                        Ok(None) => return got,
                        Err(_) => go_lib::gosched(),
                    }
                }
            })
        })
        .collect();
    producers.into_iter().for_each(common::Peer::join);
    let mut all: Vec<u64> = Vec::new();
    for c in consumers {
        let got = c.join();
        for s in 0..senders {
            let of_one: Vec<_> = got.iter().filter(|v| **v / 1000 == s).collect();
            assert!(of_one.is_sorted(), "one sender's values were reordered");
        }
        all.extend(got);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq((0..senders).flat_map(|s| (0..400).map(move |i| s * 1000 + i))));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn stress_nothing_is_lost_doubled_or_reordered() {
    every_way(|way| {
        let mut seed = Rng::new("stress_nothing_is_lost_doubled_or_reordered");
        for _ in 0..8 {
            stress(way, &mut seed);
        }
    });
}

#[test]
fn stress_a_close_among_senders_and_receivers_accounts_for_every_value() {
    every_way(|way| {
        let mut seed = Rng::new("stress_a_close");
        for _ in 0..30 {
            let (tx, rx) = chan(seed.below(3) as usize);
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let tx = tx.clone();
                    way.start(move || (0..).take_while(|i| tx.send_ok(*i).is_ok()).count())
                })
                .collect();
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let rx = rx.clone();
                    way.start(move || rx.iter().count())
                })
                .collect();
            go_lib::sleep(Duration::from_micros(seed.below(300)));
            tx.close();
            let sent: usize = senders.into_iter().map(common::Peer::join).sum();
            let received: usize = receivers.into_iter().map(common::Peer::join).sum();
            assert_eq!(sent, received);
        }
    });
}
