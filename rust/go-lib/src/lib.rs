//! Goroutines, channels and select for Rust: the architecture of Go's M:N runtime.
//!
//! ```
//! use go_lib::chan::chan;
//!
//! go_lib::run(|| {
//!     let (tx, rx) = chan::<u32>(0);
//!     go_lib::go!(move || {
//!         for i in 0..3 {
//!             tx.send(i);
//!         }
//!     });
//!     assert_eq!(rx.iter().sum::<u32>(), 3);
//! });
//! ```
//!
//! A goroutine is an ordinary function on a stack of its own: it may block anywhere, call C, hold
//! a `std::sync::Mutex`, recurse deep. One that blocks in the kernel or computes for long loses
//! its processor to another thread; nothing is interrupted at an arbitrary instruction. Every
//! operation also works on an ordinary thread, which then blocks itself.
//!
//! # From Go to Rust
//!
//! | Go | Rust |
//! |---|---|
//! | `func main() { … }` | `#[go_lib::main] fn main() { … }`, or [`run`](fn@run) |
//! | `go f(x)`, `go func() { … }()` | `go!(f(x))`, `go!(move \|\| …)` |
//! | `make(chan T, n)` | [`chan::chan::<T>(n)`](chan::chan): a `Sender` and a `Receiver` |
//! | `ch <- v` | [`tx.send(v)`](chan::Sender::send); `try_send`, `send_timeout`, `send_ok` |
//! | `v, ok := <-ch` | [`rx.recv()`](chan::Receiver::recv): `Some(v)`, or `None` from a closed one |
//! | `for v := range ch` | `for v in &rx` |
//! | `close(ch)` | [`tx.close()`](chan::Sender::close), or dropping the last `Sender` |
//! | `select { case v := <-a: … }` | [`select!`] ` { recv(a) -> v => … }` |
//! | `case ch <- v:` | `send(tx, v) => …` |
//! | `default:`, `case <-time.After(d):` | `default => …`, `timeout(d) => …` |
//! | `reflect.Select` | [`select::Select`] |
//! | a nil channel in a select | a `None` instead of the `Sender` or `Receiver` |
//! | `sync.WaitGroup`, `Mutex`, `RWMutex`, `Cond`, `Once` | the same in [`sync`] (`RwLock`) |
//! | `sync.OnceValue` | [`sync::OnceCell`] |
//! | `x/sync/errgroup`, `semaphore`, `singleflight` | [`sync::errgroup`], [`sync::Semaphore`], [`sync::singleflight`] |
//! | `context.WithTimeout(ctx, d)` and its kin | [`context::with_timeout`] … |
//! | `time.Sleep`, `NewTimer`, `NewTicker`, `AfterFunc` | [`sleep`], [`time`] |
//! | `runtime.Gosched`, `GOMAXPROCS`, `NumGoroutine` | [`gosched`], [`set_gomaxprocs`], [`num_goroutine`] |
//! | `runtime.LockOSThread()` | [`lock_os_thread`], until its guard is dropped |
//! | `recover()` | `std::panic::catch_unwind`; [`set_panic_handler`] for what nobody caught |
//! | `runtime.Stack`, `debug.SetMaxThreads`, `SetMaxStack` | [`debug`] |
//! | `GODEBUG=schedtrace=1000` | the same, or `GOLIB_DEBUG=schedtrace=1000` |
//! | (none) | `GOLIB_DEBUG=blocked=100ms` names goroutines that keep their OS thread for so long |
//! | (none: a WaitGroup) | [`scope`](fn@scope): goroutines that borrow from their maker |
//!
//! # Thread-locals
//! After any operation that can park, the goroutine may be on another OS thread, and while it is
//! parked others run on the thread that it left. So
//! - do not keep a reference into a `thread_local!` across one: `KEY.with(|v| …)` must not park. The
//!   compiler cannot check this; it is the one rule of safe Rust that goroutines add.
//! - A thread-local belongs to the thread, not to the goroutine. State of its own a goroutine keeps
//!   in its variables, or in a [`context`].
//! - a value that is not `Send` may live across a park, since it moves together with all that its
//!   goroutine has. If a *library* ties such a value to its OS thread (a graphics context, a lock of
//!   pthreads that checks its owner), hold [`lock_os_thread`] as long as the value lives.
//!
//! # Limits
//! - Linux on x86-64, with glibc or musl. The tests also pass for AArch64 under an emulator; on such a CPU nothing
//!   has run. On Windows (x86-64) the tests pass under Wine; nobody has run it on Windows itself. For macOS and FreeBSD the
//!   crate compiles and links; nobody has run it there. Rust 1.85 or newer.
//! - A goroutine that computes loses its processor after 10 ms, but continues beside the others
//!   until its next operation of this crate. Until then more threads run than [`gomaxprocs`] says,
//!   even after it was lowered. One that takes a lock of [`sync`], or spawns, is asked to yield
//!   before. Nothing can stop a loop that calls nothing.
//! - A stack does not grow: 64 MiB of address space are reserved, and committed as they are used;
//!   [`spawn_with_stack`] takes other sizes, up to 1 GiB. An overflow is reported, with exit status
//!   2. Before Linux 6.13 each stack takes two of the mappings that `vm.max_map_count` allows a
//!   process: about 30,000 goroutines at once, and a spawn beyond that panics with a message.
//! - A panic ends its goroutine, not the process as in Go. It needs `panic = "unwind"`.
//! - A deadlock is only seen if no thread exists that the runtime does not know, since that could
//!   still send something.
//! - When `main` returns the process ends; the other goroutines' destructors do not run.

#![deny(missing_docs)]
// The runtime's documentation is for those who read its source, and links to it.
#![allow(rustdoc::private_intra_doc_links, reason = "read with --document-private-items too")]
// Under loom whole parts (asm, threads, signals) stand still.
#![cfg_attr(golib_loom, allow(dead_code, unused_imports, reason = "models run parts"))]
#![cfg_attr(
    windows,
    allow(dead_code, unused_imports, reason = "forks and a host's descriptors are not there")
)]

/// Runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod chan;
pub mod context;
mod go;
pub mod net;
mod panic;
pub(crate) mod prim;
pub mod runtime;
pub mod scope;
pub mod select;
pub mod sync;
pub(crate) mod sys;
#[cfg(all(test, not(golib_loom)))]
pub(crate) mod test_rng;
pub mod time;

pub use go::{
    go, gomaxprocs, gosched, lock_os_thread, num_goroutine, run, set_gomaxprocs, spawn_with_stack,
    with_syscall, LockOsThread,
};
// The functions to which the attributes and macros of the published 0.6 expanded; some programs
// call them.
#[doc(hidden)]
pub use go::{__main_entry, __spawn};
// The function to which `go!` expands.
#[doc(hidden)]
pub use go::__returned;
/// Runs a function's body as the first goroutine: `#[go_lib::main] fn main() { … }`.
///
/// The value is the function's: `()`, an `ExitCode`, a `Result` for `?`. When `main` returns the
/// process ends, as in Go, whatever other goroutines do. An `async fn` is refused.
///
/// # Examples
/// ```
/// #[go_lib::main]
/// fn main() -> Result<(), std::num::ParseIntError> {
///     let (tx, rx) = go_lib::chan::chan(0);
///     go_lib::go!(move || tx.send("42"));
///     let n: u32 = rx.recv().unwrap_or_default().parse()?;
///     assert_eq!(n, 42);
///     Ok(())
/// }
/// ```
pub use go_lib_macros::main;
/// Runs a function's body as a goroutine while the caller waits: see [`run`](fn@run), which it
/// calls.
///
/// For any function without `self`: its parameters move into the goroutine, its value comes back;
/// both are `Send` and `'static`.
///
/// # Examples
/// ```
/// #[go_lib::run]
/// fn sum(numbers: Vec<u32>) -> u32 {
///     let (tx, rx) = go_lib::chan::chan(0);
///     go_lib::go!(move || numbers.into_iter().for_each(|n| tx.send(n)));
///     rx.iter().sum()
/// }
/// assert_eq!(sum(vec![1, 2, 3]), 6);
/// ```
pub use go_lib_macros::run;
pub use panic::{set_panic_handler, set_panic_hook, GoroutinePanic};
pub use scope::{scope, Scope, ScopedJoinHandle};
pub use time::sleep;

/// Tools for looking at a running program, and limits that stop one that runs away.
pub mod debug {
    /// Every live goroutine in Go's format.
    ///
    /// # Examples
    /// ```
    /// let dump = go_lib::run(go_lib::debug::stacks);
    /// assert!(dump.contains("[running]"));
    /// ```
    pub fn stacks() -> String {
        crate::runtime::traceback::all()
    }

    pub use crate::runtime::object::stack::set_max_stack;
    pub use crate::runtime::proc::newm::set_max_threads;
}
