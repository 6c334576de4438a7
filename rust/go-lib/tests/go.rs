//! `run`, `go` and scopes where they meet: nested, from threads, with panics in each place.

mod common;

use std::panic::{catch_unwind, panic_any, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::actor::start_waiting;
use common::{alone, every_way, panic_text, start, until, Counted, Kind};
use go_lib::chan::chan;
use go_lib::runtime::embedder::current;
use go_lib::{go, run, scope, select, spawn_with_stack};

fn quiet<R>(text: &'static str) -> R {
    resume_unwind(Box::new(text))
}

/// Panics when it is dropped, unless something else does already.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            quiet(self.0)
        }
    }
}

#[test]
fn a_run_inside_a_goroutine_is_a_call_and_outside_of_one_a_goroutine() {
    alone(|| {
        assert!(current().is_none());
        let (outer, inner) = run(|| (current().unwrap(), run(|| run(|| current().unwrap()))));
        assert_eq!(outer, inner);
        until(|| !outer.is_alive());
        assert!(current().is_none());
        // Its panic passes through each of them as what it is.
        #[derive(Debug, PartialEq)]
        struct NoText(u32);
        let payload = catch_unwind(|| run(|| run(|| resume_unwind(Box::new(NoText(7))))));
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&NoText(7)));
    });
}

#[test]
fn runs_of_many_threads_at_once_give_each_its_own() {
    alone(|| {
        let begun = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let begun = begun.clone();
                std::thread::spawn(move || {
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        run(move || {
                            // All are under way before the first ends.
                            begun.fetch_add(1, Ordering::SeqCst);
                            until(|| begun.load(Ordering::SeqCst) == 8);
                            if i % 2 == 0 {
                                [i; 100]
                            } else {
                                resume_unwind(Box::new(i))
                            }
                        })
                    }));
                    result.map_err(|payload| *payload.downcast_ref::<usize>().unwrap())
                })
            })
            .collect();
        for (i, thread) in threads.into_iter().enumerate() {
            let expected = if i % 2 == 0 { Ok([i; 100]) } else { Err(i) };
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn the_panic_hook_is_told_who_died_and_where_it_was_made() {
    every_way(|_| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let told2 = told.clone();
        go_lib::set_panic_hook(move |p| {
            let (here, line) = (current().unwrap().goid(), p.created_at.unwrap().line());
            assert_eq!(here, p.goid, "on the goroutine itself");
            told2.lock().unwrap().push((p.goid, line, p.message().to_string()));
        });
        let (tx, rx) = chan(2);
        let tx2 = tx.clone();
        let line = line!() + 1;
        go(move || {
            tx.send(current().unwrap().goid());
            quiet::<()>("of go")
        });
        spawn_with_stack(1, move || {
            tx2.send(current().unwrap().goid());
            resume_unwind(Box::new(5_u8))
        });
        until(|| told.lock().unwrap().len() == 2);
        let mut got = std::mem::take(&mut *told.lock().unwrap());
        got.sort_unstable_by_key(|(_, line, _)| *line);
        let mut goids: Vec<_> = rx.iter().collect();
        goids.sort_unstable();
        let mut of_told: Vec<_> = got.iter().map(|t| t.0).collect();
        of_told.sort_unstable();
        assert_eq!(of_told, goids);
        assert_eq!((got[0].1, got[0].2.as_str()), (line, "of go"));
        assert_eq!((got[1].1, got[1].2.as_str()), (line + 4, "Box<dyn Any>"));
        go_lib::set_panic_handler(|_| ());
    });
}

#[test]
fn a_hook_that_panics_and_a_capture_that_panics_in_its_drop_end_only_their_goroutine() {
    every_way(|_| {
        let told = Arc::new(AtomicUsize::new(0));
        let told2 = told.clone();
        go_lib::set_panic_hook(move |_| {
            told2.fetch_add(1, Ordering::SeqCst);
            quiet::<()>("the hook's");
        });
        go(|| quiet::<()>("mine"));
        let bomb = Bomb("the capture's");
        go(move || drop(bomb));
        let bomb = Bomb("the result's");
        go(move || bomb); // nobody has it: it is dropped there
        until(|| told.load(Ordering::SeqCst) == 3);
        go_lib::set_panic_handler(|_| ());
    });
}

#[test]
fn a_panic_in_a_scope_inside_a_scopes_goroutine_waits_for_both() {
    every_way(|_| {
        let ended = AtomicUsize::new(0);
        let text = scope(|outer| {
            let handle = outer.go(|| {
                scope(|inner| {
                    for _ in 0..3 {
                        inner.go(|| {
                            (0..5).for_each(|_| go_lib::gosched());
                            ended.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                    quiet::<()>("the inner closure's")
                })
            });
            let text = panic_text(|| handle.join().unwrap_or_else(|p| resume_unwind(p)));
            assert_eq!(ended.load(Ordering::SeqCst), 3);
            text
        });
        assert_eq!(text, "the inner closure's");
    });
}

#[test]
fn a_capture_that_panics_in_its_drop_is_its_goroutines_panic() {
    every_way(|_| {
        let bomb = Bomb("the capture's");
        scope(|s| {
            let handle = s.go(move || {
                let _bomb = &bomb;
                5
            });
            let payload = handle.join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"the capture's"));
        });
        let text = panic_text(|| {
            scope(|s| {
                let bomb = Bomb("the capture's");
                s.go(move || drop(bomb));
            });
        });
        assert_eq!(text, "a scoped goroutine panicked");
    });
}

#[test]
fn a_result_that_panics_in_its_drop_does_not_keep_the_scope() {
    every_way(|_| {
        let told = Arc::new(AtomicUsize::new(0));
        let told2 = told.clone();
        go_lib::set_panic_hook(move |p| {
            assert_eq!(p.message(), "the result's");
            told2.fetch_add(1, Ordering::SeqCst);
        });
        // Its last holder drops it: the goroutine, if the handle is gone first.
        let (tx, rx) = chan(0);
        scope(|s| {
            drop(s.go(|| {
                rx.recv();
                Bomb("the result's")
            }));
            tx.send(());
        });
        until(|| told.load(Ordering::SeqCst) == 1);
        let text = panic_text(|| {
            scope(|s| {
                let handle = s.go(|| Bomb("the result's"));
                until(|| handle.is_finished());
                drop(handle.join());
            });
        });
        assert_eq!(text, "the result's");
        go_lib::set_panic_handler(|_| ());
    });
}

#[test]
fn a_handle_is_joined_by_another_goroutine_of_the_scope() {
    every_way(|_| {
        let numbers = vec![1_u64, 2, 3];
        let total = scope(|s| {
            let (tx, rx) = chan(1);
            let numbers = &numbers;
            let first = s.go(move || {
                rx.recv();
                numbers
            });
            assert!(!first.is_finished());
            assert_eq!(format!("{first:?}"), "ScopedJoinHandle { finished: false }");
            assert_eq!(format!("{s:?}"), "Scope { running: 1 }");
            let second = s.go(move || first.join().unwrap().iter().sum::<u64>());
            tx.send(());
            let third = s.go(move || second.join().map(|sum| sum + numbers[0]).unwrap());
            until(|| third.is_finished());
            third.join().unwrap()
        });
        assert_eq!(total, 7);
    });
}

#[test]
fn goroutines_of_a_scope_wait_for_each_other_by_what_is_on_its_frame() {
    every_way(|_| {
        let live = Arc::new(AtomicUsize::new(0));
        let lock = go_lib::sync::Mutex::new(Vec::new());
        let (tx, rx) = chan::<Counted>(0);
        let (done, ended) = chan::<()>(0);
        scope(|s| {
            for _ in 0..3 {
                s.go(|| loop {
                    select! {
                        recv(rx) -> v => match v {
                            Some(v) => lock.lock().push(v.value),
                            None => break,
                        },
                        recv(ended) -> _ => panic_any("ended too early"),
                    }
                });
            }
            (0..100).for_each(|i| tx.send(Counted::new(i, &live)));
            tx.close();
        });
        drop(done);
        let mut got = lock.into_inner();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..100));
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_scope_waits_in_its_callers_place_and_shows_it() {
    alone(|| {
        for kind in [Kind::Goroutine, Kind::Thread] {
            let (tx, rx) = chan::<()>(0);
            let peer = start_waiting(kind, "sync.WaitGroup.Wait", move || {
                let mut n = 0;
                scope(|s| {
                    s.go(|| {
                        rx.recv();
                        n += 1;
                    });
                });
                n
            });
            let (tx2, rx2) = chan::<()>(0);
            let joining =
                start_waiting(kind, "join", move || scope(|s| s.go(|| rx2.recv()).join().unwrap()));
            drop((tx, tx2));
            assert_eq!((peer.join(), joining.join()), (1, None));
            // A thread that waits for `run`, too.
            let (tx, rx) = chan::<u8>(0);
            let peer = start_waiting(
                kind,
                if kind == Kind::Thread { "join" } else { "chan receive" },
                move || run(move || rx.recv()),
            );
            tx.send(3);
            assert_eq!(peer.join(), Some(3));
        }
        assert_eq!(start(Kind::Thread, || scope(|_| 4)).join(), 4);
    });
}
