//! How many OS threads there are: one more for each blocked call, and a few when all is quiet.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::system::os_threads;
use go_lib::runtime::embedder::{self, gomaxprocs};
use go_lib::sync::WaitGroup;

/// Other tests' threads would be counted too.
static ALONE: Mutex<()> = Mutex::new(());

static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Counts the threads that had it and ended.
struct OfThread;
impl Drop for OfThread {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}
std::thread_local! {
    static OF_THREAD: OfThread = const { OfThread };
}

/// `n` goroutines that all sit in a call of the kernel at the same time.
fn burst(n: usize) {
    go_lib::run(move || {
        let (wg, barrier) = (WaitGroup::new(), std::sync::Arc::new(std::sync::Barrier::new(n)));
        for _ in 0..n {
            let barrier = barrier.clone();
            wg.go(move || {
                OF_THREAD.with(|_| ());
                barrier.wait();
            });
        }
        wg.wait();
    });
}

/// Waits until no more threads are left than may stay: the time it took.
fn wait_for_quiet() -> Duration {
    const PATIENCE: Duration = Duration::from_secs(40);
    let begin = Instant::now();
    // sysmon, those with a P and the idle ones that stay.
    let stay = std::thread::available_parallelism().map_or(4, |n| n.get().max(4));
    let most = 1 + gomaxprocs() + stay;
    loop {
        let stats = embedder::stats();
        if stats.threads <= most && stats.idle_threads <= stay {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < PATIENCE, "{stats:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn threads_that_a_burst_needed_end_and_another_burst_gets_new_ones() {
    let _alone = ALONE.lock().unwrap();
    const N: usize = 60;
    let before = os_threads();
    for round in 1..=2 {
        burst(N);
        let stats = embedder::stats();
        assert!(stats.threads >= N, "{stats:?}");
        let took = wait_for_quiet();
        assert!(took > Duration::from_secs(1), "a second burst finds them");
        let left = embedder::stats().threads;
        // A thread that has told the runtime of its end needs a moment more.
        while os_threads() > before + left || ENDED.load(Ordering::Relaxed) < round * (N - left) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn timers_and_channels_work_while_threads_end() {
    let _alone = ALONE.lock().unwrap();
    burst(40);
    go_lib::run(|| {
        let begin = Instant::now();
        let (tx, rx) = go_lib::chan::chan::<u32>(0);
        go_lib::go!(move || {
            for i in 0.. {
                go_lib::sleep(Duration::from_millis(3));
                if begin.elapsed() > Duration::from_secs(7) {
                    break;
                }
                tx.send(i);
            }
            tx.close();
        });
        assert!(rx.iter().zip(0..).all(|(got, sent)| got == sent));
    });
    wait_for_quiet();
}

#[test]
fn goroutines_run_on_a_thousand_ps_and_more_than_ten_thousand_are_not_made() {
    let _alone = ALONE.lock().unwrap();
    let before = go_lib::set_gomaxprocs(1200);
    assert_eq!(go_lib::set_gomaxprocs(1200), 1200);
    go_lib::run(|| {
        let wg = WaitGroup::new();
        for _ in 0..3000 {
            wg.go(go_lib::gosched);
        }
        wg.wait();
    });
    go_lib::set_gomaxprocs(usize::MAX);
    assert_eq!(go_lib::set_gomaxprocs(300), 10_000);
    assert!(embedder::stats().idle_procs <= 300);
    go_lib::set_gomaxprocs(before);
}
