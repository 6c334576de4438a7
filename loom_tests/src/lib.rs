//! Models of go-lib's own source, explored by loom.
//!
//! The crate compiles go-lib's modules by path, so that models reach what is `pub(crate)` and run
//! the lines that ship; `cfg(golib_loom)` exchanges only `prim` (atomics, futex) and what a model
//! has no use for (threads, assembly; a goroutine is a thread of the model). Run by `make loom`,
//! which also checks that README.md's table has every model.
//!
//! A model says what it "Proves", its "Bound" (preemptions per thread schedule; loom explores all
//! schedules with that many), and under `Fails without` what was removed from the source to see it
//! fail. Weak memory is explored without a bound. A lost wake-up shows as loom's "deadlock".
//!
//! A model cannot check the values of plain cells in the runtime, which loom does not track. It
//! does check the locks and claims that guard them, by passing [`models::Token`]s, which loom
//! tracks.

#![cfg(golib_loom)]
#![cfg_attr(
    golib_loom,
    allow(dead_code, unused_imports, missing_docs, reason = "models run parts of the source")
)]

#[path = "../../rust/go-lib/src/chan/mod.rs"]
mod chan;
#[path = "../../rust/go-lib/src/context/mod.rs"]
mod context;
#[path = "../../rust/go-lib/src/panic.rs"]
mod panic;
#[path = "../../rust/go-lib/src/prim/mod.rs"]
mod prim;
#[path = "../../rust/go-lib/src/runtime/mod.rs"]
mod runtime;
#[path = "../../rust/go-lib/src/sync/mod.rs"]
mod sync;
#[path = "../../rust/go-lib/src/sys/mod.rs"]
mod sys;

/// Stands in for `go!`: a thread of the model.
#[cfg(test)]
use models::go;
#[cfg(not(test))]
fn go<R>(_f: impl FnOnce() -> R) {}

#[cfg(test)]
mod models;
