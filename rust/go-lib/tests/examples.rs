//! Runs each program of `examples/rust` and compares what it prints.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Cargo builds a package's examples before its tests, into `examples` beside the tests' `deps`.
fn output_of(example: &str, args: &[&str]) -> Output {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(example);
    Command::new(&path).args(args).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn run(example: &str) -> String {
    let output = output_of(example, &[]);
    assert!(output.status.success(), "{example} ended with {}", output.status);
    assert_eq!(text(output.stderr), "", "{example} wrote to stderr");
    text(output.stdout)
}

#[test]
fn attr_run_sums_in_goroutines() {
    assert_eq!(run("attr_run"), "338350\n");
}

#[test]
fn main_exitcode_ends_with_what_main_returned() {
    for (args, code) in [(vec![], 0), (vec!["1", "two", "3", "four"], 2)] {
        let output = output_of("main_exitcode", &args);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(output.stdout), format!("{code} are no numbers\n"));
    }
}

#[test]
fn main_result_ends_with_the_error_that_main_returned() {
    assert_eq!(run("main_result"), "0\n");
    assert_eq!(text(output_of("main_result", &["4", "8"]).stdout), "12\n");
    let output = output_of("main_result", &["4", "eight"]);
    assert_eq!((output.status.code(), text(output.stdout)), (Some(1), String::new()));
    assert!(text(output.stderr).contains("eight"));
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
