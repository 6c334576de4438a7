//! Runs each program of `examples/rust` and compares what it prints.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

/// Cargo builds a package's examples before its tests, into `examples` beside the tests' `deps`.
fn path_of(example: &str) -> PathBuf {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(example);
    path
}

fn output_of(example: &str, args: &[&str]) -> Output {
    let path = path_of(example);
    common::program(&path).args(args).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An example that serves until it is dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(example: &str) -> Server {
        let mut process =
            common::program(&path_of(example)).stdout(Stdio::piped()).spawn().expect(example);
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("an address").into();
        Server { process, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// All that comes back for `sent`, after which the client has no more to say.
    fn answer(&self, sent: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::io::read_to_string(stream).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = self.process.try_wait();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        assert!(std::thread::panicking() || matches!(running, Ok(None)), "the server ended");
    }
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

#[test]
fn echo_server_answers_many_at_once() {
    let server = Server::start("echo_server");
    let mut streams: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for round in 0..3u8 {
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&[i as u8, round]).unwrap();
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            let mut echo = [0; 2];
            stream.read_exact(&mut echo).unwrap();
            assert_eq!(echo, [i as u8, round]);
        }
    }
    assert_eq!(server.answer(b"the end"), "the end");
}

const GREETING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, world!\n";

#[test]
fn http_server_keeps_connections_alive_and_answers_in_order() {
    let server = Server::start("http_server");
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        let mut answer = vec![0; GREETING.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(text(answer), GREETING);
    }
    // Pipelined, and torn apart in the middle of a line, a body in between.
    let three = b"GET / HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhelloGET /stats HTTP/1.1\r\nConnection: close\r\n\r\n";
    for part in [&three[..10], &three[10..75], &three[75..]] {
        stream.write_all(part).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let rest = std::io::read_to_string(stream).unwrap();
    let expected = format!(
        "{GREETING}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
         HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n6 requests\n"
    );
    assert_eq!(rest, expected);
}

#[test]
fn http_server_refuses_what_it_does_not_understand() {
    let server = Server::start("http_server");
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (sent, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1 more\r\n\r\n", "400"),
        ("get / HTTP/1.1\r\n\r\n", "400"),
        ("GET nowhere HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nCut: off", "400"),
        ("POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("GET / HTTP/3\r\n\r\n", "505"),
        ("POST /echo HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", "413"),
        ("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
        (&long, "431"),
        ("GET /nowhere HTTP/1.1\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\n\r\n", "405"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        ("\u{7f}\u{7f}\n", "400"),
    ] {
        let answer = server.answer(sent.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{sent:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1);
    }
    assert_eq!(server.answer(b""), "");
}
