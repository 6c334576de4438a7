//! One goroutine straight after another: whom that must not starve, what must not follow directly, and
//! goroutines that are asked to yield.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::system::thread;
use common::{alone, is_again, run_again, until, Rng};
use go_lib::chan::chan;
use go_lib::runtime::embedder::stats;
use go_lib::sync::{Mutex, RwLock, WaitGroup};

/// Runs `test` under GOMAXPROCS=`n`.
fn under(n: usize, test: impl FnOnce()) {
    alone(|| {
        let old = go_lib::set_gomaxprocs(n);
        test();
        go_lib::set_gomaxprocs(old);
    });
}

/// Goroutines that do nothing but yield, until they are stopped.
struct Yielders {
    stop: Arc<AtomicBool>,
    turns: Arc<Vec<AtomicUsize>>,
    wg: WaitGroup,
}

impl Yielders {
    fn start(n: usize) -> Yielders {
        let stop = Arc::new(AtomicBool::new(false));
        let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..n).map(|_| AtomicUsize::new(0)).collect());
        let wg = WaitGroup::new();
        for i in 0..n {
            let (stop, turns) = (stop.clone(), turns.clone());
            wg.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    turns[i].fetch_add(1, Ordering::Relaxed);
                    go_lib::gosched();
                }
            });
        }
        let yielders = Yielders { stop, turns, wg };
        yielders.until_all_go_on();
        yielders
    }

    fn turns(&self) -> Vec<usize> {
        self.turns.iter().map(|turns| turns.load(Ordering::Relaxed)).collect()
    }

    /// Waits until each has had 100 more turns.
    fn until_all_go_on(&self) {
        let before = self.turns();
        until(|| self.turns().iter().zip(&before).all(|(now, before)| *now > before + 100));
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wg.wait();
    }
}

#[test]
fn goroutines_that_yield_have_their_turns_in_turn() {
    under(1, || {
        const TURNS: usize = 2_000;
        let spread = go_lib::run(|| {
            let wg = WaitGroup::new();
            let turns: Arc<Vec<AtomicUsize>> =
                Arc::new((0..10).map(|_| AtomicUsize::new(0)).collect());
            let spread = Arc::new(AtomicUsize::new(0));
            for i in 0..10 {
                let (turns, spread) = (turns.clone(), spread.clone());
                wg.go(move || {
                    for turn in 1..=TURNS {
                        turns[i].store(turn, Ordering::Relaxed);
                        let least = turns.iter().map(|t| t.load(Ordering::Relaxed)).min();
                        spread.fetch_max(turn - least.unwrap_or(0), Ordering::Relaxed);
                        go_lib::gosched();
                    }
                });
            }
            wg.wait();
            spread.load(Ordering::Relaxed)
        });
        // More than one only where one of them lost its P and came back by the global queue.
        assert!(spread < TURNS / 10, "one was {spread} turns ahead of another");
    });
}

#[test]
fn goroutines_that_yield_starve_neither_a_threads_goroutine_nor_a_timer() {
    under(1, || {
        let yielders = Yielders::start(5);
        for _ in 0..20 {
            // From a thread it goes to the global queue.
            let (tx, rx) = chan(1);
            go_lib::go(move || {
                go_lib::sleep(Duration::from_micros(100));
                tx.send(());
            });
            assert_eq!(rx.recv_timeout(Duration::from_secs(20)), Ok(Some(())));
        }
        yielders.stop();
    });
}

#[test]
fn goroutines_that_hand_a_value_round_do_not_starve_those_that_yield() {
    under(1, || {
        let yielders = Yielders::start(3);
        let (stop, wg) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        let (tx, rx) = chan::<()>(0);
        let (back, there) = chan::<()>(1);
        let theirs = stop.clone();
        wg.go(move || {
            while !theirs.load(Ordering::Relaxed) {
                tx.send(());
                there.recv();
            }
        });
        wg.go(move || rx.iter().for_each(|()| _ = back.try_send(())));
        yielders.until_all_go_on();
        stop.store(true, Ordering::Relaxed);
        wg.wait();
        yielders.stop();
    });
}

#[test]
fn processors_stop_under_goroutines_that_follow_one_another() {
    alone(|| {
        let mut rng = Rng::new("processors_stop_under_goroutines");
        let old = go_lib::set_gomaxprocs(4);
        let yielders = Yielders::start(12);
        for _ in 0..30 {
            go_lib::set_gomaxprocs(1 + rng.below(4) as usize);
            yielders.until_all_go_on();
        }
        yielders.stop();
        go_lib::set_gomaxprocs(old);
    });
}

#[test]
fn a_goroutine_that_is_locked_to_its_thread_stays_there_alone() {
    for procs in [1, 2] {
        under(procs, || {
            let (stop, wg) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
            let locked = Arc::new(AtomicUsize::new(0));
            let meetings = Arc::new(AtomicUsize::new(0));
            for _ in 0..5 {
                let (stop, locked, meetings) = (stop.clone(), locked.clone(), meetings.clone());
                wg.go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let met = thread() as usize == locked.load(Ordering::Relaxed);
                        meetings.fetch_add(usize::from(met), Ordering::Relaxed);
                        go_lib::gosched();
                    }
                });
            }
            let moved = go_lib::run(move || {
                let guard = go_lib::lock_os_thread();
                let mine = thread();
                locked.store(mine as usize, Ordering::Relaxed);
                let moved = (0..300).filter(|i| {
                    match i % 3 {
                        0 => go_lib::sleep(Duration::from_nanos(1)),
                        _ => go_lib::gosched(),
                    }
                    thread() != mine
                });
                let moved = moved.count();
                locked.store(0, Ordering::Relaxed);
                drop(guard);
                stop.store(true, Ordering::Relaxed);
                moved
            });
            wg.wait();
            assert_eq!((moved, meetings.load(Ordering::Relaxed)), (0, 0));
        });
    }
}

/// Uses `bytes` of the stack, and yields down there.
fn descend(bytes: usize) -> usize {
    const FRAME: usize = 4096;
    let frame = black_box([1u8; FRAME]);
    if bytes <= FRAME {
        go_lib::gosched();
        return usize::from(frame[bytes % FRAME]);
    }
    descend(bytes - FRAME) + usize::from(frame[bytes % FRAME])
}

#[test]
fn each_follows_on_a_stack_of_the_size_that_it_wished() {
    under(1, || {
        let mut rng = Rng::new("each_follows_on_a_stack");
        let wg = WaitGroup::new();
        go_lib::run(move || {
            for _ in 0..300 {
                // The size that it asks for, and the part that it uses: half of it, in frames of unoptimized code too.
                let size = [256 << 10, 1 << 20, 8 << 20, 0][rng.below(4) as usize];
                let uses = if size == 0 { 1 << 20 } else { size / 4 };
                let done = wg.clone();
                wg.add(1);
                let body = move || {
                    assert!(descend(uses) > 0);
                    done.done();
                };
                match size {
                    0 => go_lib::go(body),
                    _ => go_lib::spawn_with_stack(size, body),
                }
            }
            wg.wait();
        });
    });
}

/// Parks when it is dropped.
struct ParksInDrop(Arc<AtomicUsize>);

impl Drop for ParksInDrop {
    fn drop(&mut self) {
        go_lib::gosched();
        go_lib::sleep(Duration::from_nanos(1));
        self.0.fetch_add(usize::from(std::thread::panicking()), Ordering::Relaxed);
    }
}

#[test]
fn others_follow_goroutines_that_panic_and_park_meanwhile_and_are_not_panicking() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    under(1, || {
        go_lib::set_panic_handler(|payload| {
            assert!(payload.is::<usize>() && !std::thread::panicking());
            PANICS.fetch_add(1, Ordering::Relaxed);
        });
        let (drops, others, wrong) = <[Arc<AtomicUsize>; 3]>::default().into();
        let wg = WaitGroup::new();
        for i in 0..90 {
            let (drops, others, wrong) = (drops.clone(), others.clone(), wrong.clone());
            wg.go(move || {
                go_lib::gosched();
                if i % 3 == 0 {
                    let _parks = ParksInDrop(drops);
                    std::panic::resume_unwind(Box::new(i as usize));
                }
                for _ in 0..20 {
                    go_lib::gosched();
                    wrong.fetch_add(usize::from(std::thread::panicking()), Ordering::Relaxed);
                }
                others.fetch_add(1, Ordering::Relaxed);
            });
        }
        wg.wait();
        until(|| PANICS.load(Ordering::Relaxed) == 30);
        let got = [drops, others, wrong].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(got, [30, 60, 0]);
    });
}

#[test]
fn a_status_is_that_of_the_goroutine_that_exits_and_a_panic_elsewhere_changes_nothing() {
    if is_again() {
        go_lib::set_gomaxprocs(1);
        let wg = WaitGroup::new();
        for i in 0..20 {
            wg.go(move || {
                go_lib::gosched();
                assert!(i % 2 == 0, "number {i}");
            });
        }
        go_lib::run(move || {
            wg.wait();
            go_lib::go(|| std::process::exit(7));
            loop {
                go_lib::gosched();
            }
        });
    }
    let out = run_again(
        "a_status_is_that_of_the_goroutine_that_exits_and_a_panic_elsewhere_changes_nothing",
    );
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(7), "{said}");
    let panics = (0..20).filter(|i| said.contains(&format!("number {i}\n"))).count();
    assert_eq!(panics, 10, "{said}");
}

#[test]
fn a_goroutine_from_a_thread_runs_though_another_computes_since_all_was_idle() {
    under(1, || {
        for _ in 0..10 {
            // Time enough for sysmon to fall asleep, most times.
            std::thread::sleep(Duration::from_millis(15));
            let (begun, over) =
                (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (theirs, wg) = ((begun.clone(), over.clone()), WaitGroup::new());
            let result = Arc::new(AtomicBool::new(false));
            let seen = result.clone();
            wg.go(move || {
                let (begin, (begun, over)) = (Instant::now(), theirs);
                begun.store(true, Ordering::Release);
                while !over.load(Ordering::Acquire) && begin.elapsed() < Duration::from_secs(5) {
                    std::hint::spin_loop();
                }
                seen.store(over.load(Ordering::Acquire), Ordering::Release);
            });
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            wg.go(move || over.store(true, Ordering::Release));
            wg.wait();
            assert!(result.load(Ordering::Acquire), "it waited for the one that computes");
        }
    });
}

/// Three goroutines under GOMAXPROCS=1 that only lock and unlock by `op`, until each has had several slices: how often
/// the CPU went from one to another. None if the kernel kept one from its CPU for so long that its P was taken, so
/// that it continued beside the others.
fn turns_of_lockers(op: fn()) -> Option<usize> {
    const LIMIT: Duration = Duration::from_secs(5);
    let handoffs = stats().handoffs;
    let (last, wg) = (Arc::new(AtomicUsize::new(usize::MAX)), WaitGroup::new());
    let slices: Arc<[AtomicUsize; 3]> = Arc::default();
    let begin = Instant::now();
    for me in 0..3 {
        let (last, slices) = (last.clone(), slices.clone());
        wg.go(move || {
            let all = |n| slices.iter().all(|slices| slices.load(Ordering::Relaxed) >= n);
            while !all(2) && begin.elapsed() < LIMIT {
                op();
                if last.swap(me, Ordering::Relaxed) != me {
                    slices[me].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    wg.wait();
    let turns = slices.iter().map(|slices| slices.load(Ordering::Relaxed)).sum();
    (stats().handoffs == handoffs).then_some(turns)
}

#[test]
fn goroutines_that_only_lock_let_others_run_and_do_not_run_beside_them() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static RWLOCK: RwLock<()> = RwLock::new(());
    fn mutex() {
        drop(black_box(&MUTEX).lock());
    }
    fn read() {
        drop(black_box(&RWLOCK).read());
    }
    fn write() {
        drop(black_box(&RWLOCK).write());
    }
    for op in [mutex as fn(), read, write] {
        under(1, || {
            let turns = (0..30).find_map(|_| turns_of_lockers(op)).expect("always taken by force");
            // Two slices each; one that reaches its end, or a lock that another holds, takes one more.
            assert!((6..60).contains(&turns), "{turns} turns");
        });
    }
}
