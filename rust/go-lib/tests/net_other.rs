//! UDP and Unix sockets, and conversions.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, OwnedSocket as OwnedFd};
use std::time::{Duration, Instant};

use common::{every_way, pair};
use go_lib::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use go_lib::net::{UnixDatagram, UnixListener, UnixStream};
use go_lib::runtime::embedder;
use go_lib::sync::WaitError;

const SHORT: Duration = Duration::from_millis(5);

/// A path that is no file yet.
#[cfg(unix)]
fn path() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    std::env::temp_dir().join(format!("go-lib-test-{}-{number}", std::process::id()))
}

#[test]
fn datagrams_keep_their_borders_and_senders() {
    every_way(|way| {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let receiver = way.start(move || {
            let mut buf = [0; 64];
            (0..100).map(|_| b.recv_from(&mut buf).unwrap()).all(|(n, who)| n == 10 && who == from)
        });
        for _ in 0..100 {
            a.send_to(&[1; 10], to).unwrap();
        }
        assert!(receiver.join());
    });
}

#[test]
fn a_datagram_socket_has_deadlines_and_a_close() {
    every_way(|way| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
        socket.set_deadline(None).unwrap();
        let other = socket.try_clone().unwrap();
        let receiver = way.start(move || other.recv(&mut [0; 1]));
        std::thread::sleep(SHORT);
        socket.close().unwrap();
        assert_eq!(receiver.join().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[cfg(unix)]
#[test]
fn unix_streams_carry_large_writes_and_ends() {
    every_way(|way| {
        let path = path();
        let listener = UnixListener::bind(&path).unwrap();
        let at = path.clone();
        let writer = way.start(move || {
            let mut stream = UnixStream::connect(at).unwrap();
            stream.write_all(&[7; 2_000_000]).unwrap();
        });
        let mut stream = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut data = Vec::new();
        stream.read_to_end(&mut data).unwrap();
        writer.join();
        assert!(data == [7; 2_000_000]);
        listener.set_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[cfg(unix)]
#[test]
fn a_full_queue_of_datagrams_is_waited_for() {
    every_way(|way| {
        let path = path();
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_write_timeout(Some(2 * SHORT)).unwrap();
        let mut sent = 0;
        let e = loop {
            match sender.send_to(&[0; 100], &path) {
                Ok(_) => sent += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(e.kind(), ErrorKind::TimedOut);
        sender.set_write_timeout(None).unwrap();
        let at = path.clone();
        let late = way.start(move || sender.send_to(&[0; 100], at).unwrap());
        for _ in 0..sent + 1 {
            assert_eq!(receiver.recv(&mut [0; 200]).unwrap(), 100);
        }
        late.join();
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn vectored_operations_use_all_buffers() {
    every_way(|_| {
        let (mut a, mut b) = pair();
        assert_eq!(a.write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]).unwrap(), 5);
        let (mut x, mut y) = ([0; 3], [0; 3]);
        let mut bufs = [IoSliceMut::new(&mut x), IoSliceMut::new(&mut y)];
        assert_eq!(b.read_vectored(&mut bufs).unwrap(), 5);
        assert_eq!((&x, &y[..2]), (b"hel", &b"lo"[..]));
    });
}

#[test]
fn sockets_come_from_std_and_go_back() {
    every_way(|way| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        let listener = TcpListener::try_from(listener).unwrap();
        let mut server = listener.accept().unwrap();
        let reader = way.start(move || {
            let mut client = TcpStream::try_from(client).unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            client
        });
        server.write_all(b"hello").unwrap();
        // Blocking again: a read of std's waits.
        let mut client = reader.join().into_std().unwrap();
        let writer = way.start(move || {
            std::thread::sleep(SHORT);
            server.write_all(b"x").unwrap();
        });
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
        writer.join();
        // And once more, by the bare descriptor; shared, it is copied.
        let client = TcpStream::try_from(OwnedFd::from(client)).unwrap();
        let clone = client.try_clone().unwrap();
        let copy = client.into_std().unwrap();
        #[cfg(unix)]
        let number = |of: &dyn AsRawFd| of.as_raw_fd();
        #[cfg(windows)]
        let number = |of: &dyn AsRawSocket| of.as_raw_socket() as i64;
        assert_ne!(number(&copy), number(&clone));
        clone.close().unwrap();
        assert_eq!(number(&clone), -1);
        assert!(clone.into_std().is_err() && copy.peer_addr().is_ok());
    });
}

#[test]
fn names_are_resolved() {
    every_way(|_| {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect(("localhost", port)).is_ok());
        assert!(TcpStream::connect("localhost:no port").is_err());
        assert!(TcpStream::connect(&[][..]).is_err());
    });
}

#[test]
fn an_interrupt_ends_a_read_and_can_be_told_from_a_failure() {
    every_way(|way| {
        let (a, _b) = pair();
        let (tell, told) = go_lib::chan::chan(1);
        let reader = way.start(move || {
            tell.send(embedder::current_or_thread());
            let result = a.read(&mut [0; 1]);
            (result, embedder::take_interrupt())
        });
        told.recv().unwrap().interrupt();
        let (result, was_pending) = reader.join();
        let error = result.unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<WaitError>());
        assert_eq!((inner, error.kind()), (Some(&WaitError::Interrupted), ErrorKind::Other));
        assert!(was_pending);
    });
}
