//! Stages joined by channels: numbers -> squares -> sum. Each stage ends when its source is closed.

use go_lib::chan::{chan, Receiver};

fn numbers(n: u64) -> Receiver<u64> {
    let (tx, rx) = chan(0);
    go_lib::go!(move || (0..n).for_each(|i| tx.send(i)));
    rx
}

fn stage(f: impl Fn(u64) -> u64 + Send + 'static, source: Receiver<u64>) -> Receiver<u64> {
    let (tx, rx) = chan(0);
    go_lib::go!(move || {
        while let Some(value) = source.recv() {
            tx.send(f(value));
        }
    });
    rx
}

fn main() {
    let sum: u64 = go_lib::run(|| {
        let squares = stage(|n| n * n, numbers(1000));
        stage(|n| n + 1, squares).iter().sum()
    });
    println!("{sum}");
}
