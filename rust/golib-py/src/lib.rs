//! Goroutines for Python: the extension module `golib._golib`.
//!
//! The folders are levels, the lowest first; a file imports from its own level and from lower ones.
//!
//! | folder | holds |
//! |---|---|
//! | [`cpython`] | CPython's private state: the only folder that knows versions |
//! | [`ffi`] | how everything above speaks with CPython: references, functions, types, exceptions |
//! | [`bridge`] | between the runtime and the interpreter: the runtime's hooks, alarms, signals, the start |
//! | [`core`] | what a goroutine is: its handle and its life, and the contexts that cancel it |
//! | [`types`] | what programs use: channels, `select`, locks, groups, timers |
//! | [`module`] | the module itself: its functions, `golib.run` |
//!
//! Code that calls user code, and code for which Rust is not worth it, is Python: `python/golib`.
//!
//! The types and functions are made with CPython's C API: code that can park must not run below a PyO3 trampoline, and
//! a second way for the rest would cost more than it saves. PyO3's declarations of that API are used.

#![allow(
    clippy::missing_safety_doc,
    reason = "slots and methods: what CPython promises to each kind"
)]
#![cfg_attr(
    windows,
    allow(dead_code, unused_imports, reason = "what only forks, signals and sockets use")
)]

mod bridge;
mod core;
mod cpython;
mod ffi;
mod module;
mod types;
