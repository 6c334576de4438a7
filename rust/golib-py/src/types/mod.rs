//! The types that programs use.
//!
//! | file | holds |
//! |---|---|
//! | [`chan`], [`select`], [`sync`] | what goroutines wait on |
//! | [`group`] | goroutines that belong together |
//! | [`timer`] | timers |
//! | [`asyncio`] | what the types give to asyncio |

pub(crate) mod asyncio;
pub(crate) mod chan;
pub(crate) mod group;
pub(crate) mod select;
pub(crate) mod sync;
pub(crate) mod timer;
