//! The note.

use std::sync::Arc;

use super::{explore, spawn, Token};
use crate::runtime::object::note::Note;

/// Proves: a wake-up before, during or after the fall asleep is not lost, and what the waker wrote
/// is seen; a note can be cleared and used again.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: Acquire in `woken`; Release in `wakeup`; the call of `futex_wake`.
#[test]
fn a_wakeup_is_not_lost() {
    explore("note", 16, || {
        let shared = Arc::new((Note::new(), Note::new(), Token::new(0)));
        let shared2 = shared.clone();
        let waker = spawn(move || {
            let (note, back, token) = &*shared2;
            token.set(1);
            note.wakeup();
            back.sleep();
            token.add(1);
            note.wakeup();
        });
        let (note, back, token) = &*shared;
        note.sleep();
        assert_eq!(token.get(), 1);
        note.clear();
        back.wakeup();
        note.sleep();
        assert_eq!(token.get(), 2);
        waker.join().unwrap();
    });
}

/// Proves: a sleep with a deadline tells a wake-up from a timeout and loses neither.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: Acquire in `woken`; Release in `wakeup`.
#[test]
fn a_sleep_with_a_deadline_that_was_woken_says_so() {
    explore("note with a deadline", 16, || {
        let shared = Arc::new((Note::new(), Token::new(0)));
        let shared2 = shared.clone();
        let waker = spawn(move || {
            shared2.1.set(1);
            shared2.0.wakeup();
        });
        if shared.0.sleep_until(1) {
            assert_eq!(shared.1.get(), 1);
        }
        waker.join().unwrap();
        assert!(shared.0.sleep_until(1) && shared.1.get() == 1);
    });
}
