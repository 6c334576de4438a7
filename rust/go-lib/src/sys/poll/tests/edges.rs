//! The contract where every edge is reported, held against the backend that was built.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use super::{soon, woken, TAG};
use crate::sys::poll::{Poller, Until, BATCH, HANGUP, READ, WRITE};

pub(super) fn number(stream: &UnixStream) -> RawFd {
    stream.as_raw_fd()
}

pub(super) fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// The report of a `poll`, by tag: a backend may report a descriptor's directions together or
/// apart.
fn poll(poller: &Poller, until: Until) -> Vec<(u64, u8)> {
    let mut all: Vec<(u64, u8)> = Vec::new();
    for (tag, ready) in super::poll(poller, until) {
        match all.iter_mut().find(|(other, _)| *other == tag) {
            Some((_, bits)) => *bits |= ready,
            None => all.push((tag, ready)),
        }
    }
    all
}

/// A queue with one descriptor, whose first edge, that it can be written to, is taken.
pub(super) fn opened() -> (Poller, UnixStream, UnixStream) {
    let poller = Poller::new().unwrap();
    let (a, b) = pair();
    poller.open(a.as_raw_fd(), TAG).unwrap();
    assert_eq!(poll(&poller, Until::Now), [(TAG, WRITE)]);
    (poller, a, b)
}

#[test]
fn open_reports_at_once_what_holds_already() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    poller.open(a.as_raw_fd(), TAG).unwrap();
    assert_eq!(poll(&poller, Until::Now), [(TAG, READ | WRITE)]);
}

#[test]
fn an_edge_is_reported_once() {
    let (poller, mut a, mut b) = opened();
    for _ in 0..3 {
        b.write_all(b"x").unwrap();
        let [(TAG, ready)] = poll(&poller, soon())[..] else { panic!("not one report") };
        assert_eq!(ready & (READ | HANGUP), READ);
        assert_eq!(poll(&poller, Until::Now), []);
    }
    // A read that leaves room, then a new edge.
    assert_eq!(a.read(&mut [0; 8]).unwrap(), 3);
    assert_eq!(poll(&poller, Until::Now), []);
    b.write_all(b"x").unwrap();
    assert_eq!(poll(&poller, soon())[0].1 & READ, READ);
}

#[test]
fn room_to_write_is_an_edge() {
    let (poller, mut a, mut b) = opened();
    let mut written = 0;
    while let Ok(n) = a.write(&[0; 4096]) {
        written += n;
    }
    poll(&poller, Until::Now);
    let mut read = 0;
    while read < written {
        read += b.read(&mut [0; 4096]).unwrap();
    }
    let mut ready = 0;
    while ready & WRITE == 0 {
        ready = poll(&poller, soon())[0].1;
    }
}

#[test]
fn the_end_of_the_peers_side_is_a_hangup() {
    let (poller, a, b) = opened();
    b.shutdown(std::net::Shutdown::Write).unwrap();
    let reports = poll(&poller, soon());
    assert_eq!(reports[0].1 & (READ | HANGUP), READ | HANGUP);
    drop((a, b));
}

#[test]
fn a_peer_that_is_gone_is_an_edge_of_both_directions() {
    let (poller, mut a, b) = opened();
    drop(b);
    let mut ready = 0;
    while ready != READ | WRITE | HANGUP {
        ready |= poll(&poller, soon())[0].1;
    }
    assert_eq!(a.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn close_reports_nothing_more_and_the_number_can_be_used_again() {
    let (poller, a, mut b) = opened();
    let copy = a.try_clone().unwrap();
    poller.close(a.as_raw_fd(), TAG);
    b.write_all(b"x").unwrap();
    assert_eq!(poll(&poller, Until::Now), []);
    // The copy keeps the old one open, in which more arrives.
    let number = a.as_raw_fd();
    let (c, mut d) = pair();
    // SAFETY: the test owns both; the old descriptor of `a` is closed, and `a` owns the copy of c.
    assert_eq!(unsafe { libc::dup2(c.as_raw_fd(), number) }, number);
    poller.open(number, TAG + 1).unwrap();
    assert_eq!(poll(&poller, soon()), [(TAG + 1, WRITE)]);
    b.write_all(b"x").unwrap();
    assert_eq!(poll(&poller, Until::Now), []);
    d.write_all(b"x").unwrap();
    assert_eq!(poll(&poller, soon())[0].0, TAG + 1);
    poller.close(number, TAG);
    drop((a, copy));
}

#[test]
fn closing_what_is_not_there_is_harmless_and_opening_it_fails() {
    let poller = Poller::new().unwrap();
    let (a, _b) = pair();
    let number = a.as_raw_fd();
    poller.close(number, TAG);
    poller.open(number, TAG).unwrap();
    poller.close(number, TAG);
    poller.close(number, TAG);
    assert!(poller.open(-1, TAG).is_err());
    assert_eq!(poll(&poller, Until::Now), []);
}

#[test]
fn more_than_a_list_holds_is_reported_by_the_next_polls() {
    let poller = Poller::new().unwrap();
    let pairs: Vec<_> = (0..3 * BATCH)
        .map(|i| {
            let (a, mut b) = pair();
            b.write_all(b"x").unwrap();
            poller.open(a.as_raw_fd(), i as u64).unwrap();
            (a, b)
        })
        .collect();
    let mut seen = vec![0; pairs.len()];
    poller.wake();
    while seen.iter().any(|&ready| ready != READ | WRITE) {
        let reports = poll(&poller, Until::Now);
        assert_ne!(reports, [], "an edge was lost");
        reports.iter().for_each(|&(tag, ready)| seen[tag as usize] |= ready);
    }
    woken(&poller);
}
