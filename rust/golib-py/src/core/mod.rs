//! What a goroutine of Python's is.
//!
//! | file | holds |
//! |---|---|
//! | [`goroutine`] | the handle, and a goroutine's life |
//! | [`context`] | cancellation |
//! | [`servant`] | the goroutine that acts on alarms |
//! | [`asyncio`] | what goroutines and channels give to asyncio |
//! | [`waits`] | what it means that a wait has failed |
//! | [`results`] | the tuples that operations return |

pub(crate) mod asyncio;
pub(crate) mod context;
pub(crate) mod goroutine;
pub(crate) mod results;
pub(crate) mod servant;
pub(crate) mod waits;
