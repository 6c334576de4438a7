//! Load for an echo server, in a closed loop: each of so many connections sends a message, waits for its echo, and sends the
//! next. One thread on epoll, so that it measures the server and not itself. Usage: `load PORT CONNECTIONS SECONDS [PID]`; it
//! prints one line of `key=value` pairs, as the peers do. With the server's PID it also tells how much CPU time the process
//! has used in those seconds for each request, which leaves out the start, the connects and the warm-up.
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const BYTES: usize = 64;
const WARM_UP: Duration = Duration::from_millis(500);

struct Connection {
    stream: TcpStream,
    sent: Instant,
    number: u64,
    message: [u8; BYTES],
    echo: [u8; BYTES],
    have: usize,
}

impl Connection {
    fn send(&mut self) {
        self.number += 1;
        self.message[..8].copy_from_slice(&self.number.to_le_bytes());
        self.have = 0;
        self.sent = Instant::now();
        self.stream.write_all(&self.message).expect("send");
    }

    /// Reads what there is; true when the whole echo has come, and is right.
    fn receive(&mut self) -> bool {
        match self.stream.read(&mut self.echo[self.have..]) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(n) => self.have += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
            Err(e) => panic!("receive: {e}"),
        }
        if self.have < BYTES {
            return false;
        }
        assert!(self.echo == self.message, "the echo differs from what was sent");
        true
    }
}

fn connect(port: u16, i: usize, epoll: i32) -> Connection {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: i as u64 };
    let r = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut event) };
    assert_eq!(r, 0, "epoll_ctl");
    let message = std::array::from_fn(|b| (b + i) as u8);
    Connection { stream, sent: Instant::now(), number: 0, message, echo: [0; BYTES], have: 0 }
}

/// The CPU time that a process has used, in ns; 0 for no process.
fn cpu_ns(pid: u64) -> i64 {
    if pid == 0 {
        return 0;
    }
    let (mut clock, mut used) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let r = unsafe { libc::clock_getcpuclockid(pid as i32, &mut clock) };
    assert_eq!(r, 0, "no process {pid}");
    let r = unsafe { libc::clock_gettime(clock, &mut used) };
    assert_eq!(r, 0, "clock_gettime");
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().expect("a number")).collect();
    let (port, connections, seconds, pid) = match args[..] {
        [port, connections, seconds] => (port, connections, seconds, 0),
        [port, connections, seconds, pid] => (port, connections, seconds, pid),
        _ => panic!("usage: load PORT CONNECTIONS SECONDS [PID]"),
    };
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut all: Vec<_> =
        (0..connections as usize).map(|i| connect(port as u16, i, epoll)).collect();
    all.iter_mut().for_each(Connection::send);
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(seconds);
    let mut latencies: Vec<u64> = Vec::with_capacity(1 << 21);
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; all.len()];
    // Each has its answer before it ends: the server sees no reset.
    let mut waiting = all.len();
    let mut requests = 0;
    // At the begin and at the end.
    let mut cpu: [Option<i64>; 2] = [None; 2];
    while waiting > 0 {
        let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, 5000) };
        assert!(n > 0, "no answer for 5 s");
        for event in &events[..n as usize] {
            let c = &mut all[event.u64 as usize];
            if !c.receive() {
                continue;
            }
            requests += 1;
            let now = Instant::now();
            if now >= begin {
                cpu[0].get_or_insert_with(|| cpu_ns(pid));
            }
            if now >= end {
                cpu[1].get_or_insert_with(|| cpu_ns(pid));
                waiting -= 1;
                continue;
            }
            if now >= begin {
                latencies.push((now - c.sent).as_nanos() as u64);
            }
            c.send();
        }
    }
    latencies.sort_unstable();
    let n = latencies.len();
    let us = |q: f64| latencies[((n as f64 * q) as usize).min(n - 1)] as f64 / 1e3;
    let request = seconds as f64 * 1e9 / n as f64;
    let (p50, p99) = (us(0.5), us(0.99));
    let cpu = cpu.map(Option::unwrap_or_default);
    let cpu_request = if pid == 0 {
        String::new()
    } else {
        format!(" cpu_ns={:.1}", (cpu[1] - cpu[0]) as f64 / n as f64)
    };
    println!(
        "ns_request={request:.1} p50_us={p50:.1} p99_us={p99:.1} requests={requests}{cpu_request} check=ok"
    );
}
