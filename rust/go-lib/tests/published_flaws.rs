//! Flaws of the crate's published line (up to 0.6.3), each as a property that holds here.
//!
//! There: select preferred its first ready or
//! closed case, blocking calls could use up the Ps, goroutines beyond 32 000 failed, GOMAXPROCS did
//! not go down, plain threads could not call in, a deadlock was a silent hang.
//! (Stacks are in `published_stacks.rs`, accept storms in `net`, the deadlock's report in `deadlock.rs`.)

mod common;

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{alone, panic_text, start, until, Kind, Rng};
use go_lib::chan::chan;
use go_lib::sync::WaitGroup;
use go_lib::{context, go, select, sync};

const MS: Duration = Duration::from_millis(1);

/// GOMAXPROCS while it lives.
struct Procs(usize);

impl Procs {
    fn set(n: usize) -> Procs {
        Procs(go_lib::set_gomaxprocs(n))
    }
}

impl Drop for Procs {
    fn drop(&mut self) {
        go_lib::set_gomaxprocs(self.0);
    }
}

/// Computes without a call into the runtime.
fn compute(for_how_long: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < for_how_long {
        for i in 0..1000 {
            black_box(i);
        }
    }
}

/// The longest time between two ends of a 1 ms sleep until `done`.
fn longest_gap(done: &AtomicBool, sleep: fn(Duration)) -> Duration {
    let (mut last, mut worst) = (Instant::now(), Duration::ZERO);
    while !done.load(Ordering::SeqCst) {
        sleep(MS);
        worst = worst.max(last.elapsed());
        last = Instant::now();
    }
    worst
}

/// The longest gap of a goroutine's 1 ms ticker while `beside` runs as another one, less what the
/// machine adds: four times (for the threads concerned) what a thread's ticker is late meanwhile.
/// The best of five tries: a scheduler that starves the ticker fails them all.
fn longest_gap_beside(beside: fn()) -> Duration {
    let try_once = || {
        let done = Arc::new(AtomicBool::new(false));
        let (ended, of_machine) = (done.clone(), done.clone());
        let control = std::thread::spawn(move || longest_gap(&of_machine, std::thread::sleep));
        go!(move || {
            beside();
            ended.store(true, Ordering::SeqCst);
        });
        let gap = longest_gap(&done, go_lib::sleep);
        let late = control.join().expect("no panic").saturating_sub(MS);
        gap.saturating_sub(4 * late)
    };
    (0..5).map(|_| try_once()).min().unwrap_or_default()
}

#[test]
fn two_ready_channels_are_chosen_fairly() {
    alone(|| {
        let ((a, from_a), (b, from_b)) = (chan(10_000), chan(10_000));
        (0..10_000).for_each(|_| {
            a.send(());
            b.send(());
        });
        let mut won = [0u32; 2];
        for _ in 0..10_000 {
            select! {
                recv(from_a) -> _v => won[0] += 1,
                recv(from_b) -> _v => won[1] += 1,
            }
        }
        // Ten standard deviations are 500.
        assert!(won[0].abs_diff(won[1]) < 1000, "{won:?}");
    });
}

#[test]
fn a_closed_channel_in_a_select_starves_nobody() {
    alone(|| {
        let ((closed, from_closed), (tx, rx)) = (chan::<()>(0), chan(1000));
        closed.close();
        (0..1000).for_each(|i| tx.send(i));
        let (mut got, mut ends) = (0, 0);
        while got < 1000 && ends < 20_000 {
            select! {
                recv(from_closed) -> v => { assert_eq!(v, None); ends += 1; }
                recv(rx) -> v => { assert_eq!(v, Some(got)); got += 1; }
            }
        }
        assert!(got == 1000 && ends < 2000, "{got} values beside {ends} ends");
    });
}

#[test]
fn with_syscall_hands_off_with_as_many_calls_as_processors_and_more() {
    alone(|| {
        let _procs = Procs::set(2);
        go_lib::run(|| {
            let (wg, inside) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
            let all_in = Arc::new(std::sync::Barrier::new(11));
            for _ in 0..10 {
                let (inside, all_in) = (inside.clone(), all_in.clone());
                wg.go(move || {
                    go_lib::with_syscall(|| {
                        inside.fetch_add(1, Ordering::SeqCst);
                        all_in.wait();
                    });
                });
            }
            // We get to run, and to park and to be woken, beside ten calls on two processors.
            until(|| inside.load(Ordering::SeqCst) == 10);
            let (tx, rx) = chan(0);
            go!(move || tx.send(1));
            assert_eq!(rx.recv(), Some(1));
            go_lib::with_syscall(|| all_in.wait());
            wg.wait();
        });
    });
}

#[test]
fn a_std_mutex_may_be_held_when_the_processor_is_lost() {
    alone(|| {
        let _procs = Procs::set(1);
        go_lib::run(|| {
            let (sum, wg) = (Arc::new(Mutex::new(0)), WaitGroup::new());
            for _ in 0..6 {
                let sum = sum.clone();
                wg.go(move || {
                    for _ in 0..3 {
                        let mut held = sum.lock().unwrap();
                        let before = *held;
                        compute(12 * MS); // longer than a slice: the others run, and block
                        *held = before + 1;
                    }
                });
            }
            wg.wait();
            assert_eq!(*sum.lock().unwrap(), 18);
        });
    });
}

#[test]
fn forty_thousand_goroutines_live_at_once() {
    alone(|| {
        go_lib::run(|| {
            let (tx, rx) = chan::<()>(0);
            let (ready, wg) = (WaitGroup::new(), WaitGroup::new());
            ready.add(40_000);
            for _ in 0..40_000 {
                let (ready, rx) = (ready.clone(), rx.clone());
                wg.go(move || {
                    ready.done();
                    rx.recv();
                });
            }
            ready.wait();
            assert!(go_lib::num_goroutine() > 40_000);
            tx.close();
            wg.wait();
        });
    });
}

#[test]
fn gomaxprocs_goes_down_under_load() {
    // That the Ps have stopped is a test of `runtime::proc::procs`.
    alone(|| {
        let _procs = Procs::set(4);
        let mut seed = Rng::new("gomaxprocs_goes_down");
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let wg = WaitGroup::new();
        for _ in 0..8 {
            let (stop, rounds) = (stop.clone(), rounds.clone());
            wg.go(move || {
                while !stop.load(Ordering::SeqCst) {
                    (0..50).for_each(|i| _ = black_box(i));
                    rounds.fetch_add(1, Ordering::Relaxed);
                    go_lib::gosched();
                }
            });
        }
        for _ in 0..60 {
            let n = 1 + seed.below(4) as usize;
            go_lib::set_gomaxprocs(n);
            assert_eq!(go_lib::gomaxprocs(), n);
            // All continue on the remaining ones.
            let before = rounds.load(Ordering::Relaxed);
            until(|| rounds.load(Ordering::Relaxed) > before + 20);
        }
        stop.store(true, Ordering::SeqCst);
        wg.wait();
    });
}

#[test]
fn every_blocking_call_works_on_a_plain_thread() {
    alone(|| {
        let test = || {
            assert_eq!(go_lib::run(|| 1), 1);
            let (tx, rx) = chan::<u32>(0);
            let later = |f: Box<dyn FnOnce() + Send>| {
                go!(move || {
                    go_lib::sleep(MS);
                    f();
                });
            };
            let tx2 = tx.clone();
            later(Box::new(move || tx2.send(1)));
            assert_eq!(rx.recv(), Some(1));
            let rx2 = rx.clone();
            later(Box::new(move || assert_eq!(rx2.recv(), Some(2))));
            tx.send(2);
            assert!(rx.recv_timeout(MS).is_err() && tx.send_timeout(3, MS).is_err());
            let tx2 = tx.clone();
            later(Box::new(move || tx2.send(4)));
            select! {
                recv(rx) -> v => assert_eq!(v, Some(4)),
                timeout(Duration::from_secs(20)) => panic!("nobody sent"),
            }
            let mut dynamic = select::Select::new();
            dynamic.recv(&rx);
            assert!(dynamic.wait_timeout(MS).is_none());

            let wg = WaitGroup::new();
            wg.go(|| go_lib::sleep(MS));
            wg.wait();
            let shared = Arc::new((sync::Mutex::new(0), sync::Cond::new(), sync::RwLock::new(0)));
            let theirs = shared.clone();
            let guard = shared.0.lock();
            later(Box::new(move || {
                *theirs.0.lock() += 1;
                theirs.1.notify_all();
                *theirs.2.write() += 1;
            }));
            drop(shared.1.wait(&shared.0, guard));
            until(|| *shared.2.read() == 1);
            let permits = Arc::new(sync::Semaphore::new(1));
            permits.acquire(1);
            let theirs = permits.clone();
            later(Box::new(move || theirs.release(1)));
            permits.acquire(1);
            let barrier = Arc::new(sync::Barrier::new(2));
            let theirs = barrier.clone();
            later(Box::new(move || _ = theirs.wait()));
            barrier.wait();
            let cell = Arc::new(sync::OnceCell::new());
            let theirs = cell.clone();
            go!(move || *theirs.get_or_init(|| {
                go_lib::sleep(MS);
                5
            }));
            assert_eq!(*cell.get_or_init(|| 5), 5);
            let group = sync::errgroup::Group::<&str>::new();
            group.go(|| Err("failed"));
            assert_eq!(group.wait(), Err("failed"));
            assert_eq!(sync::singleflight::Group::new().work(1, || 2), (2, false));

            let (ctx, _cancel) = context::with_timeout(&context::background(), MS);
            assert_eq!(ctx.done().recv(), None);
            assert!(go_lib::time::after(MS).recv().is_some());
            assert_eq!(go_lib::scope(|s| s.go(|| 6).join()).ok(), Some(6));
            go_lib::sleep(MS);
            go_lib::gosched();
            drop(go_lib::lock_os_thread());
            assert_eq!(go_lib::with_syscall(|| 7), 7);
            drop(go_lib::debug::stacks());
        };
        start(Kind::Thread, test).join();
        // As the test's own thread, which never called in before, and as a goroutine.
        test();
        start(Kind::Goroutine, test).join();
    });
}

#[test]
fn a_drop_may_park_while_its_goroutine_panics() {
    struct Parks {
        ask: go_lib::chan::Sender<u32>,
        answer: go_lib::chan::Receiver<u32>,
        n: u32,
        here: std::thread::ThreadId,
    }
    impl Drop for Parks {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            for _ in 0..20 {
                self.ask.send(self.n);
                assert_eq!(self.answer.recv(), Some(self.n));
                go_lib::gosched();
            }
            // Rust counts panics per thread.
            assert_eq!(std::thread::current().id(), self.here);
        }
    }
    alone(|| {
        let _procs = Procs::set(2);
        go_lib::set_panic_handler(|_| ());
        go_lib::run(|| {
            let wg = WaitGroup::new();
            for n in 0..20 {
                let ((ask, asked), (answers, answer)) = (chan(0), chan(0));
                wg.go(move || {
                    let _locals = Parks { ask, answer, n, here: std::thread::current().id() };
                    std::panic::resume_unwind(Box::new("as expected"));
                });
                wg.go(move || {
                    for v in &asked {
                        assert!(!std::thread::panicking());
                        answers.send(v);
                    }
                });
            }
            wg.wait();
            assert!(!std::thread::panicking());
        });
        // The panic itself is whole.
        let text = panic_text(|| go_lib::run(|| panic!("{}", 6 * 7)));
        assert_eq!(text, "42");
    });
}

/// Fills `bytes` of stack; how deep it was.
#[test]
fn a_spinning_goroutine_delays_a_ticker_by_20_ms_at_most() {
    alone(|| {
        let _procs = Procs::set(1);
        let gap = go_lib::run(|| longest_gap_beside(|| compute(150 * MS)));
        assert!(gap <= 21 * MS, "{gap:?}");
    });
}

#[test]
fn a_blocking_call_delays_a_ticker_by_5_ms_at_most() {
    alone(|| {
        let _procs = Procs::set(1);
        let gap = go_lib::run(|| longest_gap_beside(|| std::thread::sleep(300 * MS)));
        assert!(gap <= 6 * MS, "{gap:?}");
    });
}

#[test]
fn many_goroutines_run_on_few_threads() {
    alone(|| {
        go_lib::run(|| {
            let (wg, threads) = (WaitGroup::new(), Arc::new(Mutex::new(HashSet::new())));
            for _ in 0..1000 {
                let threads = threads.clone();
                wg.go(move || {
                    go_lib::gosched();
                    threads.lock().unwrap().insert(std::thread::current().id());
                });
            }
            wg.wait();
            let used = threads.lock().unwrap().len();
            assert!(used <= go_lib::gomaxprocs() + 20, "{used} threads");
        });
    });
}
