//! Goroutines of Python.
//!
//! | file | holds |
//! |---|---|
//! | [`goroutine`] | the handle, and a goroutine's life |
//! | [`context`] | cancellation |
//! | [`servant`] | the goroutine that acts on alarms |
//! | [`asyncio`] | the awaitables of goroutines and channels for asyncio |
//! | [`waits`] | how a failed wait is handled |
//! | [`results`] | the tuples that operations return |

pub(crate) mod asyncio;
pub(crate) mod context;
pub(crate) mod goroutine;
pub(crate) mod results;
pub(crate) mod servant;
pub(crate) mod waits;
