//! The contract where edges are asked for, held against the backend for Windows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, RawSocket};

use super::super::tests::{poll, soon, NOT_NS, TAG};
use super::{Poller, Until, HANGUP, READ, WRITE};
use crate::sys::clock::nanotime;

pub(crate) fn number(stream: &TcpStream) -> RawSocket {
    stream.as_raw_socket()
}

pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    a.set_nodelay(true).unwrap();
    b.set_nodelay(true).unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// The first reports that come.
fn reports(poller: &Poller) -> Vec<(u64, u8)> {
    poll(poller, soon())
}

/// Nothing is reported for a while.
fn none(poller: &Poller) -> bool {
    poll(poller, Until::At(nanotime() + NOT_NS)).is_empty()
}

pub(crate) fn opened() -> (Poller, TcpStream, TcpStream) {
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
