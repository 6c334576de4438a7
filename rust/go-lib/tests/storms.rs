//! Storms: everything at once while processors come and go and goroutines lose theirs.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{alone, start, Counted, Kind, Peer, Rng};
use go_lib::chan::{chan, Receiver, RecvError, SendError, Sender};
use go_lib::select;
use go_lib::sync::{Mutex, WaitGroup};

/// Sets GOMAXPROCS at random until told to stop; from a thread or a goroutine.
fn resize(kind: Kind, mut rng: Rng, stop: Arc<AtomicBool>) -> Peer<()> {
    start(kind, move || {
        while !stop.load(Ordering::Relaxed) {
            let n = 1 + rng.below(6) as usize;
            go_lib::set_gomaxprocs(n);
            go_lib::sleep(Duration::from_micros(rng.below(300)));
        }
    })
}

/// Longer than a slice: a goroutine that computes so long loses its processor.
const LONG: Duration = Duration::from_millis(12);

fn compute(for_how_long: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < for_how_long {
        (0..100).for_each(|i| _ = black_box(i));
    }
}

/// One of the things that a goroutine may do with the two channels: (sent, received).
fn step(
    tx: &Sender<Counted>,
    rx: &Receiver<Counted>,
    live: &Arc<AtomicUsize>,
    rng: &mut Rng,
) -> (u64, u64) {
    let soon = Duration::from_micros(rng.below(200));
    match rng.below(5) {
        0 => match tx.send_timeout(Counted::new(0, live), soon) {
            Ok(()) => (1, 0),
            Err(SendError::Timeout(_) | SendError::Closed(_)) => (0, 0),
            Err(e) => panic!("{e}"),
        },
        1 => match rx.recv_timeout(soon) {
            Ok(v) => (0, u64::from(v.is_some())),
            Err(RecvError::Timeout) => (0, 0),
            Err(e) => panic!("{e}"),
        },
        2 => select! {
            recv(rx) -> v => (0, u64::from(v.is_some())),
            timeout(soon) => (0, 0),
        },
        3 => (0, u64::from(rx.try_recv().is_some())),
        _ => {
            compute(if rng.below(200) == 0 { LONG } else { Duration::ZERO });
            (u64::from(tx.try_send_ok(Counted::new(0, live)).is_ok()), 0)
        }
    }
}

#[test]
fn stress_channels_and_locks_while_processors_come_and_go() {
    alone(|| {
        let mut seed = Rng::new("processors_come_and_go");
        let old = go_lib::gomaxprocs();
        for round in 0..6 {
            let stop = Arc::new(AtomicBool::new(false));
            let live = Arc::new(AtomicUsize::new(0));
            let kind = if round % 2 == 0 { Kind::Thread } else { Kind::Goroutine };
            let resizer = resize(kind, Rng(seed.next() | 1), stop.clone());
            let channels: Vec<_> = (0..4).map(chan::<Counted>).collect();
            let total = Arc::new(Mutex::new((0, 0)));
            let workers: Vec<_> = (0..24)
                .map(|i| {
                    let (live, total) = (live.clone(), total.clone());
                    let (tx, rx) = channels[i % 4].clone();
                    let mut rng = Rng(seed.next() | 1);
                    let kind = if i % 8 == 7 { Kind::Thread } else { Kind::Goroutine };
                    start(kind, move || {
                        for _ in 0..200 {
                            let (sent, received) = step(&tx, &rx, &live, &mut rng);
                            let mut total = total.lock();
                            total.0 += sent;
                            total.1 += received;
                        }
                    })
                })
                .collect();
            // One channel is closed amidst it.
            go_lib::sleep(Duration::from_millis(seed.below(20)));
            channels[seed.below(4) as usize].0.close();
            workers.into_iter().for_each(Peer::join);
            stop.store(true, Ordering::Relaxed);
            resizer.join();
            let left: usize = channels.iter().map(|(_, rx)| rx.len()).sum();
            let (sent, received) = *total.lock();
            assert_eq!(sent, received + left as u64);
            assert_eq!(live.load(Ordering::SeqCst), left);
        }
        go_lib::set_gomaxprocs(old);
    });
}

#[test]
fn stress_goroutines_that_lose_their_processor_all_the_time() {
    alone(|| {
        let mut seed = Rng::new("lose_their_processor");
        let old = go_lib::set_gomaxprocs(2);
        let (wg, turns) = (WaitGroup::new(), Arc::new(std::sync::Mutex::new(0u64)));
        for i in 0..12 {
            let (turns, mut rng) = (turns.clone(), Rng(seed.next() | 1));
            wg.go(move || {
                for _ in 0..15 {
                    // A third blocks in the kernel, a third computes, both longer than sysmon waits.
                    match i % 3 {
                        0 => std::thread::sleep(Duration::from_micros(500 + rng.below(1000))),
                        1 => compute(LONG),
                        _ => go_lib::sleep(Duration::from_micros(rng.below(500))),
                    }
                    *turns.lock().unwrap() += 1;
                    if rng.below(2) == 0 {
                        go_lib::gosched();
                    }
                }
            });
        }
        wg.wait();
        assert_eq!(*turns.lock().unwrap(), 12 * 15);
        go_lib::set_gomaxprocs(old);
    });
}

/// Ten seconds and 10 GB: `cargo test --release --test storms -- --ignored`.
#[test]
#[ignore = "needs 10 GB of memory"]
fn a_million_goroutines_are_parked_at_the_stock_max_map_count() {
    alone(|| {
        go_lib::run(|| {
            const MANY: usize = 1_000_000;
            let (tx, rx) = chan::<()>(0);
            let (ready, wg) = (WaitGroup::new(), WaitGroup::new());
            ready.add(MANY as i64);
            for _ in 0..MANY {
                let (ready, rx) = (ready.clone(), rx.clone());
                wg.go(move || {
                    ready.done();
                    rx.recv();
                });
            }
            ready.wait();
            assert!(go_lib::num_goroutine() > MANY);
            let maps = std::fs::read_to_string("/proc/self/maps").map_or(0, |m| m.lines().count());
            eprintln!("{maps} mappings");
            tx.close();
            wg.wait();
        });
    });
}
