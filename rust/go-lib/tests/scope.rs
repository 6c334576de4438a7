//! Scopes: borrows, results, panics, waiting whatever happens, nesting, threads, stress.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use common::{alone, every_way, panic_text, start, Counted, Kind, Rng};
use go_lib::chan::chan;
use go_lib::{scope, Scope};

const SHORT: Duration = Duration::from_millis(2);

fn quiet<R>(text: &'static str) -> R {
    std::panic::resume_unwind(Box::new(text))
}

#[test]
fn goroutines_borrow_and_their_results_come_back() {
    every_way(|_| {
        let words = ["a", "bb", "ccc"];
        let mut lengths = [0; 3];
        let total: usize = scope(|s| {
            let handles: Vec<_> = words
                .iter()
                .zip(&mut lengths)
                .map(|(word, length)| {
                    s.go(move || {
                        go_lib::sleep(Duration::from_micros(50));
                        *length = word.len();
                        word
                    })
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap().len()).sum()
        });
        assert_eq!((lengths, total), ([1, 2, 3], 6));
    });
}

#[test]
fn a_scope_waits_for_goroutines_whose_handles_were_dropped_or_forgotten() {
    every_way(|_| {
        let (tx, rx) = chan(0);
        let ended = AtomicUsize::new(0);
        scope(|s| {
            drop(s.go(|| {
                rx.recv();
                ended.fetch_add(1, Ordering::SeqCst);
            }));
            std::mem::forget(s.go(|| {
                rx.recv();
                ended.fetch_add(1, Ordering::SeqCst);
            }));
            tx.send(1);
            tx.send(2);
        });
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_scope_whose_closure_panics_still_waits() {
    every_way(|_| {
        let ended = AtomicUsize::new(0);
        let text = panic_text(|| {
            scope(|s| {
                for _ in 0..4 {
                    s.go(|| {
                        go_lib::sleep(SHORT);
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
                quiet("the closure's")
            })
        });
        assert_eq!((text.as_str(), ended.load(Ordering::SeqCst)), ("the closure's", 4));
    });
}

#[test]
fn a_panic_goes_to_join_and_not_to_the_panic_handler() {
    every_way(|_| {
        go_lib::set_panic_hook(|p| panic!("reported: {}", p.message()));
        let after = scope(|s| {
            let bad = s.go(|| quiet::<i32>("mine"));
            let good = s.go(|| 5);
            let payload = bad.join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"mine"));
            good.join().unwrap()
        });
        assert_eq!(after, 5);
        go_lib::set_panic_handler(|_| ());
    });
}

#[test]
fn a_panic_that_nobody_joined_is_the_scopes() {
    every_way(|_| {
        let text = panic_text(|| {
            scope(|s| {
                s.go(|| quiet::<()>("mine"));
            });
        });
        assert_eq!(text, "a scoped goroutine panicked");
        // The closure's own panic comes first.
        let text = panic_text(|| {
            scope(|s| {
                s.go(|| quiet::<()>("mine"));
                quiet("the closure's")
            })
        });
        assert_eq!(text, "the closure's");
    });
}

#[test]
fn everything_is_dropped_before_the_scope_returns() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        for round in 0..50 {
            scope(|s| {
                let (captured, result) = (Counted::new(1, &live), Counted::new(2, &live));
                let handle = s.go(move || {
                    let _captured = captured;
                    result
                });
                match round % 3 {
                    0 => drop(handle),
                    1 => assert_eq!(handle.join().unwrap().value, 2),
                    _ => {
                        while !handle.is_finished() {
                            go_lib::gosched();
                        }
                    }
                }
            });
            assert_eq!(live.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn a_result_may_borrow_and_its_drop_still_sees_what_it_borrows() {
    struct Reads<'a>(&'a AtomicUsize);
    impl Drop for Reads<'_> {
        fn drop(&mut self) {
            go_lib::gosched();
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    every_way(|_| {
        for _ in 0..100 {
            let count = AtomicUsize::new(0);
            scope(|s| drop(s.go(|| Reads(&count))));
            assert_eq!(count.into_inner(), 1);
        }
    });
}

#[test]
fn goroutines_of_a_scope_start_more_in_it() {
    fn fib<'scope>(s: &'scope Scope<'scope, '_>, n: u32, calls: &'scope AtomicUsize) -> u64 {
        calls.fetch_add(1, Ordering::Relaxed);
        if n < 2 {
            return u64::from(n);
        }
        let left = s.go(move || fib(s, n - 1, calls));
        fib(s, n - 2, calls) + left.join().unwrap()
    }
    every_way(|_| {
        let calls = AtomicUsize::new(0);
        assert_eq!(scope(|s| fib(s, 12, &calls)), 144);
        assert_eq!(calls.into_inner(), 465);
    });
}

#[test]
fn scopes_nest_and_run_at_the_same_time_on_goroutines_and_threads() {
    alone(|| {
        let peers: Vec<_> = (0..6)
            .map(|i| {
                let kind = if i % 2 == 0 { Kind::Goroutine } else { Kind::Thread };
                start(kind, move || {
                    let numbers: Vec<u64> = (0..100).collect();
                    scope(|s| {
                        let (low, high) = numbers.split_at(50);
                        let sum = |part: &[u64]| -> u64 {
                            scope(|s| {
                                let (a, b) = part.split_at(25);
                                let a = s.go(|| a.iter().sum::<u64>());
                                b.iter().sum::<u64>() + a.join().unwrap()
                            })
                        };
                        let low = s.go(move || sum(low));
                        sum(high) + low.join().unwrap()
                    })
                })
            })
            .collect();
        assert!(peers.into_iter().all(|p| p.join() == 4950));
    });
}

#[test]
fn stress_no_goroutine_outlives_its_scope() {
    every_way(|_| {
        let mut rng = Rng::new("stress_no_goroutine_outlives");
        for _ in 0..200 {
            let n = 1 + rng.below(12) as usize;
            // On this frame, and written by each goroutine at its very end.
            let mut written = vec![0_u8; n];
            let panics = AtomicUsize::new(0);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scope(|s| {
                    for slot in &mut written {
                        let (seed, panics) = (rng.next(), &panics);
                        s.go(move || {
                            for _ in 0..seed % 4 {
                                go_lib::gosched();
                            }
                            *slot = 1;
                            if seed % 256 == 5 {
                                panics.fetch_add(1, Ordering::SeqCst);
                                quiet::<()>("one of them");
                            }
                        });
                    }
                });
            }));
            assert!(written.iter().all(|w| *w == 1));
            assert_eq!(result.is_err(), panics.into_inner() > 0);
        }
    });
}
