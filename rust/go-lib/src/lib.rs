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
//! its processor to another thread; nothing is interrupted at an arbitrary instruction.
//!
//! # Thread-locals
//! After any operation that can park, the goroutine may be on another OS thread: do not keep a
//! reference into a `thread_local!` across one. [`lock_os_thread`] keeps it where it is.

#![deny(missing_docs)]
// Under loom whole parts (asm, threads, signals) stand still.
#![cfg_attr(golib_loom, allow(dead_code, unused_imports, reason = "models run parts"))]

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
pub mod time;

pub use go::{
    go, gomaxprocs, gosched, lock_os_thread, num_goroutine, run, set_gomaxprocs, spawn_with_stack,
    with_syscall, LockOsThread,
};
// What the attributes and macros of the published 0.6 expanded to; some programs call them.
#[doc(hidden)]
pub use go::{go as __spawn, run as __main_entry};
// What `go!` expands to.
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

/// Tools for looking at a running program.
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

    pub use crate::runtime::proc::procs::set_max_threads;
}
