//! `go!`: its forms, when its parts are evaluated, hygiene; and `select!`'s hygiene.

mod common;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::{alone, until};
use go_lib::chan::{chan, Sender};
use go_lib::{go, select};

mod deep {
    pub mod inside {
        pub fn send(tx: go_lib::chan::Sender<&'static str>, text: &'static str) {
            tx.send(text);
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "go! takes any number")]
fn sum(tx: Sender<u32>, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32) -> u32 {
    tx.send(a + b + c + d + e + f + g + h);
    7
}

fn worker(tx: Sender<&'static str>) -> impl FnOnce() -> u32 {
    move || {
        tx.send("by the closure");
        1
    }
}

fn for_ever(tx: Sender<()>) -> ! {
    drop(tx);
    std::panic::resume_unwind(Box::new("never returns"))
}

fn generic<T: Send + 'static>(tx: Sender<T>, value: T) {
    fn send<T>(tx: Sender<T>, value: T) {
        tx.send(value);
    }
    go!(send(tx, value));
}

#[test]
fn a_call_is_made_in_the_goroutine_with_arguments_of_now() {
    alone(|| {
        go_lib::set_panic_handler(|_| ());
        let (tx, rx) = chan(0);
        let log = RefCell::new(Vec::new());
        let say = |n| {
            log.borrow_mut().push(n);
            n
        };
        go!(sum(tx.clone(), say(1), say(2), say(3), say(4), say(5), say(6), say(7), say(8)));
        assert_eq!(*log.borrow(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(rx.recv(), Some(36));

        let (tx, rx) = chan(0);
        go!(deep::inside::send(tx.clone(), "by a path"));
        assert_eq!(rx.recv(), Some("by a path"));
        go!(worker(tx.clone()));
        assert_eq!(rx.recv(), Some("by the closure"));
        let closure = move |text| tx.send(text);
        go!(closure("by a variable"));
        assert_eq!(rx.recv(), Some("by a variable"));

        let (tx, rx) = chan(0);
        go!(for_ever(tx));
        assert_eq!(rx.recv(), None);
        let (tx, rx) = chan(1);
        generic(tx, vec![1]);
        assert_eq!(rx.recv(), Some(vec![1]));
    });
}

#[test]
fn what_a_call_returns_is_dropped_in_the_goroutine() {
    fn make(of: Arc<AtomicUsize>) -> Arc<AtomicUsize> {
        of
    }
    alone(|| {
        let held = Arc::new(AtomicUsize::new(0));
        go!(make(held.clone()));
        until(|| Arc::strong_count(&held) == 1);
        assert_eq!(held.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn the_macros_names_are_not_ours() {
    // The names in the expansions, and their uses of the prelude.
    #[allow(dead_code, reason = "in the way")]
    enum Traps {
        Some,
        None,
        Option,
    }
    #[allow(unused_imports, reason = "in the way")]
    use Traps::{None, Option, Some};
    fn limit() -> usize {
        1
    }
    alone(|| {
        let (arm, slot, chan, value, chosen, wait, arg) = (1, 2, 3, 4, 5, 6, 7);
        let (tx, rx) = go_lib::chan::chan::<i32>(1);
        tx.send(arm + slot);
        let got = select! {
            send(tx, value) => unreachable!(),
            recv(rx) -> value => { assert!(limit() == 1); (value, chosen, wait) }
            timeout(std::time::Duration::from_secs(chan)) => unreachable!(),
        };
        assert_eq!(got, (::core::option::Option::Some(3), 5, 6));
        let nested = select! {
            default => select! {
                send(tx, arm) => select! { recv(rx) -> slot => slot, },
                default => unreachable!(),
            },
        };
        assert!(matches!(nested, ::core::option::Option::Some(1)));
        fn take(arm: i32, arg: i32, tx: go_lib::chan::Sender<i32>) {
            tx.send(arm * 10 + arg);
        }
        go!(take(arm, arg, tx));
        assert_eq!(rx.recv(), ::core::option::Option::Some(17));
    });
}
