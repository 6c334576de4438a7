//! Shared by the integration tests: each runs alone in its process's turn, as a goroutine and as a
//! plain thread, under a watchdog, and must end with no more goroutines than it began with.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub mod actor;
pub mod interpreter;
pub mod system;

use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use go_lib::net::{TcpListener, TcpStream};

#[path = "../../src/test_rng.rs"]
mod test_rng;
pub use test_rng::Rng;

static TURN: Mutex<()> = Mutex::new(());
/// The running test's number; 0 between tests.
static RUNNING: AtomicU64 = AtomicU64::new(0);
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test: alone, watched, and checked for goroutines that it leaves.
pub fn alone(test: impl FnOnce()) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    go_lib::run(|| ()); // the runtime's own goroutines exist from here on
    let before = go_lib::num_goroutine();
    let number = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    RUNNING.store(number, Ordering::SeqCst);
    std::thread::spawn(move || {
        std::thread::sleep(LIMIT);
        if RUNNING.load(Ordering::SeqCst) == number {
            eprintln!("the test hangs; all goroutines:\n{}", go_lib::debug::stacks());
            std::process::abort();
        }
    });
    let result = catch_unwind(AssertUnwindSafe(test));
    let deadline = Instant::now() + Duration::from_secs(5);
    while go_lib::num_goroutine() > before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = go_lib::num_goroutine();
    RUNNING.store(0, Ordering::SeqCst);
    if let Err(payload) = result {
        std::panic::resume_unwind(payload);
    }
    if after > before {
        panic!("{} goroutines left behind:\n{}", after - before, go_lib::debug::stacks());
    }
}

/// A goroutine or a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Goroutine,
    Thread,
}

/// The kind of the test's own thread of control, and of its peers.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub me: Kind,
    pub peer: Kind,
}

impl Way {
    /// Starts a peer; its panic fails `join`.
    pub fn start<R: Send + 'static>(self, f: impl FnOnce() -> R + Send + 'static) -> Peer<R> {
        start(self.peer, f)
    }
}

/// Something that runs beside the test.
pub struct Peer<R> {
    result: go_lib::chan::Receiver<std::thread::Result<R>>,
}

impl<R> Peer<R> {
    pub fn join(self) -> R {
        match self.result.recv() {
            Some(Ok(r)) => r,
            Some(Err(payload)) => std::panic::resume_unwind(payload),
            None => panic!("the peer ended without a result"),
        }
    }
}

/// Starts `f` as a goroutine or a thread.
pub fn start<R: Send + 'static>(kind: Kind, f: impl FnOnce() -> R + Send + 'static) -> Peer<R> {
    let (tx, result) = go_lib::chan::chan(1);
    let body = move || tx.send(catch_unwind(AssertUnwindSafe(f)));
    match kind {
        Kind::Goroutine => go_lib::go(body),
        Kind::Thread => drop(std::thread::spawn(body)),
    }
    Peer { result }
}

/// Runs `test` in all four combinations of goroutines and threads.
pub fn every_way(test: impl Fn(Way) + Send + Sync + 'static) {
    let test = Arc::new(test);
    alone(|| {
        for me in [Kind::Goroutine, Kind::Thread] {
            for peer in [Kind::Goroutine, Kind::Thread] {
                let test = test.clone();
                start(me, move || test(Way { me, peer })).join();
            }
        }
    });
}

/// Waits until `ready`, without parking for good: for what another thread is about to do.
pub fn until(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT / 2;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain");
        go_lib::sleep(Duration::from_micros(50));
    }
}

/// The emulator under which Cargo was told to run what it builds for this CPU.
fn emulator() -> Option<String> {
    let cpu = std::env::consts::ARCH.to_uppercase();
    std::env::var(format!("CARGO_TARGET_{cpu}_UNKNOWN_LINUX_GNU_RUNNER")).ok()
}

/// True where an emulator of user programs stands between the test and the kernel.
pub fn emulated() -> bool {
    emulator().is_some()
}

/// A command that runs a program built for this CPU.
pub fn program(path: &Path) -> Command {
    let emulator = emulator().unwrap_or_default();
    let mut words = emulator.split_whitespace().chain(path.to_str());
    let mut command = Command::new(words.next().expect("a path in UTF-8"));
    command.args(words);
    command
}

/// Runs this test program again, of it only `test`, which finds `GOLIB_TEST_AGAIN` set (see
/// [`is_again`]): for what ends a process, or must begin it.
pub fn run_again(test: &str) -> Output {
    program(&std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("GOLIB_TEST_AGAIN", "1")
        .output()
        .unwrap()
}

/// True in the process that [`run_again`] started.
pub fn is_again() -> bool {
    std::env::var_os("GOLIB_TEST_AGAIN").is_some()
}

/// A listener on a free port, and its address.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Two ends of a connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listen();
    let client = TcpStream::connect(addr).unwrap();
    (client, listener.accept().unwrap())
}

/// The words of a panic.
pub fn panic_text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it did not panic");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .expect("the payload is no text")
}

/// Keeps the panics that a test provokes by the thousand from being reported: from now on those
/// that say what a misused channel or lock says.
pub fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| info.payload().downcast_ref().copied());
            let expected =
                ["closed channel", "permits wished", "more than held", "WaitGroup counter"];
            if !text.is_some_and(|t| expected.iter().any(|e| t.ends_with(e))) {
                report(info);
            }
        }));
    });
}

/// A value that counts how many of it live.
#[derive(Debug)]
pub struct Counted {
    pub value: u64,
    live: Arc<AtomicUsize>,
}

impl Counted {
    pub fn new(value: u64, live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Counted { value, live: live.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}
