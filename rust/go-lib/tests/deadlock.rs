//! Programs that deadlock: the report on stderr, exit status 2; and some that only seem to.
//!
//! Each part runs in a process of its own, whose only threads are the runtime's and `main`'s: a
//! thread that the runtime does not know could wake somebody, so there is no harness here.

mod common;

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use go_lib::chan::chan;
use go_lib::sync::{Mutex, WaitGroup};
use go_lib::{go, select};

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(30);

/// A program, and what its report says of the goroutine that waits; none: it ends well.
type Part = (&'static str, fn(), Option<&'static str>);

const PARTS: &[Part] = &[
    ("nobody_sends", nobody_sends, Some("goroutine 1 [chan receive]:")),
    ("nobody_unlocks", nobody_unlocks, Some("[sync.Mutex.Lock]:")),
    ("two_wait_for_each_other", two_wait_for_each_other, Some("[select]:")),
    ("a_thread_waits", a_thread_waits, Some("fatal error")),
    ("after_long_work", after_long_work, Some("[chan send]:")),
    ("only_a_timer_is_left", only_a_timer_is_left, None),
    ("only_a_blocked_call_is_left", only_a_blocked_call_is_left, None),
    ("only_a_thread_is_left", only_a_thread_is_left, None),
    ("only_a_thread_with_a_timeout_is_left", only_a_thread_with_a_timeout_is_left, None),
    ("the_last_thread_has_ended", the_last_thread_has_ended, Some("goroutine 1 [chan receive]:")),
];

fn nobody_sends() {
    go_lib::run(|| {
        let (_tx, rx) = chan::<()>(0);
        rx.recv()
    });
}

fn nobody_unlocks() {
    go_lib::run(|| {
        let m = Arc::new(Mutex::new(()));
        let (wg, theirs, _held) = (WaitGroup::new(), m.clone(), m.lock());
        wg.go(move || drop(theirs.lock()));
        wg.wait();
    });
}

fn two_wait_for_each_other() {
    go_lib::run(|| {
        let ((a, from_a), (b, from_b)) = (chan::<u32>(0), chan::<u32>(0));
        let theirs = (a.clone(), from_b.clone());
        go!(move || {
            theirs.1.recv();
            theirs.0.send(1);
        });
        let _open = (&b, &from_b);
        select! { recv(from_a) -> _v => (), recv(from_a) -> _v => () }
    });
}

fn a_thread_waits() {
    let (_tx, rx) = chan::<()>(0);
    let _ = go_lib::run(|| 1);
    rx.recv();
}

fn after_long_work() {
    go_lib::run(|| {
        let begin = Instant::now();
        while begin.elapsed() < 50 * MS {}
        std::thread::sleep(50 * MS);
        let (tx, _rx) = chan(0);
        tx.send(());
    });
}

fn only_a_timer_is_left() {
    go_lib::run(|| go_lib::time::after(100 * MS).recv());
}

fn only_a_blocked_call_is_left() {
    go_lib::run(|| {
        let (tx, rx) = chan(0);
        go!(move || {
            std::thread::sleep(200 * MS);
            tx.send(());
        });
        rx.recv()
    });
}

fn only_a_thread_is_left() {
    let (tx, rx) = chan(0);
    std::thread::spawn(move || {
        std::thread::sleep(200 * MS);
        tx.send(());
    });
    go_lib::run(move || rx.recv());
}

fn only_a_thread_with_a_timeout_is_left() {
    let ((tx, rx), (_never, silent)) = (chan(0), chan::<()>(0));
    std::thread::spawn(move || {
        let _ = silent.recv_timeout(200 * MS);
        tx.send(());
    });
    go_lib::run(move || rx.recv());
}

fn the_last_thread_has_ended() {
    std::thread::spawn(|| std::thread::sleep(100 * MS));
    nobody_sends();
}

/// Runs a part; kills one that hangs.
fn output_of(part: &str) -> Output {
    let exe = std::env::current_exe().expect("our own path");
    let mut child = Command::new(exe)
        .env("GOLIB_TEST_PART", part)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let begin = Instant::now();
    while child.try_wait().expect("our child").is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().expect("our child");
        }
        std::thread::sleep(MS);
    }
    child.wait_with_output().expect("it has ended")
}

fn check(&(name, _, waits): &Part) -> Result<(), String> {
    let output = output_of(name);
    let text = String::from_utf8_lossy(&output.stderr);
    let as_it_should = match waits {
        Some(waits) => {
            let report = "fatal error: all goroutines are asleep - deadlock!\n";
            output.status.code() == Some(2) && text.contains(report) && text.contains(waits)
        }
        None => output.status.success() && !text.contains("fatal error"),
    };
    if as_it_should {
        return Ok(());
    }
    Err(format!("{}\n{text}", output.status))
}

fn main() {
    if let Ok(part) = std::env::var("GOLIB_TEST_PART") {
        let (_, program, _) = PARTS.iter().find(|p| p.0 == part).expect("a part");
        return program();
    }
    if common::emulated() {
        println!("skipped: an emulator has threads of its own, which the runtime does not know");
        return;
    }
    let mut failed = 0;
    for part in PARTS {
        match check(part) {
            Ok(()) => println!("test {} ... ok", part.0),
            Err(what) => {
                failed += 1;
                println!("test {} ... FAILED: {what}", part.0);
            }
        }
    }
    let (verdict, passed) = (if failed == 0 { "ok" } else { "FAILED" }, PARTS.len() - failed);
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed != 0));
}
