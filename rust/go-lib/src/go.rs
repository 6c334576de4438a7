//! Running goroutines: `run`, `go!`, and what a goroutine asks of the scheduler.

use std::marker::PhantomData;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::sync::Arc;

use crate::runtime::embedder::Event;
use crate::runtime::object::lock::Locked;
use crate::runtime::object::start::Start;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::{self, newproc, procs};

/// Starts `f` as a goroutine: `go!(closure)` or `go!(f(args))`.
///
/// The arguments are evaluated now, the call happens in the new goroutine (as in Go); if it returns
/// a closure, that is called there too. Works from goroutines and from any thread; the first one
/// starts the runtime.
///
/// Blocks: nothing. Panics: if no thread can be had to run it.
///
/// # Examples
/// ```
/// fn add(wg: std::sync::Arc<go_lib::sync::WaitGroup>, _n: u32) {
///     wg.done();
/// }
/// go_lib::run(|| {
///     let wg = std::sync::Arc::new(go_lib::sync::WaitGroup::new());
///     wg.add(2);
///     go_lib::go!(add(wg.clone(), 1));
///     let wg2 = wg.clone();
///     go_lib::go!(move || wg2.done());
///     wg.wait();
/// });
/// ```
#[macro_export]
macro_rules! go {
    ($f:ident ( $($arg:expr),* $(,)? )) => { $crate::go!(@call $f, $($arg),*) };
    ($p:ident :: $($f:ident)::+ ( $($arg:expr),* $(,)? )) => {
        $crate::go!(@call $p::$($f)::+, $($arg),*)
    };
    (@call $f:expr, $($arg:expr),*) => { $crate::__go_call!($f, [] $($arg,)*) };
    ($f:expr) => { $crate::go($f) };
}

/// `go!(f(args))`, argument by argument; each step's `arg` is a new name by hygiene.
#[doc(hidden)]
#[macro_export]
macro_rules! __go_call {
    ($f:expr, [$($name:ident $value:expr,)*] $next:expr, $($rest:expr,)*) => {
        $crate::__go_call!($f, [$($name $value,)* arg $next,] $($rest,)*)
    };
    ($f:expr, [$($name:ident $value:expr,)*]) => {{
        let ($($name,)*) = ($($value,)*);
        $crate::go(move || {
            use $crate::__returned::{Call as _, Ignore as _};
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                reason = "a function that never returns"
            )]
            $f($($name),*).__go_end();
        })
    }};
}

/// Handles the result of `f` in `go!(f(args))`: a closure is called (`go!(worker(rx))` with a
/// `worker` that makes one), anything else is dropped. Method resolution chooses: it tries `Call`,
/// which needs no reference, first.
#[doc(hidden)]
pub mod __returned {
    pub trait Call {
        fn __go_end(self);
    }

    impl<F: FnOnce() -> R, R> Call for F {
        fn __go_end(self) {
            self();
        }
    }

    pub trait Ignore {
        fn __go_end(&self) {}
    }

    impl<R: ?Sized> Ignore for R {}
}

/// The function behind [`go!`].
///
/// Panics: if no thread can be had to run it.
///
/// # Examples
/// ```
/// let (tx, rx) = go_lib::chan::chan(1);
/// go_lib::go(move || tx.send(1));
/// assert_eq!(rx.recv(), Some(1));
/// ```
#[track_caller]
pub fn go<R>(f: impl FnOnce() -> R + Send + 'static) {
    spawn_at(0, f, Location::caller());
}

/// A goroutine with its own stack limit in bytes (64 KiB to 1 GiB, on aarch64 128 KiB at least; other
/// wishes are clamped, sizes are rounded up to a power of two). Memory is committed as it is used.
///
/// Panics: if no thread can be had to run it.
///
/// # Examples
/// ```
/// go_lib::run(|| {
///     let (tx, rx) = go_lib::chan::chan(0);
///     go_lib::spawn_with_stack(256 << 10, move || tx.send(1));
///     assert_eq!(rx.recv(), Some(1));
/// });
/// ```
#[track_caller]
pub fn spawn_with_stack<R>(bytes: usize, f: impl FnOnce() -> R + Send + 'static) {
    spawn_at(bytes.max(1), f, Location::caller());
}

fn spawn_at<R>(
    bytes: usize,
    f: impl FnOnce() -> R + Send + 'static,
    at: &'static Location<'static>,
) {
    let start = Start::new(move || {
        f();
    });
    newproc::newproc_go(start, bytes, at);
}

/// Runs `f` as a goroutine and waits for it on the calling thread; its value.
///
/// Starts the runtime with `GOMAXPROCS` processors (default: the CPUs this process may use). The
/// runtime stays for later `run`s, also concurrent ones. Other goroutines continue when it returns.
/// Inside a goroutine `f` is simply called.
///
/// Blocks: the calling thread. Panics: with `f`'s payload if `f` panics.
///
/// # Examples
/// ```
/// assert_eq!(go_lib::run(|| 6 * 7), 42);
/// ```
#[track_caller]
pub fn run<F, R>(f: F) -> R
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    if !proc::current_goroutine().is_null() {
        return f();
    }
    let done = Arc::new(Event::new());
    let result = Arc::new(Locked::new(None));
    let (done2, result2) = (done.clone(), result.clone());
    go(move || {
        let r = catch_unwind(AssertUnwindSafe(f));
        *result2.lock() = Some(r);
        done2.set();
    });
    // Nobody interrupts a Rust program's thread; a deadlock ends the process in checkdead.
    while let Err(WaitError::Interrupted) = done.wait(Wait::Block, WaitReason::Join) {}
    let outcome = result.lock().take();
    match outcome {
        Some(Ok(value)) => value,
        Some(Err(payload)) => resume_unwind(payload),
        None => proc::throw("run: the main goroutine ended without a result"),
    }
}

/// [`run`], as the published 0.6's attribute calls it.
#[doc(hidden)]
pub fn __main_entry<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    run(f)
}

/// [`go`], as the published 0.6's macro calls it.
#[doc(hidden)]
#[track_caller]
pub fn __spawn(f: impl FnOnce() + Send + 'static) {
    go(f);
}

/// Lets other runnable goroutines run first.
///
/// # Examples
/// ```
/// go_lib::run(|| go_lib::gosched());
/// ```
pub fn gosched() {
    proc::park::gosched();
}

/// How many processors run goroutines at the same time.
///
/// # Examples
/// ```
/// assert!(go_lib::gomaxprocs() >= 1);
/// ```
pub fn gomaxprocs() -> usize {
    procs::gomaxprocs()
}

/// Sets [`gomaxprocs`] (clamped to 1..=10,000) and returns the former value. Processors beyond `n`
/// have stopped when it returns.
///
/// # Examples
/// ```
/// let old = go_lib::set_gomaxprocs(1);
/// assert_eq!(go_lib::set_gomaxprocs(old), 1);
/// ```
pub fn set_gomaxprocs(n: usize) -> usize {
    procs::set_gomaxprocs(n)
}

/// How many goroutines live.
///
/// # Examples
/// ```
/// assert!(go_lib::run(go_lib::num_goroutine) >= 1);
/// ```
pub fn num_goroutine() -> usize {
    proc::stats::num_goroutine()
}

/// Runs `f`, which blocks in the kernel, while this goroutine's processor runs others.
///
/// Ordinary blocking calls are noticed too, some milliseconds later.
///
/// # Examples
/// ```
/// let n = go_lib::run(|| go_lib::with_syscall(|| std::fs::read_dir(".").map_or(0, |d| d.count())));
/// assert!(n > 0);
/// ```
pub fn with_syscall<R>(f: impl FnOnce() -> R) -> R {
    struct Exit;
    impl Drop for Exit {
        fn drop(&mut self) {
            proc::syscall::exitsyscall();
        }
    }
    proc::syscall::entersyscall();
    let _exit = Exit;
    f()
}

/// Keeps the goroutine on its OS thread until dropped. Made by [`lock_os_thread`].
///
/// # Examples
/// ```
/// let here: go_lib::LockOsThread = go_lib::lock_os_thread();
/// drop(here);
/// ```
#[derive(Debug)]
pub struct LockOsThread {
    /// Dropped where it was made.
    not_send: PhantomData<*mut ()>,
}

/// Keeps the calling goroutine on its OS thread; nests.
///
/// # Examples
/// ```
/// go_lib::run(|| {
///     let _here = go_lib::lock_os_thread();
///     let before = std::thread::current().id();
///     go_lib::gosched();
///     assert_eq!(std::thread::current().id(), before);
/// });
/// ```
#[must_use]
pub fn lock_os_thread() -> LockOsThread {
    proc::locked::lock_os_thread();
    LockOsThread { not_send: PhantomData }
}

impl Drop for LockOsThread {
    fn drop(&mut self) {
        proc::locked::unlock_os_thread();
    }
}
