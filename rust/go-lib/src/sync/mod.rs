//! Waiting for one another without a channel: [`WaitGroup`] and [`Mutex`].
//!
//! Both work on goroutines, which are parked, and on ordinary threads, which block.
//!
//! Go: package sync

#![deny(unsafe_code)]

mod mutex;
mod waitgroup;

pub use mutex::{Mutex, MutexGuard};
pub use waitgroup::WaitGroup;
