//! The concurrent prime sieve: a chain of goroutines, one for each prime found.

use go_lib::chan::{chan, Receiver, Sender};

fn generate(limit: u32, out: Sender<u32>) {
    for i in 2..limit {
        out.send(i);
    }
}

fn keep_indivisible(prime: u32, source: Receiver<u32>, out: Sender<u32>) {
    while let Some(i) = source.recv() {
        if i % prime != 0 {
            out.send(i);
        }
    }
}

fn primes_below(limit: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let (tx, mut source) = chan(0);
    go_lib::go!(move || generate(limit, tx));
    while let Some(prime) = source.recv() {
        found.push(prime);
        let (tx, next) = chan(0);
        let previous = std::mem::replace(&mut source, next);
        go_lib::go!(move || keep_indivisible(prime, previous, tx));
    }
    found
}

fn main() {
    let primes = go_lib::run(|| primes_below(100));
    let words: Vec<String> = primes.iter().map(u32::to_string).collect();
    println!("{}", words.join(" "));
}
