//! One operation of the crate, `n` times on one P, for `counts.py`, which counts instructions.
//! Usage: `counts OPERATION n`; without arguments it prints the operations' names.
use go_lib::chan::{chan, Receiver, Sender};
use go_lib::sync::{Mutex, Semaphore, WaitGroup};
use go_lib::time::Timer;
use go_lib::{go, gosched};
use std::array::from_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Goroutines that are made, or wait, at a time; `n` is a multiple.
const WAVE: u64 = 100;

/// What is counted; the comment says what one of `n` is.
const OPERATIONS: [(&str, fn(u64)); 10] = [
    // A `gosched` of two goroutines: a push to the P's queue, a pop, and the switch by way of g0.
    ("switch", |n| yields(2, n)),
    // The same among a thousand: most are in the global queue.
    ("switch_1000", |n| yields(1000, n)),
    // A push, a pop and a switch, with a wait and its end by a semaphore.
    ("wake", wake),
    // A goroutine from `go!` to its end, on a used stack.
    ("spawn", spawn),
    // A send and a receive between two goroutines, of which one has to wait.
    ("sendrecv", |n| sendrecv(0, n)),
    // The same with a buffer: who finds it full or empty waits.
    ("sendrecv_128", |n| sendrecv(128, n)),
    // A send and a receive by one goroutine, without a wait.
    ("sendrecv_ready", sendrecv_ready),
    // A select over four channels that all have a value, and a send in its place.
    ("select_ready", select_ready),
    // Lock and unlock.
    ("mutex", mutex),
    // A timer of an hour, made, stopped and dropped.
    ("timer", timer),
];

fn yields(goroutines: u64, n: u64) {
    let wg = Arc::new(WaitGroup::new());
    for _ in 0..goroutines {
        wg.go(move || (0..n / goroutines).for_each(|_| gosched()));
    }
    wg.wait()
}

fn wake(n: u64) {
    let waiters = Arc::new(Semaphore::new(WAVE as usize));
    waiters.acquire(WAVE as usize);
    for _ in 0..WAVE {
        let waiters = waiters.clone();
        go!(move || loop {
            waiters.acquire(1)
        });
    }
    gosched();
    for _ in 0..n / WAVE {
        waiters.release(WAVE as usize);
        gosched();
    }
}

fn spawn(n: u64) {
    for _ in 0..n / WAVE {
        let wg = Arc::new(WaitGroup::new());
        for _ in 0..WAVE {
            wg.add(1);
            let wg = wg.clone();
            go!(move || wg.done());
        }
        wg.wait()
    }
}

fn sendrecv(cap: usize, n: u64) {
    let (tx, rx) = chan(cap);
    go!(move || (0..n).for_each(|i| tx.send(i)));
    (0..n).for_each(|i| assert_eq!(rx.recv(), Some(i)))
}

fn sendrecv_ready(n: u64) {
    let (tx, rx) = chan(1);
    for i in 0..n {
        tx.send(i);
        assert_eq!(rx.recv(), Some(i));
    }
}

fn select_ready(n: u64) {
    let channels: [(Sender<u64>, Receiver<u64>); 4] = from_fn(|_| chan(1));
    let [(atx, a), (btx, b), (ctx, c), (dtx, d)] = &channels;
    channels.iter().for_each(|(tx, _)| tx.send(0));
    for i in 0..n {
        go_lib::select! {
            recv(a) -> _ => atx.send(i),
            recv(b) -> _ => btx.send(i),
            recv(c) -> _ => ctx.send(i),
            recv(d) -> _ => dtx.send(i),
        }
    }
}

fn mutex(n: u64) {
    let lock = Mutex::new(0);
    (0..n).for_each(|_| *black_box(&lock).lock() += 1);
    assert_eq!(lock.into_inner(), n)
}

fn timer(n: u64) {
    for _ in 0..n {
        assert!(Timer::new(Duration::from_secs(3600)).stop());
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [operation, n] = &args[..] else {
        return OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let run = OPERATIONS.iter().find(|(name, _)| name == operation).expect("no such operation").1;
    let n = n.parse().expect("not a number");
    std::env::set_var("GOMAXPROCS", "1");
    go_lib::run(move || {
        run(n);
        // Leftover goroutines need not be torn down.
        std::process::exit(0)
    });
}
