//! Memory of stacks that were used deeply goes back to the kernel.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use common::system::resident_bytes;
use common::{alone, emulated, until};
use go_lib::chan::chan;
use go_lib::sync::WaitGroup;

const GOROUTINES: usize = 2_000;
/// Of each stack.
const DEEP_BYTES: usize = 64 << 10;
/// Of those beyond the newest 1,024, which stay untouched; of each the pages at its top stay too, and a P may keep
/// some.
const LEAST_BYTES: usize = (GOROUTINES - 1024) * DEEP_BYTES / 2;

fn descend(bytes: usize, bottom: &dyn Fn()) {
    let frame = black_box([1u8; 1024]);
    if bytes <= 1024 {
        bottom();
    } else {
        descend(bytes - 1024, bottom);
    }
    black_box(&frame);
}

/// Uses all the stacks at once; returns the memory of the process at that time.
fn use_deeply() -> usize {
    let (wg, deep) = (WaitGroup::new(), WaitGroup::new());
    let (tx, rx) = chan::<()>(0);
    deep.add(GOROUTINES as i64);
    for _ in 0..GOROUTINES {
        let (rx, deep) = (rx.clone(), deep.clone());
        wg.go(move || {
            descend(DEEP_BYTES, &|| {
                deep.done();
                rx.recv();
            });
        });
    }
    deep.wait();
    let most = resident_bytes();
    tx.close();
    wg.wait();
    most
}

#[test]
fn deep_pages_go_back_when_the_program_falls_idle_at_once() {
    if emulated() {
        return; // its own memory is the greater part
    }
    alone(|| {
        let most = go_lib::run(use_deeply);
        while resident_bytes() + LEAST_BYTES > most {
            std::thread::yield_now(); // not a goroutine of the runtime
        }
    });
}

#[test]
fn deep_pages_go_back_beside_goroutines_that_go_on() {
    if emulated() {
        return;
    }
    alone(|| {
        let (stop, wg) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        for _ in 0..3 {
            let stop = stop.clone();
            wg.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    go_lib::gosched();
                }
            });
        }
        let most = go_lib::run(use_deeply);
        until(|| resident_bytes() + LEAST_BYTES <= most);
        stop.store(true, Ordering::Relaxed);
        wg.wait();
    });
}
