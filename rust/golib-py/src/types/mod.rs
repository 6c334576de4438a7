//! The types that programs use.
//!
//! | file | holds |
//! |---|---|
//! | [`chan`], [`select`], [`sync`] | what goroutines wait on |
//! | [`context`] | contexts, `timeout`, `shield` |
//! | [`net`] | connections and listeners |
//! | [`group`] | goroutines that belong together |
//! | [`patch`] | builtins of the standard library that park |
//! | [`timer`] | timers |

pub(crate) mod chan;
pub(crate) mod context;
pub(crate) mod group;
#[cfg(unix)]
pub(crate) mod net;
// The runtime's poller serves none of a host's descriptors there.
#[cfg(windows)]
#[path = "net_windows.rs"]
pub(crate) mod net;
pub(crate) mod patch;
pub(crate) mod select;
pub(crate) mod sync;
pub(crate) mod timer;
