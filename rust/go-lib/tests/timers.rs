//! Timers: once, periodic, calls; stop and reset against a firing under way; collection.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::system::cpu_time;
use common::{alone, every_way, panic_text, until, Counted, Rng};
use go_lib::chan::chan;
use go_lib::select;
use go_lib::time::{after, after_func, tick, Ticker, Timer};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_timer_ticks_once_and_never_too_early() {
    every_way(|_| {
        for d in [Duration::ZERO, Duration::from_nanos(1), SHORT] {
            let begin = Instant::now();
            let timer = Timer::new(d);
            let at = timer.chan().recv().unwrap();
            assert!(at >= begin + d && at <= Instant::now());
            assert!(timer.c.recv_timeout(SHORT).is_err());
            assert!(!timer.stop());
        }
    });
}

#[test]
fn a_stopped_timer_does_not_tick() {
    every_way(|_| {
        let timer = Timer::new(SHORT);
        assert!(timer.stop());
        assert!(!timer.stop());
        assert!(timer.chan().recv_timeout(2 * SHORT).is_err());
    });
}

#[test]
fn a_tick_that_nobody_received_is_taken_back() {
    every_way(|_| {
        let timer = Timer::new(Duration::ZERO);
        until(|| timer.chan().len() == 1);
        assert!(timer.stop());
        assert_eq!(timer.chan().try_recv(), None);
        timer.reset(Duration::ZERO);
        until(|| timer.chan().len() == 1);
        let begin = Instant::now();
        assert!(timer.reset(SHORT));
        assert!(timer.chan().recv().unwrap() >= begin + SHORT);
    });
}

#[test]
fn a_reset_timer_goes_off_at_its_new_time() {
    every_way(|_| {
        let timer = Timer::new(LONG);
        let begin = Instant::now();
        assert!(timer.reset(SHORT));
        assert!(timer.chan().recv().unwrap() >= begin + SHORT);
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(!timer.reset(LONG));
        assert!(timer.stop());
    });
}

#[test]
fn a_waiting_receiver_is_woken_by_a_reset_from_another() {
    every_way(|way| {
        let timer = Arc::new(Timer::new(LONG));
        let timer2 = timer.clone();
        let peer = way.start(move || timer2.chan().recv());
        assert!(timer.reset(SHORT));
        assert!(peer.join().is_some());
    });
}

#[test]
fn stress_no_stop_and_no_reset_leaves_a_stale_tick() {
    every_way(|way| {
        let mut seed = Rng::new("stress_no_stop");
        let peers: Vec<_> = (0..3)
            .map(|_| {
                let mut rng = Rng(seed.next() | 1);
                way.start(move || {
                    let timer = Timer::new(LONG);
                    let (mut won, mut lost) = (0, 0);
                    for _ in 0..1500 {
                        let d = Duration::from_micros(rng.below(60));
                        let begin = Instant::now();
                        timer.reset(d);
                        while begin.elapsed() < Duration::from_micros(rng.below(90)) {
                            go_lib::gosched();
                        }
                        let received = match rng.below(3) {
                            0 => timer.chan().try_recv(),
                            1 => Some(timer.chan().recv().unwrap()),
                            _ => None,
                        };
                        if let Some(at) = received {
                            // A tick of an earlier setting would be too early.
                            assert!(at >= begin + d);
                        }
                        let stopped = rng.below(2) == 0 && timer.stop();
                        if stopped {
                            assert!(received.is_none(), "stopped and ticked");
                            assert_eq!(timer.chan().len(), 0);
                            won += 1;
                        }
                        lost += i32::from(received.is_some());
                    }
                    timer.stop();
                    assert!(timer.chan().recv_timeout(SHORT).is_err());
                    assert!(won > 0 && lost > 0, "no race: {won}, {lost}");
                })
            })
            .collect();
        peers.into_iter().for_each(common::Peer::join);
    });
}

#[test]
fn a_duration_beyond_the_clock_never_comes() {
    every_way(|_| {
        let timer = Timer::new(Duration::MAX);
        let ticker = Ticker::new(Duration::MAX);
        let late = after(Duration::from_secs(u64::MAX));
        select! {
            recv(timer.c) -> _ => panic!("a timer"),
            recv(ticker.c) -> _ => panic!("a ticker"),
            recv(late) -> _ => panic!("after"),
            timeout(SHORT) => (),
        }
        assert!(timer.stop() && !timer.stop());
        ticker.stop();
        let live = Arc::new(AtomicUsize::new(0));
        let value = Counted::new(1, &live);
        drop(after_func(Duration::MAX, move || {
            let value = &value; // all of it, not the number
            value.value
        }));
        assert_eq!(live.load(Ordering::SeqCst), 0, "kept for ever");
    });
}

#[test]
fn a_ticker_ticks_in_time_and_drops_what_a_slow_receiver_misses() {
    every_way(|_| {
        let period = Duration::from_millis(1);
        let begin = Instant::now();
        let ticker = Ticker::new(period);
        let times: Vec<_> = ticker.chan().iter().take(20).collect();
        for (i, at) in times.iter().enumerate() {
            assert!(*at >= begin + period * (i as u32 + 1), "tick {i} is too early");
        }
        go_lib::sleep(10 * period);
        assert_eq!(ticker.chan().len(), 1);
        ticker.stop();
        assert!(ticker.chan().recv_timeout(3 * period).is_err());
        ticker.reset(period);
        assert!(ticker.chan().recv().is_some());
    });
}

#[test]
fn a_period_of_zero_is_refused_and_a_tick_of_zero_never_comes() {
    alone(|| {
        let text = panic_text(|| drop(Ticker::new(Duration::ZERO)));
        assert_eq!(text, "non-positive interval for Ticker::new");
        let ticker = Ticker::new(LONG);
        let text = panic_text(|| ticker.reset(Duration::ZERO));
        assert_eq!(text, "non-positive interval for Ticker::reset");
        assert!(tick(Duration::ZERO).recv_timeout(SHORT).is_err());
    });
}

#[test]
fn a_receiver_alone_keeps_its_timer() {
    every_way(|_| {
        let once = after(SHORT);
        let ticks = tick(SHORT);
        let clone = Timer::new(SHORT).chan().clone();
        assert!(once.recv().is_some());
        assert_eq!(ticks.iter().take(3).count(), 3);
        assert!(clone.recv().is_some());
    });
}

#[test]
fn timers_are_no_goroutines() {
    alone(|| {
        let before = go_lib::num_goroutine();
        let timers: Vec<_> = (0..10_000).map(|i| Timer::new(LONG + SHORT * i)).collect();
        let tickers: Vec<_> = (0..1000).map(|_| tick(LONG)).collect();
        assert!(go_lib::num_goroutine() <= before);
        assert!(timers.iter().all(Timer::stop));
        drop(tickers);
    });
}

#[test]
fn a_thousand_timers_go_off_in_the_order_of_their_times() {
    alone(|| {
        let mut rng = Rng::new("a_thousand_timers");
        go_lib::run(move || {
            let begin = Instant::now();
            let timers: Vec<_> = (0..1000)
                .map(|_| {
                    let d = Duration::from_micros(rng.below(50_000));
                    (d, after(d))
                })
                .collect();
            for (d, rx) in timers {
                let at = rx.recv().unwrap();
                assert!(at >= begin + d);
                assert!(at < begin + d + Duration::from_secs(5), "late by {:?}", at - begin - d);
            }
        });
    });
}

#[test]
fn a_call_runs_in_a_goroutine_of_its_own_even_if_nobody_keeps_the_timer() {
    every_way(|_| {
        let (tx, rx) = chan(1);
        let begin = Instant::now();
        after_func(SHORT, move || {
            go_lib::gosched();
            tx.send((Instant::now(), go_lib::num_goroutine()));
        });
        let (at, goroutines) = rx.recv().unwrap();
        assert!(at >= begin + SHORT && goroutines > 0);
        // Dropping its Sender closed the channel: the function is gone.
        assert_eq!(rx.recv(), None);
    });
}

#[test]
fn a_call_may_park_and_panic_and_run_again() {
    every_way(|_| {
        go_lib::set_panic_handler(|_| ());
        let (tx, rx) = chan(0);
        let mut n = 0;
        let timer = after_func(Duration::ZERO, move || {
            n += 1;
            tx.send(n); // parks until it is received
            if n == 1 {
                std::panic::resume_unwind(Box::new("quiet"));
            }
        });
        assert_eq!(rx.recv(), Some(1));
        assert!(!timer.reset(Duration::ZERO));
        assert_eq!(rx.recv(), Some(2));
        assert!(timer.chan().try_recv().is_none());
        timer.reset(LONG);
        assert!(timer.stop() && !timer.stop());
        drop(timer);
        assert_eq!(rx.recv(), None);
    });
}

#[test]
fn stress_a_call_that_was_stopped_does_not_run_and_one_that_was_not_does() {
    every_way(|_| {
        let mut rng = Rng::new("stress_a_call");
        let live = Arc::new(AtomicUsize::new(0));
        let ran = Arc::new(AtomicUsize::new(0));
        let mut expected = 0;
        for _ in 0..2000 {
            let (value, ran) = (Counted::new(1, &live), ran.clone());
            let timer = after_func(Duration::from_micros(rng.below(30)), move || {
                let value = &value; // all of it, not the number
                ran.fetch_add(value.value as usize, Ordering::SeqCst);
            });
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(rng.below(40)) {
                go_lib::gosched();
            }
            expected += usize::from(!timer.stop());
        }
        until(|| ran.load(Ordering::SeqCst) == expected);
        until(|| live.load(Ordering::SeqCst) == 0);
        assert_eq!(ran.load(Ordering::SeqCst), expected);
    });
}

#[test]
fn a_timeout_in_a_loop_leaves_nothing() {
    every_way(|_| {
        let (tx, rx) = chan(1);
        for i in 0..5000 {
            tx.send(i);
            select! {
                recv(rx) -> v => assert_eq!(v, Some(i)),
                recv(after(LONG)) -> _ => panic!("too early"),
            }
        }
    });
}

/// The state of a timer between two operations.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Idle,
    Armed,
    /// It has gone off, and nobody has received the tick.
    Ticked,
}

#[test]
fn stop_reset_and_receive_answer_as_a_timers_state_says() {
    every_way(|_| {
        let mut rng = Rng::new("stop_reset_and_receive");
        let timer = Timer::new(LONG);
        let (mut state, mut history) = (State::Armed, vec![]);
        for _ in 0..400 {
            let op = rng.below(4);
            history.push((state, op));
            let was_on = state != State::Idle;
            match op {
                0 => {
                    assert_eq!(timer.stop(), was_on, "{history:?}");
                    state = State::Idle;
                }
                1 => {
                    assert_eq!(timer.reset(LONG), was_on, "{history:?}");
                    state = State::Armed;
                }
                2 => {
                    let begin = Instant::now();
                    assert_eq!(timer.reset(Duration::ZERO), was_on, "{history:?}");
                    until(|| timer.c.len() == 1);
                    if rng.below(2) == 0 {
                        assert!(timer.c.recv().unwrap() >= begin, "stale, after {history:?}");
                        state = State::Idle;
                    } else {
                        state = State::Ticked;
                    }
                }
                _ => {
                    let tick = timer.chan().try_recv();
                    assert_eq!(tick.is_some(), state == State::Ticked, "{history:?}");
                    if state == State::Ticked {
                        state = State::Idle;
                    }
                }
            }
            assert_eq!(timer.c.len(), usize::from(state == State::Ticked), "{history:?}");
        }
    });
}

#[test]
fn stop_and_reset_of_a_call_answer_as_its_state_says() {
    every_way(|_| {
        let mut rng = Rng::new("stop_and_reset_of_a_call");
        let (tx, rx) = chan(0);
        let timer = after_func(LONG, move || tx.send(()));
        let mut armed = true;
        for _ in 0..300 {
            match rng.below(3) {
                0 => assert_eq!(timer.stop(), std::mem::replace(&mut armed, false)),
                1 => assert_eq!(timer.reset(LONG), std::mem::replace(&mut armed, true)),
                _ => {
                    assert_eq!(timer.reset(Duration::ZERO), armed);
                    assert_eq!(rx.recv(), Some(()));
                    armed = false;
                }
            }
            assert_eq!(rx.try_recv_ok(), Err(go_lib::chan::RecvError::Empty), "it ran again");
        }
        drop(timer);
    });
}

#[test]
fn a_ticker_that_was_stopped_or_reset_has_no_tick_of_before() {
    every_way(|_| {
        let ticker = Ticker::new(Duration::from_nanos(1));
        for round in 0..200 {
            until(|| ticker.c.len() == 1);
            if round % 2 == 0 {
                ticker.stop();
                ticker.stop(); // again: nothing happens
                assert_eq!(ticker.c.len(), 0);
            }
            let begin = Instant::now();
            let period = Duration::from_nanos(1 + round);
            ticker.reset(period);
            assert!(ticker.c.recv().unwrap() >= begin + period, "a tick of before");
        }
        ticker.reset(LONG);
        assert_eq!(ticker.c.len(), 0);
        ticker.stop();
    });
}

#[test]
fn a_ticker_that_nobody_reads_rests_and_goes_on_in_its_rhythm_when_it_is_read() {
    const PERIOD: Duration = Duration::from_millis(5);
    go_lib::run(|| {
        let ticker = Ticker::new(PERIOD);
        for way in 0..3 {
            go_lib::sleep(20 * PERIOD);
            let first = match way {
                0 => ticker.chan().recv().unwrap(),
                1 => ticker.chan().try_recv().unwrap(),
                _ => go_lib::select! { recv(ticker.chan()) -> at => at.unwrap() },
            };
            assert!(first.elapsed() > 10 * PERIOD, "the tick that nobody had received");
            let received = Instant::now();
            let next = ticker.chan().recv().unwrap();
            assert!(next >= received, "ticks that were missed are not made up for");
            let more = ticker.chan().recv().unwrap();
            assert!(more > next);
        }
        // Stopped and set anew while it rests.
        go_lib::sleep(5 * PERIOD);
        ticker.stop();
        assert!(ticker.chan().try_recv().is_none());
        go_lib::sleep(2 * PERIOD);
        assert!(ticker.chan().try_recv().is_none());
        ticker.reset(PERIOD);
        go_lib::sleep(5 * PERIOD);
        ticker.reset(PERIOD);
        assert!(ticker.chan().try_recv().is_none(), "a tick of before the reset");
        assert!(ticker.chan().recv().is_some() && ticker.chan().recv().is_some());
    });
}

#[test]
fn tickers_that_nobody_reads_cost_nothing() {
    let tickers: Vec<_> = (0..200).map(|_| Ticker::new(Duration::from_micros(100))).collect();
    std::thread::sleep(Duration::from_millis(50));
    let before = cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    // Other tests run beside this one, but they wait most of the time; two million rings would take seconds.
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(250), "{used:?}");
    drop(tickers);
}
