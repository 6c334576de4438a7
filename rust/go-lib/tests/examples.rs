//! Runs each program of `examples/rust` and compares what it prints.

use std::path::PathBuf;
use std::process::Command;

/// Cargo builds a package's examples before its tests, into `examples` beside the tests' `deps`.
fn run(example: &str) -> String {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(example);
    let output = Command::new(&path).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(output.status.success(), "{example} ended with {}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{example} wrote to stderr");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cond_passes_every_item_through_the_queue() {
    let sum: u32 = (0..10).chain(100..110).sum();
    assert_eq!(run("cond"), format!("{sum}\n"));
}

#[test]
fn scope_counts_the_words_of_all_parts() {
    assert_eq!(run("scope"), "4 dog\n4 the\n2 a\n");
}

#[test]
fn hello_greets_twice() {
    assert_eq!(run("hello"), "hello, goroutine\nhello, world\n");
}

#[test]
fn pipeline_sums_squares() {
    let sum: u64 = (0..1000).map(|n| n * n + 1).sum();
    assert_eq!(run("pipeline"), format!("{sum}\n"));
}

#[test]
fn prime_sieve_finds_the_primes_below_100() {
    let expected = "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97\n";
    assert_eq!(run("prime_sieve"), expected);
}

#[test]
fn select_fanin_receives_every_message_in_each_producers_order() {
    let output = run("select_fanin");
    let of = |name: &str| -> Vec<&str> { output.lines().filter(|l| l.starts_with(name)).collect() };
    assert_eq!(of("fast"), ["fast 0", "fast 1", "fast 2", "fast 3", "fast 4", "fast 5"]);
    assert_eq!(of("slow"), ["slow 0", "slow 1"]);
    assert!(output.ends_with("8 messages\n"));
}

#[test]
fn worker_pool_answers_every_job_once() {
    let output = run("worker_pool");
    let numbers: Vec<u64> =
        output.lines().map(|l| l.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
    assert!(output.contains(" 9  19\n"), "9 takes 19 steps: {output}");
}
