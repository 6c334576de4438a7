//! TCP: the ends of streams, deadlines, close under a wait, many at once.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{every_way, listen, pair, system, until, Way};
use go_lib::net::TcpStream;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(3600);

/// Waits until `n` goroutines or threads wait for I/O; of threads the dump does not tell.
fn until_parked(way: Way, n: usize) {
    if way.peer == common::Kind::Goroutine {
        until(|| go_lib::debug::stacks().matches("[IO wait").count() >= n);
    } else {
        std::thread::sleep(SHORT);
    }
}

/// Writes until nothing more is taken, and waits then; what ended that. One large write is no such thing: Windows takes any.
fn fill(mut stream: &TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[0; 65_536])?;
    }
}

#[test]
fn bytes_go_both_ways_until_the_end() {
    every_way(|way| {
        let (mut client, mut server) = pair();
        let echo = way.start(move || {
            let mut buf = [0; 4096];
            loop {
                let n = server.read(&mut buf).unwrap();
                if n == 0 {
                    return;
                }
                server.write_all(&buf[..n]).unwrap();
            }
        });
        for i in 0..100u32 {
            client.write_all(&i.to_ne_bytes()).unwrap();
            let mut four = [0; 4];
            client.read_exact(&mut four).unwrap();
            assert_eq!(u32::from_ne_bytes(four), i);
        }
        client.shutdown(Shutdown::Write).unwrap();
        echo.join();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_large_write_waits_for_its_reader() {
    every_way(|way| {
        let (client, mut server) = pair();
        let data: Vec<u8> = (0..8_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        let data2 = data.clone();
        let writer = way.start(move || {
            // Windows takes one write of any size.
            let part = if cfg!(windows) { 65_536 } else { data2.len() };
            data2.chunks(part).for_each(|part| (&client).write_all(part).unwrap());
        });
        until_parked(way, 1);
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        writer.join();
        assert!(got == data);
    });
}

#[test]
fn the_rest_is_read_after_the_peer_has_ended_in_the_same_moment() {
    // Data and end of the stream arrive as one edge; the read that takes the data must not make the
    // next one wait for another.
    every_way(|_| {
        for _ in 0..200 {
            let (mut client, server) = pair();
            client.write_all(b"x").unwrap();
            drop(client);
            let mut buf = [0; 8];
            assert_eq!(server.read(&mut buf).unwrap(), 1);
            assert_eq!(server.read(&mut buf).unwrap(), 0);
        }
    });
}

#[test]
fn the_other_direction_survives_a_half_close() {
    every_way(|_| {
        let (mut client, mut server) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        server.write_all(b"still here").unwrap();
        drop(server);
        assert_eq!(std::io::read_to_string(&mut client).unwrap(), "still here");
        assert!(client.write_all(b"x").is_err());
    });
}

#[test]
fn a_local_shutdown_ends_a_read_that_waits() {
    every_way(|way| {
        let (client, _server) = pair();
        let other = client.try_clone().unwrap();
        let reader = way.start(move || other.read(&mut [0; 1]).unwrap());
        until_parked(way, 1);
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join(), 0);
    });
}

#[test]
fn a_reset_reaches_who_waits() {
    every_way(|way| {
        let (client, server) = pair();
        let reader = way.start(move || client.read(&mut [0; 1]));
        until_parked(way, 1);
        // Closed with unread bytes, or by an abortive linger: both are a reset.
        let server = server.into_std().unwrap();
        system::reset_at_close(&server);
        drop(server);
        assert_eq!(reader.join().unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_refused_connection_says_so() {
    every_way(|_| {
        let (listener, addr) = listen();
        listener.close().unwrap();
        let e = TcpStream::connect(addr).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::ConnectionRefused);
        let e = TcpStream::connect_timeout(&addr, LONG).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::ConnectionRefused);
        assert!(TcpStream::connect("no such name.invalid:1").is_err());
    });
}

#[test]
fn a_past_deadline_ends_operations_at_once_also_with_data() {
    every_way(|_| {
        let (mut client, mut server) = pair();
        server.write_all(b"x").unwrap();
        client.set_read_deadline(Some(Instant::now() - SHORT)).unwrap();
        for _ in 0..3 {
            assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
        }
        client.write_all(b"not concerned").unwrap();
        client.set_read_deadline(None).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 1);
        client.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_deadline_ends_a_wait_in_time() {
    every_way(|_| {
        let (client, _server) = pair();
        for _ in 0..3 {
            let begin = Instant::now();
            client.set_read_deadline(Some(begin + SHORT)).unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG / 100);
        }
        let (listener, _) = listen();
        listener.set_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_deadline_moves_under_a_wait() {
    every_way(|way| {
        let (client, mut server) = pair();
        let client = Arc::new(client);
        // Forward, to now.
        client.set_read_deadline(Some(Instant::now() + LONG)).unwrap();
        let other = client.clone();
        let reader = way.start(move || other.read(&mut [0; 1]));
        until_parked(way, 1);
        client.set_read_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(reader.join().unwrap_err().kind(), ErrorKind::TimedOut);
        // Back, and away.
        for later in [Some(Instant::now() + LONG), None] {
            client.set_read_deadline(Some(Instant::now() + 20 * SHORT)).unwrap();
            let other = client.clone();
            let reader = way.start(move || other.read(&mut [0; 1]));
            until_parked(way, 1);
            client.set_read_deadline(later).unwrap();
            std::thread::sleep(22 * SHORT);
            server.write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap(), 1);
        }
    });
}

#[test]
fn a_timeout_is_of_each_operation() {
    every_way(|_| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        for _ in 0..2 {
            let begin = Instant::now();
            assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(begin.elapsed() >= SHORT);
            server.write_all(b"x").unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 1);
        }
        client.set_write_timeout(Some(SHORT)).unwrap();
        assert_eq!(fill(&client).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_close_wakes_who_reads_writes_and_accepts() {
    every_way(|way| {
        let (client, _server) = pair();
        let (listener, _) = listen();
        let (client, listener) = (Arc::new(client), Arc::new(listener));
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let other = client.clone();
            waiting.push(way.start(move || other.read(&mut [0; 1]).map(|_| ())));
            let other = client.clone();
            waiting.push(way.start(move || fill(&other)));
            let other = listener.clone();
            waiting.push(way.start(move || other.accept().map(|_| ())));
        }
        until_parked(way, 9);
        client.close().unwrap();
        listener.close().unwrap();
        for w in waiting {
            let e = w.join().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::NotConnected);
            assert_eq!(e.to_string(), "use of closed network connection");
        }
        assert!(client.close().is_err() && client.local_addr().is_err());
        assert!(client.set_deadline(None).is_err());
    });
}

#[test]
fn one_reads_at_a_time() {
    every_way(|way| {
        let (client, mut server) = pair();
        let client = Arc::new(client);
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                way.start(move || {
                    let (mut sum, mut buf) = (0, [0; 100]);
                    loop {
                        // 100 equal bytes, or the end: another reader in between would mix them.
                        match (&*client).read_exact(&mut buf[..1]) {
                            Ok(()) => sum += 1,
                            Err(_) => return sum,
                        }
                    }
                })
            })
            .collect();
        for _ in 0..50 {
            server.write_all(&[7; 20]).unwrap();
        }
        drop(server);
        assert_eq!(readers.into_iter().map(common::Peer::join).sum::<u32>(), 1000);
    });
}
