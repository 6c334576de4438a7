//! The contract where edges are asked for, held against the backend for Windows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::AsRawSocket;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Events, Poller, Until, HANGUP, READ, WRITE};
use crate::sys::clock::nanotime;

const TAG: u64 = 0x1234_5678_9abc_def0;
const SECOND: i64 = 1_000_000_000;
/// Long enough for what must not happen.
const NOT_NS: i64 = SECOND / 50;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    a.set_nodelay(true).unwrap();
    b.set_nodelay(true).unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// The reports of a `poll`, one a direction.
fn poll(poller: &Poller, until: Until) -> Vec<(u64, u8)> {
    let mut events = Events::new();
    poller.poll(until, &mut events);
    events.iter().map(|event| (event.tag, event.ready)).collect()
}

/// The first reports that come.
fn reports(poller: &Poller) -> Vec<(u64, u8)> {
    poll(poller, Until::At(nanotime() + 20 * SECOND))
}

/// Nothing is reported for a while.
fn none(poller: &Poller) -> bool {
    poll(poller, Until::At(nanotime() + NOT_NS)).is_empty()
}

/// A wait that a `wake` ends, and does so long before it ends by itself.
fn is_woken(poller: &Poller) -> bool {
    let begin = nanotime();
    reports(poller).is_empty() && nanotime() - begin < 10 * SECOND
}

fn opened() -> (Poller, TcpStream, TcpStream) {
    let poller = Poller::new().unwrap();
    let (a, b) = pair();
    poller.open(a.as_raw_socket(), TAG).unwrap();
    (poller, a, b)
}

#[test]
fn a_direction_is_reported_when_it_is_asked_for_and_once() {
    let (poller, mut a, mut b) = opened();
    assert!(none(&poller));
    poller.ask(TAG, WRITE);
    assert_eq!(reports(&poller), [(TAG, WRITE)]);
    assert!(none(&poller));
    poller.ask(TAG, READ);
    poller.ask(TAG, READ);
    assert!(none(&poller));
    b.write_all(b"x").unwrap();
    assert_eq!(reports(&poller), [(TAG, READ)]);
    assert!(none(&poller), "asked twice, reported once");
    // What holds already is reported at once.
    poller.ask(TAG, READ);
    assert_eq!(reports(&poller), [(TAG, READ)]);
    assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
    poller.ask(TAG, READ);
    assert!(none(&poller));
}

#[test]
fn directions_do_not_disturb_each_other() {
    let (poller, _a, mut b) = opened();
    poller.ask(TAG, READ);
    assert!(none(&poller));
    for _ in 0..3 {
        poller.ask(TAG, WRITE);
        assert_eq!(reports(&poller), [(TAG, WRITE)]);
    }
    b.write_all(b"x").unwrap();
    assert_eq!(reports(&poller), [(TAG, READ)]);
}

#[test]
fn the_end_of_the_peers_side_is_a_hangup() {
    let (poller, mut a, b) = opened();
    poller.ask(TAG, READ);
    b.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reports(&poller)[0].1 & (READ | HANGUP), READ | HANGUP);
    assert_eq!(a.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn what_is_closed_reports_nothing_whatever_was_asked_before() {
    let (poller, a, mut b) = opened();
    poller.ask(TAG, READ);
    poller.close(a.as_raw_socket(), TAG);
    poller.ask(TAG, READ | WRITE);
    b.write_all(b"x").unwrap();
    assert!(none(&poller));
    poller.close(a.as_raw_socket(), TAG);
    // The same socket again.
    poller.open(a.as_raw_socket(), TAG + 1).unwrap();
    poller.ask(TAG + 1, READ);
    assert_eq!(reports(&poller), [(TAG + 1, READ)]);
    assert!(poller.open(u64::MAX, TAG).is_err());
}

#[test]
fn a_socket_that_is_closed_under_a_request_harms_nobody() {
    let (poller, a, _b) = opened();
    poller.ask(TAG, READ);
    drop(a);
    poller.close(0, TAG);
    assert!(none(&poller));
}

#[test]
fn a_wait_ends_in_time_and_not_before() {
    let poller = Poller::new().unwrap();
    for ns in [0, 1, 700_000, 1_000_000, 2_300_000, NOT_NS] {
        let at = nanotime() + ns;
        assert_eq!(poll(&poller, Until::At(at)), []);
        assert!(nanotime() >= at, "a wait of {ns} ns was short");
    }
    assert_eq!(poll(&poller, Until::At(nanotime() - SECOND)), []);
    poller.wake();
    assert_eq!(poll(&poller, Until::At(i64::MAX)), []);
}

#[test]
fn a_wake_ends_the_next_wait_and_no_other_and_no_look_takes_it_away() {
    let poller = Poller::new().unwrap();
    for looks in 0..4 {
        poller.wake();
        poller.wake();
        for _ in 0..looks {
            assert_eq!(poll(&poller, Until::Now), []);
        }
        assert!(is_woken(&poller));
        let at = nanotime() + NOT_NS;
        assert_eq!(poll(&poller, Until::At(at)), []);
        assert!(nanotime() >= at, "woken twice");
    }
}

/// One thread sleeps in the queue, another looks without a wait and changes what is watched, a third asks, makes edges and wakes.
#[test]
fn stress_no_edge_and_no_wake_is_lost_among_threads() {
    const ROUNDS: usize = 300;
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
                poller.open(c.as_raw_socket(), 1).unwrap();
                poller.ask(1, READ);
                poller.close(c.as_raw_socket(), 1);
            }
        });
        threads.spawn(|| {
            while !is_over() {
                look(reports(&poller));
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
