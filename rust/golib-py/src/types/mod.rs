//! The types that programs use.
//!
//! | file | holds |
//! |---|---|
//! | [`chan`], [`select`], [`sync`] | what goroutines wait on |
//! | [`context`] | contexts, `timeout`, `shield` |
//! | [`group`] | goroutines that belong together |
//! | [`timer`] | timers |

pub(crate) mod chan;
pub(crate) mod context;
pub(crate) mod group;
pub(crate) mod select;
pub(crate) mod sync;
pub(crate) mod timer;
