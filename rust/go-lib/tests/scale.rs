//! Many goroutines: parked, woken, in a chain, spawned and ended.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::{alone, emulated};
use go_lib::chan::chan;
use go_lib::sync::WaitGroup;

/// Under an emulator there are no guard markers: each stack takes two of the kernel's 65530 mappings.
fn many() -> usize {
    if emulated() {
        20_000
    } else {
        120_000
    }
}

#[test]
fn a_hundred_thousand_goroutines_park_and_are_woken_by_a_close() {
    alone(|| {
        let (tx, rx) = chan::<()>(0);
        let (wg, woken) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        let wg2 = wg.clone();
        let woken2 = woken.clone();
        go_lib::run(move || {
            let ready = WaitGroup::new();
            ready.add(many() as i64);
            for _ in 0..many() {
                let (rx, woken, ready) = (rx.clone(), woken2.clone(), ready.clone());
                wg2.go(move || {
                    ready.done();
                    assert_eq!(rx.recv(), None);
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            ready.wait();
            tx.close();
        });
        wg.wait();
        assert_eq!(woken.load(Ordering::Relaxed), many());
    });
}

#[test]
fn a_value_runs_through_a_chain_of_a_hundred_thousand_channels() {
    alone(|| {
        go_lib::run(|| {
            let (first, mut last) = chan::<usize>(0);
            for _ in 0..many() {
                let (tx, rx) = chan(0);
                let from = last;
                go_lib::go(move || tx.send(from.recv().map_or(0, |n| n + 1)));
                last = rx;
            }
            first.send(0);
            assert_eq!(last.recv(), Some(many()));
        });
    });
}

#[test]
fn a_million_goroutines_begin_and_end() {
    alone(|| {
        let n = Arc::new(AtomicUsize::new(0));
        let n2 = n.clone();
        go_lib::run(move || {
            let wg = WaitGroup::new();
            for wave in 0..100 {
                for _ in 0..10_000 {
                    let n = n2.clone();
                    wg.go(move || n.fetch_add(1, Ordering::Relaxed));
                }
                if wave % 10 == 9 {
                    wg.wait();
                }
            }
            wg.wait();
        });
        assert_eq!(n.load(Ordering::Relaxed), 1_000_000);
    });
}

#[test]
fn a_hundred_thousand_waiters_of_one_mutex_all_get_it() {
    alone(|| {
        let m = Arc::new(go_lib::sync::Mutex::new(0));
        let m2 = m.clone();
        go_lib::run(move || {
            let wg = WaitGroup::new();
            let guard = m2.lock();
            for _ in 0..many() {
                let m = m2.clone();
                wg.go(move || *m.lock() += 1);
            }
            go_lib::gosched();
            drop(guard);
            wg.wait();
        });
        assert_eq!(*m.lock(), many());
    });
}
