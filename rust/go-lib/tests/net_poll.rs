//! The network poller: many at once, descriptors used again, limits, fork, idleness.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::system::{allow_fds, cpu_time, open_fds};
use common::{alone, every_way, listen, pair, Rng};
use go_lib::net::{TcpListener, TcpStream};
use go_lib::runtime::embedder;
use go_lib::sync::WaitGroup;

const SHORT: Duration = Duration::from_millis(5);

/// Echoes what each connection sends until the listener is closed.
fn serve(listener: &Arc<TcpListener>) {
    let listener = listener.clone();
    go_lib::go!(move || {
        while let Ok(mut stream) = listener.accept() {
            go_lib::go!(move || {
                let mut buf = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buf) {
                    if stream.write_all(&buf[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// Sends `message` and reads its echo.
fn exchange(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(echo, message);
}

/// Runs a test of this file in a process of its own, where `in_child` is true.
fn child(test: &str, envs: &[(&str, &str)]) {
    let mut command = common::program(&std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(IN_CHILD, "1");
    let output = command.envs(envs.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

const IN_CHILD: &str = "GOLIB_TEST_IN_CHILD";

fn in_child() -> bool {
    std::env::var_os(IN_CHILD).is_some()
}

/// Connects `n` times at once, to a server that has as many goroutines.
fn storm(n: usize) {
    let (listener, addr) = listen();
    let listener = Arc::new(listener);
    serve(&listener);
    let (all, wg) = (Arc::new(WaitGroup::new()), Arc::new(AtomicUsize::new(0)));
    for i in 0..n {
        all.add(1);
        let (all, done) = (all.clone(), wg.clone());
        go_lib::go!(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            exchange(&mut stream, &i.to_ne_bytes());
            // All are open at the same time.
            done.fetch_add(1, Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < n {
                go_lib::sleep(SHORT);
            }
            exchange(&mut stream, &i.to_be_bytes());
            all.done();
        });
    }
    all.wait();
    listener.close().unwrap();
}

#[test]
fn a_thousand_connections_at_once() {
    assert!(allow_fds(4096), "the limit of descriptors is too low for this test");
    alone(|| {
        go_lib::run(|| {
            storm(10);
            let before = open_fds();
            storm(1000);
            common::until(|| open_fds() <= before);
        });
    });
}

#[test]
#[ignore = "takes a while"]
fn ten_thousand_connections_at_once() {
    // Both ends are in this process.
    assert!(allow_fds(20_000), "the limit of descriptors is too low for this test");
    alone(|| go_lib::run(|| storm(9_900)));
}

#[test]
fn stress_a_descriptor_that_is_used_again_wakes_its_new_owner_only() {
    every_way(|way| {
        let mut seed = Rng::new("stress_a_descriptor");
        let (listener, addr) = listen();
        let listener = Arc::new(listener);
        serve(&listener);
        let peers: Vec<_> = (0..4u64)
            .map(|peer| {
                let mut rng = Rng(seed.next() | 1);
                way.start(move || {
                    for i in 0..60 {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        match rng.below(5) {
                            0 => (),
                            1 => {
                                // Left with an answer under way.
                                stream.write_all(&[0xff; 100]).unwrap();
                            }
                            2 => {
                                let at = Instant::now() + Duration::from_micros(rng.below(300));
                                stream.set_deadline(Some(at)).unwrap();
                                let e = stream.read(&mut [0; 1]).unwrap_err();
                                assert_eq!(e.kind(), ErrorKind::TimedOut);
                            }
                            3 => {
                                let other = stream.try_clone().unwrap();
                                let reader = way.start(move || other.read(&mut [0; 1]));
                                if rng.below(2) == 0 {
                                    go_lib::gosched();
                                }
                                stream.close().unwrap();
                                assert!(reader.join().is_err());
                            }
                            _ => {
                                for k in 0..4u64 {
                                    exchange(&mut stream, &(peer << 32 | i << 8 | k).to_ne_bytes());
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
        listener.close().unwrap();
    });
}

#[test]
fn nothing_is_left_open() {
    every_way(|_| {
        drop(pair());
        let before = open_fds();
        for _ in 0..20 {
            let (client, server) = pair();
            let clone = client.try_clone().unwrap();
            drop((client, server.into_std().unwrap()));
            clone.close().unwrap();
            assert!(TcpStream::connect("127.0.0.1:1").is_err());
        }
        // Fewer: a test before this one has let go of what it had only now.
        assert!(open_fds() <= before);
    });
}

#[cfg(unix)]
#[test]
fn a_connection_that_nobody_answers_times_out() {
    every_way(|_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        // SAFETY: no pointers.
        unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) };
        // Beyond the backlog the kernel is silent.
        let mut streams = Vec::new();
        let e = loop {
            let begin = Instant::now();
            match TcpStream::connect_timeout(&addr, 4 * SHORT) {
                Ok(stream) => streams.push(stream),
                Err(e) => {
                    assert!(begin.elapsed() >= 4 * SHORT);
                    break e;
                }
            }
            assert!(streams.len() < 100);
        };
        assert_eq!(e.kind(), ErrorKind::TimedOut);
    });
}

#[cfg(unix)]
#[test]
fn accept_outlives_the_limit_of_descriptors() {
    if !in_child() {
        return child("accept_outlives_the_limit_of_descriptors", &[]);
    }
    alone(|| {
        go_lib::run(|| {
            let (listener, addr) = listen();
            drop(TcpStream::connect(addr).unwrap());
            listener.accept().unwrap();
            let fill = |n| (0..n).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
            assert!(allow_fds(64));
            let client = std::net::TcpStream::connect(addr).unwrap();
            let mut files: Vec<_> = fill(100);
            let (tx, rx) = go_lib::chan::chan(1);
            let listener = Arc::new(listener);
            let accepting = listener.clone();
            go_lib::go!(move || {
                // Closed before it is told: the descriptor is free again.
                let accepted = accepting.accept().is_ok();
                tx.send(accepted);
            });
            assert!(rx.recv_timeout(10 * SHORT).is_err(), "accepted without a descriptor");
            files.truncate(files.len() - 2);
            assert_eq!(rx.recv(), Some(true));
            // One that waits for a descriptor hears of the close, and of the deadline.
            files.extend::<Vec<_>>(fill(100));
            drop(files.pop());
            let _client2 = std::net::TcpStream::connect(addr).unwrap();
            listener.set_deadline(Some(Instant::now() + 4 * SHORT)).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
            listener.set_deadline(None).unwrap();
            let closing = listener.clone();
            go_lib::go!(move || {
                go_lib::sleep(4 * SHORT);
                closing.close().unwrap();
            });
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
            drop((client, files));
        });
    });
}

#[test]
fn threads_alone_have_a_poller_too() {
    if !in_child() {
        return child("threads_alone_have_a_poller_too", &[]);
    }
    let (mut client, mut server) = pair();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 1];
        for i in 0..20 {
            server.read_exact(&mut buf).unwrap();
            assert_eq!(buf[0], i);
            server.write_all(&buf).unwrap();
        }
        server.set_read_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(server.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    });
    for i in 0..20 {
        std::thread::sleep(SHORT / 10);
        exchange(&mut client, &[i]);
    }
    reader.join().unwrap();
}

#[test]
fn a_goroutine_that_computes_does_not_keep_the_network_waiting() {
    if !in_child() {
        let name = "a_goroutine_that_computes_does_not_keep_the_network_waiting";
        return child(name, &[("GOMAXPROCS", "1")]);
    }
    alone(|| {
        go_lib::run(|| {
            let (client, mut server) = pair();
            let (tx, rx) = go_lib::chan::chan(1);
            go_lib::go!(move || {
                (&client).read_exact(&mut [0; 1]).unwrap();
                tx.send(Instant::now());
            });
            go_lib::sleep(SHORT);
            let written = Arc::new(AtomicUsize::new(0));
            let (base, written2) = (Instant::now(), written.clone());
            std::thread::spawn(move || {
                std::thread::sleep(10 * SHORT);
                written2.store(base.elapsed().as_micros() as usize, Ordering::SeqCst);
                server.write_all(b"x").unwrap();
                std::thread::sleep(100 * SHORT);
            });
            while base.elapsed() < 80 * SHORT {
                std::hint::spin_loop();
            }
            let read = rx.recv().unwrap();
            let late = (read - base).as_micros() as usize - written.load(Ordering::SeqCst);
            assert!(late < 200_000, "read {late} µs after it was written");
        });
    });
}

#[test]
fn who_waits_costs_nothing() {
    if !in_child() {
        return child("who_waits_costs_nothing", &[]);
    }
    alone(|| {
        go_lib::run(|| {
            let (listener, _) = listen();
            let (client, _server) = pair();
            let (listener, client) = (Arc::new(listener), Arc::new(client));
            let wg = Arc::new(WaitGroup::new());
            let (listener2, client2) = (listener.clone(), client.clone());
            wg.go(move || assert!(listener2.accept().is_err()));
            wg.go(move || assert!(client2.read(&mut [0; 1]).is_err()));
            client.set_read_deadline(Some(Instant::now() + Duration::from_secs(60))).unwrap();
            go_lib::sleep(20 * SHORT);
            let (cpu, polls) = (cpu_time(), embedder::stats().polls);
            go_lib::sleep(60 * SHORT);
            let (cpu, polls) = (cpu_time() - cpu, embedder::stats().polls - polls);
            assert!(polls <= 8, "{polls} polls in 300 ms");
            assert!(cpu < 10 * SHORT, "{cpu:?} of CPU time");
            listener.close().unwrap();
            client.close().unwrap();
            wg.wait();
        });
    });
}

#[test]
fn a_panic_closes_the_stream_that_its_goroutine_held() {
    alone(|| {
        go_lib::run(|| {
            let (client, server) = pair();
            go_lib::go!(move || {
                let _mine = client;
                panic!("on purpose");
            });
            assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        });
    });
}

#[cfg(unix)]
#[test]
fn no_deadlock_is_seen_while_somebody_waits_for_a_peer() {
    if !in_child() {
        return child("no_deadlock_is_seen_while_somebody_waits_for_a_peer", &[]);
    }
    // Nobody but the kernel knows that the answer is still to come: the peer is a process.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // SAFETY: the child only sleeps, writes and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let (mut stream, _) = listener.accept().unwrap();
        std::thread::sleep(100 * SHORT);
        stream.write_all(b"x").unwrap();
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let read = go_lib::run(move || TcpStream::connect(addr).unwrap().read(&mut [0; 1]).unwrap());
    assert_eq!(read, 1);
    // SAFETY: our own child; its status is not wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

#[cfg(unix)]
#[test]
fn a_forked_child_goes_on_with_its_sockets() {
    if !in_child() {
        return child("a_forked_child_goes_on_with_its_sockets", &[]);
    }
    go_lib::run(|| {
        let (mut client, server) = pair();
        let (listener, addr) = listen();
        let (listener, server) = (Arc::new(listener), Arc::new(server));
        // In the parent others use both, and hold their locks, when the child is made.
        let (accepting, reading) = (listener.clone(), server.clone());
        let parent = Arc::new(WaitGroup::new());
        parent.go(move || drop(accepting.accept()));
        parent.go(move || assert_eq!(reading.read(&mut [0; 1]).unwrap(), 1));
        server.set_write_deadline(Some(Instant::now() + 10 * SHORT)).unwrap();
        common::until(|| go_lib::debug::stacks().matches("[IO wait").count() == 2);
        // SAFETY: the child calls nothing before it has told the runtime.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: the child's only thread, first of all.
            unsafe { embedder::after_fork_in_child() };
            let status = match std::panic::catch_unwind(|| in_forked_child(&listener, &server)) {
                Ok(()) => 7,
                Err(_) => 1,
            };
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        go_lib::with_syscall(|| unsafe { libc::waitpid(pid, &mut status, 0) });
        assert_eq!(libc::WEXITSTATUS(status), 7, "the child failed");
        // The parent's poller still knows its sockets.
        client.write_all(b"x").unwrap();
        drop(TcpStream::connect(addr).unwrap());
        parent.wait();
    });
}

#[cfg(unix)]
/// Uses what was made before the fork, and what is made after.
fn in_forked_child(listener: &TcpListener, server: &TcpStream) {
    // Its own connection, by the listener that the parent waits on too; either may get it.
    listener.set_deadline(Some(Instant::now() + SHORT)).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    server.set_read_deadline(Some(Instant::now() + SHORT)).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
    // A deadline that was set before still comes.
    let e = (&*server).write_all(&vec![0; 16_000_000]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TimedOut);
    let (a, mut b) = pair();
    go_lib::go!(move || b.write_all(b"x"));
    assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
}
