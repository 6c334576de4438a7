//! What the contract says of waits and wakes, held against the backend that was built.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(windows)]
use super::afd::tests::{number, opened, pair};
use super::{Events, Poller, Until, READ};
use crate::sys::clock::nanotime;
#[cfg(unix)]
use edges::{number, opened, pair};

#[cfg(unix)]
mod edges;

pub(super) const TAG: u64 = 0x1234_5678_9abc_def0;
pub(super) const SECOND: i64 = 1_000_000_000;
/// Long enough for what must not happen.
pub(super) const NOT_NS: i64 = SECOND / 50;

/// The reports of a `poll`, as they come.
pub(super) fn poll(poller: &Poller, until: Until) -> Vec<(u64, u8)> {
    let mut events = Events::new();
    poller.poll(until, &mut events);
    events.iter().map(|event| (event.tag, event.ready)).collect()
}

pub(super) fn soon() -> Until {
    Until::At(nanotime() + 20 * SECOND)
}

/// A wait that a `wake` ends, and does so long before it ends by itself.
pub(super) fn woken(poller: &Poller) -> Vec<(u64, u8)> {
    let begin = nanotime();
    let reports = poll(poller, soon());
    assert!(nanotime() - begin < 10 * SECOND, "a wake was lost");
    reports
}

#[test]
fn a_wait_ends_in_time_and_not_before() {
    let (poller, _a, _b) = opened();
    for ns in [0, 1, 700_000, 1_000_000, 2_300_000, NOT_NS] {
        let at = nanotime() + ns;
        assert_eq!(poll(&poller, Until::At(at)), []);
        assert!(nanotime() >= at, "a wait of {ns} ns was short");
    }
    assert_eq!(poll(&poller, Until::At(nanotime() - SECOND)), []);
    // A wait of 300 years is one too.
    poller.wake();
    assert_eq!(poll(&poller, Until::At(i64::MAX)), []);
}

#[test]
fn a_wake_ends_the_next_wait_and_no_other_and_no_look_takes_it_away() {
    let (poller, _a, _b) = opened();
    for looks in 0..4 {
        poller.wake();
        poller.wake();
        for _ in 0..looks {
            assert_eq!(poll(&poller, Until::Now), []);
        }
        assert_eq!(woken(&poller), []);
        let at = nanotime() + NOT_NS;
        assert_eq!(poll(&poller, Until::At(at)), []);
        assert!(nanotime() >= at, "woken twice");
    }
}

#[test]
fn a_poll_without_a_wait_takes_no_wake_away() {
    let (poller, _a, _b) = opened();
    for polls in 0..4 {
        poller.wake();
        for _ in 0..polls {
            assert_eq!(poll(&poller, Until::Now), []);
        }
        assert_eq!(woken(&poller), []);
    }
}

/// One thread sleeps in the queue, another looks without a wait and changes what is watched, a third
/// asks, makes edges and wakes.
#[test]
fn stress_no_edge_and_no_wake_is_lost_among_threads() {
    const ROUNDS: usize = if cfg!(windows) { 300 } else { 2_000 };
    let (poller, mut a, mut b) = opened();
    let (edges, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let look = |reports: Vec<(u64, u8)>| {
        let n = reports.iter().filter(|(tag, ready)| *tag == TAG && ready & READ != 0).count();
        edges.fetch_add(n, Ordering::SeqCst);
    };
    let is_over = || rounds.load(Ordering::SeqCst) == ROUNDS;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over() {
                look(poll(&poller, Until::Now));
                let (c, _d) = pair();
                poller.open(number(&c), 1).unwrap();
                poller.ask(1, READ);
                poller.close(number(&c), 1);
            }
        });
        threads.spawn(|| {
            while !is_over() {
                look(woken(&poller));
            }
        });
        for round in 1..=ROUNDS {
            let (before, begin) = (edges.load(Ordering::SeqCst), nanotime());
            poller.ask(TAG, READ);
            b.write_all(b"x").unwrap();
            while edges.load(Ordering::SeqCst) == before {
                assert!(nanotime() - begin < 20 * SECOND, "an edge was lost in round {round}");
                std::thread::yield_now();
            }
            assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
            rounds.store(round, Ordering::SeqCst);
            // The last one lets the sleeper see that it is over.
            poller.wake();
        }
    });
}
