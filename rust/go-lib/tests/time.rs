//! Sleeping.

mod common;

use std::time::{Duration, Instant};

use common::{alone, every_way, Rng};

#[test]
fn a_sleep_is_never_too_short() {
    every_way(|_| {
        for us in [0, 1, 50, 1000, 5000] {
            let begin = Instant::now();
            go_lib::sleep(Duration::from_micros(us));
            assert!(begin.elapsed() >= Duration::from_micros(us));
        }
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    every_way(|way| {
        let (tx, rx) = go_lib::chan::chan(16);
        let begin = Instant::now();
        let peers: Vec<_> = [150, 50, 100, 0]
            .into_iter()
            .map(|ms| {
                let tx = tx.clone();
                way.start(move || {
                    // One clock for all: a peer may begin late.
                    go_lib::sleep(Duration::from_millis(ms).saturating_sub(begin.elapsed()));
                    tx.send(ms);
                })
            })
            .collect();
        drop(tx);
        assert!(rx.iter().eq([0, 50, 100, 150]));
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn ten_thousand_sleepers_of_random_length_all_wake_up_in_time() {
    alone(|| {
        let mut rng = Rng::new("ten_thousand_sleepers");
        go_lib::run(move || {
            let wg = go_lib::sync::WaitGroup::new();
            let begin = Instant::now();
            for _ in 0..10_000 {
                let us = rng.below(200_000);
                wg.go(move || {
                    let begin = Instant::now();
                    go_lib::sleep(Duration::from_micros(us));
                    assert!(begin.elapsed() >= Duration::from_micros(us));
                });
            }
            wg.wait();
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        });
    });
}
